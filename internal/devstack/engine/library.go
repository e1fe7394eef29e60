package engine

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"gatewatch/internal/devstack/cache"
)

const libraryVersion = "26.7.3-stable.1"

// library is a published build of libchdb: its npm package and the sha512 of its tarball.
type library struct{ pkg, sha512 string }

// libraries lists the builds that this package knows, by GOOS/GOARCH.
func libraries(platform string) (library, bool) {
	switch platform {
	case "linux/amd64":
		return library{"@chdb/lib-linux-x64-gnu", "XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="}, true
	}
	return library{}, false
}

// Library returns the path of libchdb.so, fetching the pinned package through
// npm into the user's cache folder the first time. Progress goes to log.
func Library(ctx context.Context, log io.Writer) (string, error) {
	lib, ok := libraries(runtime.GOOS + "/" + runtime.GOARCH)
	if !ok {
		return "", fmt.Errorf("no embedded ClickHouse for %s/%s: install clickhouse and put it on PATH", runtime.GOOS, runtime.GOARCH)
	}
	dir, err := cache.Dir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "libchdb-"+libraryVersion)
	so := filepath.Join(dir, "libchdb.so")
	if _, err := os.Stat(so); err == nil {
		return so, nil
	}
	unlock, err := cache.Lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(so); err == nil { // somebody else fetched it meanwhile
		return so, nil
	}
	return so, fetchLibrary(ctx, lib, dir, log)
}

func fetchLibrary(ctx context.Context, lib library, dir string, log io.Writer) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return fmt.Errorf("make a folder to fetch ClickHouse into: %w", err)
	}
	defer os.RemoveAll(tmp)
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("npm is not installed: install Node.js, or put a clickhouse binary on PATH")
	}
	spec := lib.pkg + "@" + libraryVersion
	fmt.Fprintf(log, "engine: fetching ClickHouse (%s, 178 MB, once) …\n", spec)
	cmd := exec.CommandContext(ctx, "npm", "pack", spec, "--silent")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s: %w: %s", spec, err, strings.TrimSpace(string(out)))
	}
	tarballs, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		return fmt.Errorf("npm pack %s left %d packages", spec, len(tarballs))
	}
	fmt.Fprintln(log, "engine: checking and unpacking (569 MB) …")
	out := filepath.Join(tmp, "lib")
	if err := unpackLibrary(tarballs[0], lib.sha512, out); err != nil {
		return err
	}
	if err := os.Rename(out, dir); err != nil {
		return fmt.Errorf("keep the library: %w", err)
	}
	fmt.Fprintln(log, "engine: ClickHouse is ready in the cache folder")
	return nil
}

// unpackLibrary checks the tarball's sha512 before it extracts libchdb.so into dir.
func unpackLibrary(tarball, want, dir string) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(tarball), err)
	}
	if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has checksum sha512-%s, want sha512-%s: refusing it", filepath.Base(tarball), got, want)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", filepath.Base(tarball), err)
	}
	for t := tar.NewReader(z); ; {
		hdr, err := t.Next()
		if err != nil {
			return fmt.Errorf("find libchdb.so in %s: %w", filepath.Base(tarball), err)
		}
		if filepath.Base(hdr.Name) == "libchdb.so" {
			return writeFile(filepath.Join(dir, "libchdb.so"), t)
		}
	}
}

func writeFile(path string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// host returns the path of the enginehost binary, building it from the checkout
// that the working folder is in. The Go build cache makes this quick.
func host(ctx context.Context) (string, error) {
	dir, err := cache.Dir()
	if err != nil {
		return "", err
	}
	unlock, err := cache.Lock(filepath.Join(dir, "enginehost.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	bin := filepath.Join(dir, "enginehost")
	tmp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	cmd := exec.CommandContext(ctx, "go", "build", "-o", tmp, "gatewatch/internal/devtools/enginehost")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build enginehost: %w: %s", err, strings.TrimSpace(string(out)))
	}
	// A rename leaves hosts that run from the old file undisturbed.
	if err := os.Rename(tmp, bin); err != nil {
		return "", fmt.Errorf("keep enginehost: %w", err)
	}
	return bin, nil
}

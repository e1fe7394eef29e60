// Package debian fetches real gateways and log shippers for tests: packages of
// Debian with all libraries that they need, the C library included, so that they
// run on any Linux without being installed. Versions and checksums are pinned.
package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"

	"gatewatch/internal/devstack/cache"
)

//go:embed packages.tsv
var packages string

//go:embed prometheus.tsv
var prometheus string

// The archive has the newest version of a package; the snapshot keeps all.
const (
	archive  = "http://deb.debian.org/debian/"
	snapshot = "https://snapshot.debian.org/archive/debian/20261123T000000Z/"
)

// A pkg is one line of packages.tsv.
type pkg struct {
	file, sha256 string
	size         int64
}

func list(packages string) ([]pkg, error) {
	var ps []pkg
	for line := range strings.Lines(packages) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 3 {
			return nil, fmt.Errorf("packages.tsv: %q", line)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("packages.tsv: %q: %w", line, err)
		}
		ps = append(ps, pkg{file: f[0], size: size, sha256: f[2]})
	}
	return ps, nil
}

// Install returns the folder that the packages are unpacked in, which it
// fetches into the user's cache folder the first time. Progress goes to log.
func Install(ctx context.Context, log io.Writer) (root string, err error) {
	return installed(ctx, log, packages, "nginx, HAProxy, Apache, Caddy and rsyslog")
}

// InstallPrometheus is Install for Prometheus and its tools.
func InstallPrometheus(ctx context.Context, log io.Writer) (root string, err error) {
	return installed(ctx, log, prometheus, "Prometheus")
}

func installed(ctx context.Context, log io.Writer, packages, what string) (root string, err error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", errors.New("the packages of gateways are for linux/amd64 only")
	}
	ps, err := list(packages)
	if err != nil {
		return "", err
	}
	dir, err := cache.Dir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(packages))
	root = filepath.Join(dir, "debian-"+hex.EncodeToString(sum[:6]))
	unlock, err := cache.Lock(root + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	tmp, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return "", fmt.Errorf("make a folder to fetch packages into: %w", err)
	}
	defer os.RemoveAll(tmp)
	var total int64
	for _, p := range ps {
		total += p.size
	}
	fmt.Fprintf(log, "fetching %s (%d packages of Debian, %d MB, once) …\n", what, len(ps), total>>20)
	for _, p := range ps {
		if err := install(ctx, p, tmp); err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Base(p.file), err)
		}
	}
	if err := os.Rename(tmp, root); err != nil {
		return "", fmt.Errorf("keep the packages: %w", err)
	}
	return root, nil
}

func install(ctx context.Context, p pkg, root string) error {
	deb, err := fetch(ctx, archive+p.file)
	if err != nil {
		var again error
		if deb, again = fetch(ctx, snapshot+p.file); again != nil {
			return errors.Join(err, again)
		}
	}
	sum := sha256.Sum256(deb)
	if got := hex.EncodeToString(sum[:]); got != p.sha256 {
		return fmt.Errorf("has checksum sha256 %s, want %s: refusing it", got, p.sha256)
	}
	return unpack(deb, root)
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 64<<20))
}

// unpack extracts data.tar.xz of a package: an ar archive (deb(5), ar(5)).
func unpack(deb []byte, root string) error {
	const magic, header = "!<arch>\n", 60
	if !bytes.HasPrefix(deb, []byte(magic)) {
		return errors.New("no ar archive")
	}
	for deb = deb[len(magic):]; len(deb) >= header; {
		name := strings.TrimRight(string(deb[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(deb[48:58])))
		if err != nil || size > len(deb)-header {
			return errors.New("a broken ar archive")
		}
		if name == "data.tar.xz" {
			return extract(bytes.NewReader(deb[header:header+size]), root)
		}
		deb = deb[min(header+size+size%2, len(deb)):]
	}
	return errors.New("no data.tar.xz")
}

func extract(r io.Reader, root string) error {
	z, err := xz.NewReader(r)
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Clean(h.Name)
		switch {
		case strings.HasPrefix(name, "usr/share/"): // documentation and the like
		case h.Typeflag == tar.TypeDir:
			err = dir.MkdirAll(name, 0o755)
		case h.Typeflag == tar.TypeSymlink && !filepath.IsAbs(h.Linkname):
			err = dir.Symlink(h.Linkname, name)
		case h.Typeflag == tar.TypeReg:
			err = write(dir, name, t, h.FileInfo().Mode().Perm())
		}
		if err != nil {
			return err
		}
	}
}

func write(dir *os.Root, name string, r io.Reader, mode os.FileMode) error {
	f, err := dir.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode|0o200)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Command returns name and arguments that run a program of the packages, such
// as usr/sbin/nginx, with their own loader and libraries.
func Command(root, program string, args ...string) (name string, all []string) {
	libs := filepath.Join(root, "lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	return filepath.Join(root, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
		append([]string{"--library-path", libs, filepath.Join(root, program)}, args...)
}

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
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"

	"gatewatch/internal/devstack/cache"
)

//go:embed packages.tsv
var packages string

// A pkg is one line of packages.tsv.
type pkg struct {
	name, version string
	size          int64
	sha256        string
}

// spec is what apt-get calls the package.
func (p pkg) spec() string { return p.name + "=" + p.version }

// file is what apt-get names its file: the colon of an epoch is escaped.
func (p pkg) file() string {
	return p.name + "_" + strings.ReplaceAll(p.version, ":", "%3a") + "_amd64.deb"
}

func list() ([]pkg, error) {
	var ps []pkg
	for line := range strings.Lines(packages) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 4 {
			return nil, fmt.Errorf("packages.tsv: %q", line)
		}
		size, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("packages.tsv: %q: %w", line, err)
		}
		ps = append(ps, pkg{name: f[0], version: f[1], size: size, sha256: f[3]})
	}
	return ps, nil
}

// Install returns the folder that the packages are unpacked in, which apt-get
// fetches into the user's cache folder the first time. Progress goes to log.
func Install(ctx context.Context, log io.Writer) (root string, err error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", errors.New("the packages of gateways are for linux/amd64 only")
	}
	ps, err := list()
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
	fmt.Fprintf(log, "gateways: fetching nginx, HAProxy, Apache, Caddy and rsyslog (%d packages of Debian, %d MB, once) …\n", len(ps), total>>20)
	unpacked := filepath.Join(tmp, "root")
	if err := errors.Join(download(ctx, ps, tmp), os.Mkdir(unpacked, 0o755)); err != nil {
		return "", err
	}
	for _, p := range ps {
		if err := install(p, tmp, unpacked); err != nil {
			return "", fmt.Errorf("%s: %w", p.file(), err)
		}
	}
	if err := os.Rename(unpacked, root); err != nil {
		return "", fmt.Errorf("keep the packages: %w", err)
	}
	return root, nil
}

// download lets apt-get put the packages' files into dir. It uses the sources
// that the machine has, with lists of packages of its own, so that it needs no
// rights and changes nothing.
func download(ctx context.Context, ps []pkg, dir string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("apt-get is not installed: the real gateways are packages of Debian 12")
	}
	lists, archives := filepath.Join(dir, "lists"), filepath.Join(dir, "cache")
	if err := errors.Join(os.MkdirAll(filepath.Join(lists, "partial"), 0o755), os.MkdirAll(filepath.Join(archives, "archives/partial"), 0o755)); err != nil {
		return err
	}
	download := []string{"download"}
	for _, p := range ps {
		download = append(download, p.spec())
	}
	for _, args := range [][]string{{"update"}, download} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{
			"-qq", "-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + archives, "-o", "APT::Sandbox::User=root",
		}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s, with packages of Debian 12: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

func install(p pkg, dir, root string) error {
	deb, err := os.ReadFile(filepath.Join(dir, p.file()))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(deb)
	if got := hex.EncodeToString(sum[:]); got != p.sha256 {
		return fmt.Errorf("has checksum sha256 %s, want %s: refusing it", got, p.sha256)
	}
	return unpack(deb, root)
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

// Package maven finds Java and fetches sets of jars from Maven Central, each jar
// pinned by its checksum, once for all projects of a user.
package maven

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"gatewatch/internal/devstack/cache"
)

const minJava = 17

// Java returns a java that is new enough.
func Java(ctx context.Context) (string, error) {
	const need = "Java 17 or newer is needed: install it, or set JAVA_HOME"
	name := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		name = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", need, err)
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %s -version: %w", need, path, err)
	}
	m := regexp.MustCompile(`version "(\d+)`).FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s: %s says %q", need, path, out)
	}
	if v, err := strconv.Atoi(string(m[1])); err != nil || v < minJava {
		return "", fmt.Errorf("%s: %s is version %s", need, path, m[1])
	}
	return path, nil
}

// A Set is the jars that one program needs.
type Set struct {
	Name    string // of the folder
	Version string
	What    string // for people
	POM     []byte // names the dependencies
	Sums    string // a line a jar: file, tab, SHA-256
}

// Jars returns the folder with the jars of s, which Maven fetches the first time.
func Jars(ctx context.Context, log io.Writer, s Set) (string, error) {
	base, err := cache.Dir()
	if err != nil {
		return "", err
	}
	lib := filepath.Join(base, s.Name+"-"+s.Version)
	unlock, err := cache.Lock(lib + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("the jars of %s are fetched by Maven: install it (mvn): %w", s.Name, err)
	}
	tmp, err := os.MkdirTemp(base, s.Name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(file, s.POM, 0o600); err != nil {
		return "", err
	}
	fmt.Fprintf(log, "%s: fetching %s, version %s …\n", s.Name, s.What, s.Version)
	out := filepath.Join(tmp, "lib")
	cmd := exec.CommandContext(ctx, mvn, "-B", "-q", "-f", file, "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+out)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch the jars of %s with Maven: %w: %s", s.Name, err, text[max(0, len(text)-1000):])
	}
	if err := check(out, s.Sums); err != nil {
		return "", err
	}
	return lib, os.Rename(out, lib)
}

// check compares a folder with its checksums.
func check(dir, sums string) error {
	want := map[string]string{}
	for line := range strings.Lines(sums) {
		if name, sum, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			want[name] = sum
		}
	}
	have, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range have {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:]); got != want[e.Name()] {
			return fmt.Errorf("%s has checksum sha256 %s, want %q: refusing it", e.Name(), got, want[e.Name()])
		}
		delete(want, e.Name())
	}
	for name := range want {
		return fmt.Errorf("Maven did not fetch %s", name)
	}
	return nil
}

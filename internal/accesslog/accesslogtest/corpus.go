// Package accesslogtest holds what the tests of all decoders share.
package accesslogtest

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Corpus returns the rows of a file of third-party test data, which lies in
// shared/corpora beside the checkout. Where that folder is absent the test says so and is skipped.
func Corpus[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join(CorpusDir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []T
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var row T
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows = append(rows, row)
	}
	if err := sc.Err(); err != nil || len(rows) == 0 {
		t.Fatalf("%s: %d rows, %v", name, len(rows), err)
	}
	return rows
}

// CorpusDir returns the folder of third-party test data.
func CorpusDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(filepath.Dir(dir), "shared", "corpora")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("third-party test data (../shared/corpora) is not here")
	}
	return dir
}

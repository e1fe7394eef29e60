package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"gatewatch/internal/devstack"
)

// sampleLines is how much of a file is tried in each format.
const sampleLines = 500

// detectFormat tries the first lines of a file in every format that `ingest
// decode` knows and returns the one that reads most of them, and most of each.
func detectFormat(bin, path string) (string, error) {
	r, _, err := devstack.OpenLog(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var sample bytes.Buffer
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 8<<20)
	n := 0
	for ; n < sampleLines && lines.Scan(); n++ {
		sample.Write(lines.Bytes())
		sample.WriteByte('\n')
	}
	if n == 0 {
		return "", fmt.Errorf("%s holds no lines", path)
	}
	list, err := exec.Command(bin, "decode", "-formats").Output()
	if err != nil {
		return "", fmt.Errorf("list formats: %w", err)
	}
	best, bestRead, bestFields := "", 0, 0
	for line := range strings.Lines(string(list)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" || name == "json" || strings.HasPrefix(name, "otlp") {
			continue
		}
		read, fields, err := score(bin, name, sample.Bytes())
		if err != nil {
			return "", err
		}
		if read > bestRead || read == bestRead && fields > bestFields {
			best, bestRead, bestFields = name, read, fields
		}
	}
	if 2*bestRead < n {
		return "", fmt.Errorf("no known format reads half of the first %d lines of %s: set FORMAT=; `%s decode -formats` lists them", n, path, bin)
	}
	return best, nil
}

// score returns how many lines a format reads and how many fields they have.
func score(bin, format string, sample []byte) (read, fields int, err error) {
	cmd := exec.Command(bin, "decode", "-format", format, "-framing", "lines")
	cmd.Stdin = bytes.NewReader(sample)
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("try format %s: %w", format, err)
	}
	for line := range strings.Lines(string(out)) {
		var record map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			return 0, 0, fmt.Errorf("try format %s: %w", format, err)
		}
		if _, failed := record["parse_error"]; failed {
			continue
		}
		// A line of another kind can come back with next to nothing in it.
		if _, ok := record["timestamp"]; ok {
			read++
			fields += len(record)
		}
	}
	return read, fields, nil
}

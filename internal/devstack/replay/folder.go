package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A Folder is what was found in a folder of things to replay. What a file is
// follows from its content, not from its name.
type Folder struct {
	Logs, Spans, Changes, Keys []string // files of messages, one a line
	Objectives, Owners         []string // OpenSLO; Backstage, OpenAPI and CODEOWNERS
	OpenAPI                    []string // of Owners
	Runbooks                   []string
	// Settings and Alertmanager are files of these names, if there are any.
	Settings, Alertmanager string
	LogFormat              string
	// Ignored are files that are none of these.
	Ignored []string
}

// maxLine bounds a line of a file of messages.
const maxLine = 16 << 20

// ReadFolder looks at all files of dir. Its error joins all faults.
func ReadFolder(dir string) (*Folder, error) {
	f := &Folder{}
	var faults []error
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if fault := f.add(path); fault != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path, fault))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(f.Logs) == 0 {
		faults = append(faults, fmt.Errorf("%s: no access log found: files with one JSON object a line, also .gz and .zst", dir))
	}
	if len(f.Objectives) == 0 {
		faults = append(faults, fmt.Errorf("%s: no objectives found: YAML files with apiVersion openslo/v1", dir))
	}
	return f, errors.Join(faults...)
}

// add looks what a file is.
func (f *Folder) add(path string) error {
	name := filepath.Base(path)
	bare := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	switch ext := filepath.Ext(bare); {
	case name == "gatewatch.yaml":
		f.Settings = path
	case name == "alertmanager.yml" || name == "alertmanager.yaml":
		f.Alertmanager = path
	case name == "CODEOWNERS":
		f.Owners = append(f.Owners, path)
	case ext == ".yaml" || ext == ".yml":
		return f.addYAML(path)
	case ext == ".md":
		return f.addRunbook(path)
	case slices.Contains([]string{".json", ".ndjson", ".jsonl", ".log"}, ext):
		return f.addLines(path)
	}
	return nil
}

func (f *Folder) addRunbook(path string) error {
	b, err := os.ReadFile(path)
	if err == nil && bytes.HasPrefix(b, []byte("---\n")) {
		f.Runbooks = append(f.Runbooks, path)
	}
	return err
}

func (f *Folder) addYAML(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := "\n" + string(b)
	switch {
	case strings.Contains(text, "openslo/") || strings.Contains(text, "\nslos:") || strings.Contains(text, "gatewatch/v1"):
		f.Objectives = append(f.Objectives, path)
	case strings.Contains(text, "\nopenapi:") || strings.Contains(text, "\nswagger:"):
		f.OpenAPI, f.Owners = append(f.OpenAPI, path), append(f.Owners, path)
	case strings.Contains(text, "backstage.io/"):
		f.Owners = append(f.Owners, path)
	default:
		f.Ignored = append(f.Ignored, path)
	}
	return nil
}

// addLines looks at the first message of a file.
func (f *Folder) addLines(path string) error {
	l, err := openLines(path)
	if err != nil {
		return err
	}
	defer l.close()
	line, err := l.next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return bytes.Contains(line, []byte(`"`+k+`"`)) })
	}
	switch {
	case has("resourceSpans", "resource_spans"):
		f.Spans = append(f.Spans, path)
	case has("openapi", "swagger") || string(line) == "{" && isOpenAPI(path):
		f.OpenAPI, f.Owners = append(f.OpenAPI, path), append(f.Owners, path)
	case has("kind") && has("what"):
		f.Changes = append(f.Changes, path)
	case has("action") && has("consumer", "key", "key_id"):
		f.Keys = append(f.Keys, path)
	case line[0] != '{' && strings.Contains(filepath.Base(path), ".log") || has(logKeys...):
		f.Logs = append(f.Logs, path)
		if format := formatOf(has); f.LogFormat == "" || f.LogFormat == format {
			f.LogFormat = format
		} else {
			f.LogFormat = "auto"
		}
	default:
		f.Ignored = append(f.Ignored, path)
	}
	return nil
}

// logKeys are keys of which every access log in JSON has one.
var logKeys = []string{"resourceLogs", "resource_logs", "response_code", "status", "status_code", "request_method", "start_time", "requestMethod", "log", "message"}

// isOpenAPI tells whether a document over many lines is one of OpenAPI.
func isOpenAPI(path string) bool {
	b, err := os.ReadFile(path)
	return err == nil && (bytes.Contains(b, []byte(`"openapi"`)) || bytes.Contains(b, []byte(`"swagger"`)))
}

// formatOf names the format of a line of an access log.
func formatOf(has func(...string) bool) string {
	switch {
	case has("resourceLogs", "resource_logs"):
		return "envoy_otlp_als_json"
	case has("response_flags", "response_code_details", "upstream_cluster", "response_code"):
		return "envoy_json"
	}
	return "auto"
}

// Gather links objectives, owners and runbooks into folders below dir, as alert
// reads them, and returns those; runbooks is empty where there are none.
func (f *Folder) Gather(dir string) (objectives, owners, runbooks string, err error) {
	for _, x := range []struct {
		name  string
		files []string
		into  *string
	}{{"slo", f.Objectives, &objectives}, {"catalog", f.Owners, &owners}, {"runbooks", f.Runbooks, &runbooks}} {
		if len(x.files) == 0 && x.name == "runbooks" {
			continue
		}
		*x.into = filepath.Join(dir, x.name)
		if err := os.MkdirAll(*x.into, 0o755); err != nil {
			return "", "", "", err
		}
		for i, from := range x.files {
			from, err := filepath.Abs(from)
			if err != nil {
				return "", "", "", err
			}
			to := filepath.Join(*x.into, filepath.Base(from))
			if _, err := os.Lstat(to); err == nil { // of that name in two folders
				to = filepath.Join(*x.into, fmt.Sprint(i), filepath.Base(from))
				if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
					return "", "", "", err
				}
			}
			if err := copyFile(from, to); err != nil {
				return "", "", "", err
			}
		}
	}
	return objectives, owners, runbooks, nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// lines reads a file line by line, packed or not.
type lines struct {
	path   string
	number int
	file   *os.File
	in     *bufio.Scanner
	end    func()
}

func openLines(path string) (*lines, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	l := &lines{path: path, file: file, end: func() {}}
	var r io.Reader = file
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(file)
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("unpack: %w", err)
		}
		r = z
	case ".zst":
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1))
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("unpack: %w", err)
		}
		r, l.end = z, z.Close
	}
	l.in = bufio.NewScanner(r)
	l.in.Buffer(make([]byte, 64<<10), maxLine)
	return l, nil
}

// next returns the next line that is not empty, valid until the next call.
func (l *lines) next() ([]byte, error) {
	for l.in.Scan() {
		l.number++
		if b := bytes.TrimSpace(l.in.Bytes()); len(b) > 0 {
			return b, nil
		}
	}
	if err := l.in.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", l.path, l.number+1, err)
	}
	return nil, io.EOF
}

func (l *lines) close() {
	l.end()
	l.file.Close()
}

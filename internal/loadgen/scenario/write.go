package scenario

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"gatewatch/internal/devstack/replay"
)

// Write writes the whole world into dir, as `make replay` reads it, and its labels
// beside it, as dir.labels.json. The world is used up.
func (w *World) Write(dir string) (err error) {
	if err := w.WriteFiles(dir); err != nil {
		return err
	}
	packs := map[string]*pack{}
	for topic, name := range map[string]string{
		replay.TopicLog: "access-log.ndjson.zst", replay.TopicSpans: "spans.ndjson.zst", replay.TopicChanges: "changes.ndjson.zst",
	} {
		p, err := newPack(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		packs[topic] = p
		defer func() { err = errors.Join(err, p.close()) }()
	}
	for {
		m, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := packs[m.Topic].line(m.Value); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(w.Labels, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(dir)+".labels.json", append(b, '\n'), 0o644)
}

// A pack is a packed file of lines.
type pack struct {
	file *os.File
	z    *zstd.Encoder
	out  *bufio.Writer
}

func newPack(path string) (*pack, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &pack{f, z, bufio.NewWriter(z)}, nil
}

func (p *pack) line(b []byte) error {
	if _, err := p.out.Write(b); err != nil {
		return err
	}
	return p.out.WriteByte('\n')
}

func (p *pack) close() error {
	return errors.Join(p.out.Flush(), p.z.Close(), p.file.Close())
}

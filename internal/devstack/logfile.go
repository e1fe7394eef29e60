package devstack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
)

// LogTopic is the topic through which a user's file goes.
const LogTopic = "access-log"

// LogFileConfig returns what a stack needs to import files of that format: one
// topic, any event time, nothing expires.
func LogFileConfig(c Config, format string) Config {
	c.WithoutAlert = true
	c.Topics = []map[string]any{{"name": LogTopic, "format": format}}
	never := map[string]any{}
	for _, level := range []string{"access_log", "span", "dead_letter", "request_10s", "request_1m", "request_1h", "key_1m", "key_1h", "key_1d"} {
		never[level] = 0
	}
	c.Settings = map[string]any{"ingest": map[string]any{"any_event_time": true}, "retention": never}
	return c
}

// OpenLog opens a log file, gzipped or not, and returns it with a function that
// tells how much of the file has been read, from 0 to 1.
func OpenLog(path string) (io.ReadCloser, func() float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	share := func() float64 {
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil || info.Size() == 0 {
			return 1
		}
		return float64(at) / float64(info.Size())
	}
	buffered := bufio.NewReaderSize(f, 256<<10)
	if magic, _ := buffered.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return logReader{buffered, f}, share, nil
	}
	z, err := gzip.NewReader(buffered)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("unpack %s: %w", path, err)
	}
	return logReader{z, f}, share, nil
}

type logReader struct {
	io.Reader
	file *os.File
}

func (l logReader) Close() error { return l.file.Close() }

// maxLine bounds a line of a log; a longer one is an error.
const maxLine = 8 << 20

// SendLog sends each line of r that isn't empty as one message of LogTopic and
// returns how many there were. progress is told now and then.
func (s *Stack) SendLog(ctx context.Context, r io.Reader, progress func(sent int64)) (int64, error) {
	w := &kafka.Writer{
		Addr: kafka.TCP(s.Broker.Addr), Topic: LogTopic, RequiredAcks: kafka.RequireAll,
		BatchSize: logBatch, BatchBytes: maxLine, BatchTimeout: 5 * time.Millisecond, Compression: kafka.Lz4, Balancer: &kafka.RoundRobin{},
	}
	defer w.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	var n int64
	var batch []kafka.Message
	send := func() error {
		if err := w.WriteMessages(ctx, batch...); err != nil {
			return fmt.Errorf("send the log: %w", err)
		}
		n += int64(len(batch))
		batch = batch[:0]
		progress(n)
		return nil
	}
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		batch = append(batch, kafka.Message{Value: bytes.Clone(lines.Bytes())})
		if len(batch) == s.config.Partitions*logBatch {
			if err := send(); err != nil {
				return n, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return n, fmt.Errorf("read line %d of the log: %w", n+int64(len(batch))+1, err)
	}
	if len(batch) > 0 {
		if err := send(); err != nil {
			return n, err
		}
	}
	return n, nil
}

const logBatch = 1000

// WaitStored waits until the store has n messages. It asks soon and then less
// often, for each answer takes the store's time.
func (s *Stack) WaitStored(ctx context.Context, n int64, progress func(stored int64)) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		totals, err := s.Store.LedgerTotals(ctx)
		if err != nil {
			return err
		}
		var stored int64
		for _, t := range totals {
			stored += t.Messages
		}
		progress(stored)
		if stored >= n {
			return nil
		}
		if err := s.Failed(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

package envelope

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"gatewatch/internal/accesslog"
)

// MaxInflated bounds what a compressed message may hold.
const MaxInflated = 16 << 20

// An Inflater undoes compression of payloads: a producer's own, beside that
// which Kafka's client undoes already. It is used by one goroutine at a time.
type Inflater struct {
	gzip *gzip.Reader
	zstd *zstd.Decoder
	buf  bytes.Buffer
}

// Inflate returns what a message in gzip (RFC 1952) or Zstandard (RFC 8878)
// holds, in the arena, and any other message as it is.
func (i *Inflater) Inflate(msg []byte, arena *accesslog.Arena) ([]byte, error) {
	var err error
	switch {
	case bytes.HasPrefix(msg, []byte{0x1f, 0x8b}):
		err = i.ungzip(msg)
	case bytes.HasPrefix(msg, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		err = i.unzstd(msg)
	default:
		return msg, nil
	}
	if err != nil {
		return nil, &accesslog.ParseError{Reason: accesslog.ReasonEncoding, Detail: err.Error()}
	}
	if i.buf.Len() > MaxInflated {
		return nil, &accesslog.ParseError{Reason: accesslog.ReasonTooLarge, Detail: fmt.Sprintf("more than %d bytes once inflated", MaxInflated)}
	}
	b := append(arena.Grow(i.buf.Len()), i.buf.Bytes()...)
	arena.Keep(b)
	return b, nil
}

var (
	errGzip = errors.New("broken gzip")
	errZstd = errors.New("broken zstd")
)

func (i *Inflater) ungzip(msg []byte) error {
	var err error
	if i.gzip == nil {
		i.gzip, err = gzip.NewReader(bytes.NewReader(msg))
	} else {
		err = i.gzip.Reset(bytes.NewReader(msg))
	}
	if err != nil {
		return errGzip
	}
	return i.fill(i.gzip, errGzip)
}

func (i *Inflater) unzstd(msg []byte) error {
	var err error
	if i.zstd == nil {
		i.zstd, err = zstd.NewReader(bytes.NewReader(msg), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxInflated+1<<20))
	} else {
		err = i.zstd.Reset(bytes.NewReader(msg))
	}
	if err != nil {
		return errZstd
	}
	return i.fill(i.zstd, errZstd)
}

// fill reads one byte more than may be there.
func (i *Inflater) fill(r io.Reader, broken error) error {
	i.buf.Reset()
	if _, err := i.buf.ReadFrom(io.LimitReader(r, MaxInflated+1)); err != nil {
		return broken
	}
	return nil
}

package kafka

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"gatewatch/internal/ingest"
)

// Layout of a record batch, version 2 (Kafka documentation §5.3.1, "Record Batch").
const (
	batchHead     = 61
	attrCodec     = 0x07
	attrTxn       = 0x10
	attrControl   = 0x20
	maxBatchBytes = 512 << 20 // of a batch when decompressed
)

var (
	errCRC     = errors.New("a record batch has a wrong checksum")
	errRecord  = errors.New("a record batch does not hold what its head says")
	errTooLong = errors.New("a record batch is too large when decompressed")
)

// A recordReader reads record sets, checking checksums and leaving out control
// records and aborted messages. Its buffers live until the next read.
type recordReader struct {
	limit int // bytes of a batch when decompressed
	crc   *crc32.Table
	zstd  *zstd.Decoder
	gzip  *gzip.Reader
	lz4   *lz4.Reader
	bufs  [][]byte // one a compressed batch
	used  int
}

// read sets out to the messages at or after from and returns the offset to ask for next.
func (r *recordReader) read(res *fetchResponse, from int64, out *[]ingest.Message) (next int64, err error) {
	*out = (*out)[:0]
	r.used = 0
	if r.crc == nil {
		r.crc = crc32.MakeTable(crc32.Castagnoli)
	}
	aborted := res.aborted
	slices.SortFunc(aborted, func(a, b abortedTxn) int { return cmp.Compare(a.first, b.first) })
	live := map[int64]bool{} // producers in the middle of an aborted transaction
	next = from
	for rs := res.records; len(rs) >= batchHead; {
		size := int(int32(binary.BigEndian.Uint32(rs[8:]))) + 12
		if size < batchHead {
			return next, errRecord
		}
		if size > len(rs) {
			break // cut by the size limit
		}
		b := rs[:size]
		rs = rs[size:]
		h, err := r.head(b)
		if err != nil {
			return next, err
		}
		for len(aborted) > 0 && aborted[0].first <= h.last {
			live[aborted[0].producer] = true
			aborted = aborted[1:]
		}
		switch {
		case h.attr&attrControl != 0:
			if isAbort(b) {
				delete(live, h.producer)
			}
		case h.attr&attrTxn != 0 && live[h.producer]:
		case h.last >= from:
			if err := r.records(h, b[batchHead:], from, out); err != nil {
				return next, err
			}
		}
		next = max(next, h.last+1)
	}
	return next, nil
}

type batch struct {
	base, last, time, producer int64
	attr                       uint16
	count                      int
}

func (r *recordReader) head(b []byte) (batch, error) {
	be := binary.BigEndian
	if b[16] != 2 {
		return batch{}, fmt.Errorf("a record batch of version %d: only 2 is read", b[16])
	}
	if crc32.Checksum(b[21:], r.crc) != be.Uint32(b[17:]) {
		return batch{}, errCRC
	}
	h := batch{
		base: int64(be.Uint64(b)), attr: be.Uint16(b[21:]), time: int64(be.Uint64(b[27:])),
		producer: int64(be.Uint64(b[43:])), count: int(int32(be.Uint32(b[57:]))),
	}
	h.last = h.base + int64(int32(be.Uint32(b[23:])))
	if h.last < h.base || h.count < 0 {
		return batch{}, errRecord
	}
	return h, nil
}

// isAbort reads a control batch's only record, whose key is {version, type}; type 0 is abort.
func isAbort(b []byte) bool {
	c := cursor{b: b[batchHead:]}
	c.varint() // length
	c.take(1)
	c.varint()
	c.varint()
	key := c.take(c.varint())
	return c.ok() && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0
}

func (r *recordReader) records(h batch, body []byte, from int64, out *[]ingest.Message) error {
	body, err := r.decompress(h.attr&attrCodec, body)
	if err != nil {
		return err
	}
	c := cursor{b: body}
	for range h.count {
		rec := cursor{b: c.take(c.varint())}
		rec.take(1) // attributes
		dt, do := rec.varint(), rec.varint()
		key := rec.bytes()
		value := rec.bytes()
		if !c.ok() || !rec.ok() {
			return errRecord
		}
		if off := h.base + do; off >= from && off <= h.last {
			*out = append(*out, ingest.Message{Offset: off, Time: time.UnixMilli(h.time + dt).UTC(), Key: key, Value: value})
		}
	}
	return nil
}

// A cursor reads the fields of a record; a fault makes all that follow empty.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) ok() bool { return !c.bad }

func (c *cursor) take(n int64) []byte {
	if n < 0 || n > int64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// bytes reads a length and as many bytes; -1 is nil.
func (c *cursor) bytes() []byte {
	n := c.varint()
	if n < 0 {
		return nil
	}
	return c.take(n)
}

func (r *recordReader) decompress(codec uint16, b []byte) (out []byte, err error) {
	if codec == 0 {
		return b, nil
	}
	if r.used == len(r.bufs) {
		r.bufs = append(r.bufs, nil)
	}
	buf := r.bufs[r.used][:0]
	switch codec {
	case 1:
		out, err = r.gunzip(buf, b)
	case 2:
		out, err = unsnappy(buf, b, r.limit)
	case 3:
		if r.lz4 == nil {
			r.lz4 = lz4.NewReader(nil)
		}
		r.lz4.Reset(bytes.NewReader(b))
		out, err = readAll(buf, r.lz4, r.limit)
	case 4:
		if r.zstd == nil {
			if r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(r.limit))); err != nil {
				return nil, err
			}
		}
		out, err = r.zstd.DecodeAll(b, buf)
	default:
		return nil, fmt.Errorf("a record batch has unknown compression %d", codec)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress a record batch: %w", err)
	}
	r.bufs[r.used] = out
	r.used++
	return out, nil
}

func (r *recordReader) gunzip(buf, b []byte) ([]byte, error) {
	var err error
	if r.gzip == nil {
		r.gzip, err = gzip.NewReader(bytes.NewReader(b))
	} else {
		err = r.gzip.Reset(bytes.NewReader(b))
	}
	if err != nil {
		return nil, err
	}
	return readAll(buf, r.gzip, r.limit)
}

// readAll appends what r gives to dst, at most limit bytes, growing it by doubling.
func readAll(dst []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(64<<10, cap(dst)))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		case len(dst) > limit:
			return dst, errTooLong
		}
	}
}

// xerial is the head of the framing that Java clients put around snappy blocks.
const xerial = "\x82SNAPPY\x00"

func unsnappy(dst, b []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(xerial)) {
		return appendSnappy(dst, b, limit)
	}
	if len(b) < 16 {
		return dst, errRecord
	}
	var err error
	for b = b[16:]; len(b) >= 4; {
		n := int(int32(binary.BigEndian.Uint32(b)))
		if b = b[4:]; n < 0 || n > len(b) {
			return dst, errRecord
		}
		if dst, err = appendSnappy(dst, b[:n], limit); err != nil {
			return dst, err
		}
		b = b[n:]
	}
	return dst, nil
}

func appendSnappy(dst, b []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(b)
	if err != nil {
		return dst, err
	}
	at := len(dst)
	if at+n > limit {
		return dst, errTooLong
	}
	dst = slices.Grow(dst, n)[:at+n]
	_, err = s2.Decode(dst[at:at+n], b)
	return dst, err
}

package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"gatewatch/internal/ingest"
)

// recordSet lays out one batch as the protocol's text says, by hand.
func recordSet(base int64, attr uint16, body []byte, count int) []byte {
	be := binary.BigEndian
	b := be.AppendUint64(nil, uint64(base))
	b = be.AppendUint32(b, uint32(batchHead-12+len(body)))
	b = be.AppendUint32(b, 0) // leader epoch
	b = append(b, 2)
	b = be.AppendUint32(b, 0) // checksum, below
	b = be.AppendUint16(b, attr)
	b = be.AppendUint32(b, uint32(count-1))
	b = be.AppendUint64(b, 1000)
	b = be.AppendUint64(b, 1000)
	b = be.AppendUint64(b, 7) // producer
	b = be.AppendUint16(b, 0)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(count))
	b = append(b, body...)
	be.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func body(values ...string) []byte {
	var out []byte
	for i, v := range values {
		r := []byte{0}                            // attributes
		r = binary.AppendVarint(r, int64(i))      // time
		r = binary.AppendVarint(r, int64(i))      // offset
		r = binary.AppendVarint(r, -1)            // no key
		r = binary.AppendVarint(r, int64(len(v))) //
		r = append(append(r, v...), 0)            // no headers
		out = binary.AppendVarint(out, int64(len(r)))
		out = append(out, r...)
	}
	return out
}

// testLimit stands for maxBatchBytes.
const testLimit = 4 << 20

func readSet(b []byte, from int64) ([]ingest.Message, int64, error) {
	r := recordReader{limit: testLimit}
	var out []ingest.Message
	next, err := r.read(&fetchResponse{records: b}, from, &out)
	return out, next, err
}

func TestRecords(t *testing.T) {
	set := append(recordSet(10, 0, body("a", "b", "c"), 3), recordSet(20, 0, body("d"), 1)...)
	got, next, err := readSet(set, 11)
	if err != nil || next != 21 || len(got) != 3 {
		t.Fatalf("%d messages, next %d, %v; want 3, 21", len(got), next, err)
	}
	if string(got[0].Value) != "b" || got[0].Offset != 11 || !got[0].Time.Equal(time.UnixMilli(1001)) || string(got[2].Value) != "d" {
		t.Errorf("messages are %+v", got)
	}
	// A batch that the size limit has cut is left for the next fetch.
	if got, next, err := readSet(set[:len(set)-1], 10); err != nil || next != 13 || len(got) != 3 {
		t.Errorf("cut: %d messages, next %d, %v; want 3, 13", len(got), next, err)
	}
}

// Whatever byte is damaged under the checksum, nothing of the batch comes out.
func TestDamage(t *testing.T) {
	set := recordSet(10, 0, body("a", "b", "c"), 3)
	for i := 16; i < len(set); i++ {
		damaged := bytes.Clone(set)
		damaged[i] ^= 0x41
		if got, next, err := readSet(damaged, 10); err == nil || len(got) != 0 || next != 10 {
			t.Errorf("byte %d damaged: %d messages, next %d, %v; want an error", i, len(got), next, err)
		}
	}
}

// A head that promises more records than there are is an error, not a shorter batch.
func TestCountIsChecked(t *testing.T) {
	if _, _, err := readSet(recordSet(0, 0, body("a", "b"), 3), 0); err == nil {
		t.Error("a missing record goes unnoticed")
	}
}

func TestXerialSnappy(t *testing.T) {
	plain := body("first", "second", "third")
	framed := append([]byte(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
	for _, part := range [][]byte{plain[:9], plain[9:]} {
		z := s2.EncodeSnappy(nil, part)
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(z))), z...)
	}
	got, next, err := readSet(recordSet(0, 2, framed, 3), 0)
	if err != nil || next != 3 || len(got) != 3 || string(got[2].Value) != "third" {
		t.Errorf("%d messages, next %d, %v", len(got), next, err)
	}
}

// A small batch that grows beyond the limit is refused, not held in memory.
func TestBomb(t *testing.T) {
	const size = testLimit + 1<<20
	var gz, lz, zs bytes.Buffer
	zeros := func(w io.WriteCloser) {
		if _, err := w.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	zeros(gzip.NewWriter(&gz))
	zeros(lz4.NewWriter(&lz))
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	zeros(z)
	for name, set := range map[string][]byte{
		"gzip":   recordSet(0, 1, gz.Bytes(), 1),
		"lz4":    recordSet(0, 3, lz.Bytes(), 1),
		"zstd":   recordSet(0, 4, zs.Bytes(), 1),
		"snappy": recordSet(0, 2, binary.AppendUvarint(nil, 1<<31), 1),
	} {
		if _, _, err := readSet(set, 0); err == nil {
			t.Errorf("%s: %d bytes out of %d are accepted", name, size, len(set))
		}
	}
}

// Junk gives an error or messages, never a panic, and never goes backwards.
func FuzzRecords(f *testing.F) {
	plain := body("a", "bb", "")
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), plain, 3, int64(0))
	f.Add(uint16(4), z.EncodeAll(plain, nil), 3, int64(1))
	f.Add(uint16(2), s2.EncodeSnappy(nil, plain), 3, int64(2))
	f.Add(uint16(attrControl|attrTxn), plain, 1, int64(0))
	f.Fuzz(func(t *testing.T, attr uint16, body []byte, count int, from int64) {
		// Under a right checksum, so that what lies behind it is reached.
		set := recordSet(5, attr, body, count&0xffff)
		for _, b := range [][]byte{set, body} {
			got, next, err := readSet(b, from)
			if next < from {
				t.Errorf("from %d to %d", from, next)
			}
			for _, m := range got {
				if m.Offset < from || err == nil && m.Offset >= next {
					t.Errorf("offset %d outside of [%d, %d)", m.Offset, from, next)
				}
			}
		}
	})
}

func FuzzFetchAnswer(f *testing.F) {
	be := binary.BigEndian
	b := be.AppendUint32(nil, 0)
	b = be.AppendUint16(b, 0)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, 1)
	b = append(be.AppendUint16(b, 1), 't')
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint16(b, 0)
	for range 3 {
		b = be.AppendUint64(b, 9)
	}
	b = be.AppendUint32(b, 1)
	b = be.AppendUint64(be.AppendUint64(b, 7), 3)
	b = be.AppendUint32(b, 0)
	set := recordSet(0, 0, body("x"), 1)
	b = append(be.AppendUint32(b, uint32(len(set))), set...)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := parseFetch(b)
		if err == nil {
			_, _, _ = readSet(res.records, 0)
		}
	})
	res, err := parseFetch(b)
	if err != nil || res.end != 9 || len(res.aborted) != 1 || !bytes.Equal(res.records, set) {
		f.Errorf("the seed reads as %+v, %v", res, err)
	}
}

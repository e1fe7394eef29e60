package loadgen

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/pierrec/lz4/v4"
)

// A batch collects records of one partition in Kafka's record format
// (message format v2, KIP-98).
type batch struct {
	records  []byte
	n        int32
	first    int64 // timestamp of the first record, milliseconds
	last     int64 // greatest timestamp
	messages int64
	spans    int64
}

func (b *batch) reset() { *b = batch{records: b.records[:0]} }

// add appends a record without key and headers.
func (b *batch) add(ms int64, value []byte) {
	if b.n == 0 {
		b.first, b.last = ms, ms
	}
	b.last = max(b.last, ms)
	var body [32]byte
	h := append(body[:0], 0) // attributes
	h = binary.AppendVarint(h, ms-b.first)
	h = binary.AppendVarint(h, int64(b.n))
	h = binary.AppendVarint(h, -1) // no key
	h = binary.AppendVarint(h, int64(len(value)))
	b.records = binary.AppendVarint(b.records, int64(len(h)+len(value)+1))
	b.records = append(b.records, h...)
	b.records = append(b.records, value...)
	b.records = append(b.records, 0) // no headers
	b.n++
	b.messages++
}

const (
	sizePrefix     = 4 // a RawRecordSet begins with its length
	batchHeader    = 61
	crcFrom        = 21 // the checksum covers everything from the attributes on
	compressionLZ4 = 3
)

// encode writes the batch to out as a record batch whose records are
// compressed by w, after its length as kafka-go's RawRecordSet wants it.
func (b *batch) encode(out *bytes.Buffer, w *lz4.Writer) error {
	out.Reset()
	out.Write(make([]byte, sizePrefix+batchHeader))
	w.Reset(out)
	if _, err := w.Write(b.records); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	be := binary.BigEndian
	p := out.Bytes()[sizePrefix:]
	be.PutUint32(out.Bytes(), uint32(len(p)))
	be.PutUint32(p[8:], uint32(len(p)-12))
	be.PutUint32(p[12:], ^uint32(0)) // partition leader epoch: unknown
	p[16] = 2                        // magic
	be.PutUint16(p[21:], compressionLZ4)
	be.PutUint32(p[23:], uint32(b.n-1))
	be.PutUint64(p[27:], uint64(b.first))
	be.PutUint64(p[35:], uint64(b.last))
	for i := 43; i < 57; i++ { // producer id, epoch and sequence: none
		p[i] = 0xff
	}
	be.PutUint32(p[57:], uint32(b.n))
	be.PutUint32(p[17:], crc32.Checksum(p[crcFrom:], crc32.MakeTable(crc32.Castagnoli)))
	return nil
}

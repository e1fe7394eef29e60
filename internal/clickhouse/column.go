package clickhouse

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"gatewatch/internal/accesslog"
)

// maxInterned bounds the strings that a column remembers from block to block.
const maxInterned = 1 << 16

// A dictionary is a LowCardinality(String) column. It remembers strings over
// blocks, so that in the steady state a row costs one map lookup, or none when
// its string is the last row's, and no allocation. It copies what it is given.
type dictionary struct {
	ids    map[string]uint32
	values []string // by id
	slots  []uint32 // by id: 1 + the string's key in this block, 0 if it is not in it
	used   []uint32 // the block's ids by key
	rows   int
	bytes  int // of the strings in the block

	last    string // the last row's string, if used is not empty
	lastKey uint32

	index proto.ColStr // made by Prepare
	raw   proto.ColLowCardinalityRaw
}

func newDictionary() *dictionary {
	d := &dictionary{ids: make(map[string]uint32)}
	d.raw.Index = &d.index
	d.raw.Key = proto.KeyUInt8
	return d
}

func (d *dictionary) append(s string) {
	if s == d.last && len(d.used) > 0 {
		d.put(d.lastKey)
		return
	}
	id, ok := d.ids[s]
	if !ok {
		id = d.intern(s)
	}
	if d.slots[id] == 0 {
		d.used = append(d.used, id)
		d.slots[id] = uint32(len(d.used))
		d.bytes += len(s)
		d.widen()
	}
	d.last, d.lastKey = d.values[id], d.slots[id]-1
	d.put(d.lastKey)
}

// value returns the string of a key of this block.
func (d *dictionary) value(key uint32) string { return d.values[d.used[key]] }

func (d *dictionary) intern(s string) uint32 {
	id := uint32(len(d.values))
	s = string(append([]byte(nil), s...))
	d.values = append(d.values, s)
	d.slots = append(d.slots, 0)
	d.ids[s] = id
	return id
}

func (d *dictionary) put(key uint32) {
	d.rows++
	switch d.raw.Key {
	case proto.KeyUInt8:
		d.raw.Keys8 = append(d.raw.Keys8, uint8(key))
	case proto.KeyUInt16:
		d.raw.Keys16 = append(d.raw.Keys16, uint16(key))
	default:
		d.raw.Keys32 = append(d.raw.Keys32, key)
	}
}

// widen makes the keys as wide as the number of strings needs. Keys stay that
// wide in later blocks.
func (d *dictionary) widen() {
	switch n := len(d.used); {
	case n > 1<<8 && d.raw.Key == proto.KeyUInt8:
		for _, k := range d.raw.Keys8 {
			d.raw.Keys16 = append(d.raw.Keys16, uint16(k))
		}
		d.raw.Keys8, d.raw.Key = nil, proto.KeyUInt16
	case n > 1<<16 && d.raw.Key == proto.KeyUInt16:
		for _, k := range d.raw.Keys16 {
			d.raw.Keys32 = append(d.raw.Keys32, uint32(k))
		}
		d.raw.Keys16, d.raw.Key = nil, proto.KeyUInt32
	}
}

// Reset empties the column for the next block.
func (d *dictionary) Reset() {
	for _, id := range d.used {
		d.slots[id] = 0
	}
	if len(d.values) > maxInterned {
		clear(d.ids)
		clear(d.values)
		d.values, d.slots = d.values[:0], d.slots[:0]
	}
	d.used, d.rows, d.bytes = d.used[:0], 0, 0
	d.raw.Reset()
}

// Type implements proto.ColInput.
func (d *dictionary) Type() proto.ColumnType { return d.raw.Type() }

// Rows implements proto.ColInput.
func (d *dictionary) Rows() int { return d.rows }

// Prepare implements proto.Preparable: it makes the block's dictionary.
func (d *dictionary) Prepare() error {
	d.index.Reset()
	for _, id := range d.used {
		d.index.Append(d.values[id])
	}
	return nil
}

// EncodeState implements proto.StateEncoder.
func (d *dictionary) EncodeState(b *proto.Buffer) { d.raw.EncodeState(b) }

// EncodeColumn implements proto.ColInput.
func (d *dictionary) EncodeColumn(b *proto.Buffer) { d.raw.EncodeColumn(b) }

// WriteColumn implements proto.ColInput.
func (d *dictionary) WriteColumn(w *proto.Writer) { d.raw.WriteColumn(w) }

// An attributes column is a Map(LowCardinality(String), String).
type attributes struct {
	offsets proto.ColUInt64
	keys    *dictionary
	values  proto.ColStr
}

func (a *attributes) add(key, value string) {
	a.keys.append(key)
	a.values.Append(value)
}

// end ends a row.
func (a *attributes) end() { a.offsets = append(a.offsets, uint64(a.keys.rows)) }

// Reset implements proto.Resettable.
func (a *attributes) Reset() {
	a.offsets.Reset()
	a.keys.Reset()
	a.values.Reset()
}

// Type implements proto.ColInput.
func (a *attributes) Type() proto.ColumnType {
	return proto.ColumnTypeMap.Sub(a.keys.Type(), a.values.Type())
}

// Rows implements proto.ColInput.
func (a *attributes) Rows() int { return len(a.offsets) }

// Prepare implements proto.Preparable.
func (a *attributes) Prepare() error { return a.keys.Prepare() }

// EncodeState implements proto.StateEncoder.
func (a *attributes) EncodeState(b *proto.Buffer) { a.keys.EncodeState(b) }

// EncodeColumn implements proto.ColInput.
func (a *attributes) EncodeColumn(b *proto.Buffer) {
	a.offsets.EncodeColumn(b)
	a.keys.EncodeColumn(b)
	a.values.EncodeColumn(b)
}

// WriteColumn implements proto.ColInput.
func (a *attributes) WriteColumn(w *proto.Writer) {
	a.offsets.WriteColumn(w)
	a.keys.WriteColumn(w)
	a.values.WriteColumn(w)
}

// optional is a Nullable(UInt64) column.
type optional struct {
	nulls  proto.ColUInt8
	values proto.ColUInt64
}

func (o *optional) append(v int64, ok bool) {
	if !ok {
		o.nulls = append(o.nulls, 1)
		o.values = append(o.values, 0)
		return
	}
	o.nulls = append(o.nulls, 0)
	o.values = append(o.values, uint64(max(v, 0)))
}

func (o *optional) appendMicroseconds(d accesslog.Opt[time.Duration]) {
	o.append(d.V.Microseconds(), d.OK)
}

// Reset implements proto.Resettable.
func (o *optional) Reset() {
	o.nulls.Reset()
	o.values.Reset()
}

// Type implements proto.ColInput.
func (o *optional) Type() proto.ColumnType { return proto.ColumnTypeNullable.Sub(o.values.Type()) }

// Rows implements proto.ColInput.
func (o *optional) Rows() int { return len(o.nulls) }

// EncodeColumn implements proto.ColInput.
func (o *optional) EncodeColumn(b *proto.Buffer) {
	o.nulls.EncodeColumn(b)
	o.values.EncodeColumn(b)
}

// WriteColumn implements proto.ColInput.
func (o *optional) WriteColumn(w *proto.Writer) {
	o.nulls.WriteColumn(w)
	o.values.WriteColumn(w)
}

// An instant is a DateTime64 column in UTC.
type instant struct{ proto.ColDateTime64 }

func newInstant(p proto.Precision) *instant {
	c := &instant{}
	c.WithPrecision(p).WithLocation(time.UTC)
	return c
}

// Infer implements proto.Inferable. The precision is given; ch-go's own Infer
// can't read SimpleAggregateFunction(min, DateTime64(6)), and leaves the insert hanging.
func (c *instant) Infer(proto.ColumnType) error { return nil }

// append adds t. The zero time, which the type can't hold, becomes 1970.
func (c *instant) append(t time.Time) {
	var v int64
	if !t.IsZero() {
		if c.Precision == proto.PrecisionMilli {
			v = t.UnixMilli()
		} else {
			v = t.UnixMicro()
		}
	}
	c.Data = append(c.Data, proto.DateTime64(v))
}

// An enum is an Enum8 column of a closed vocabulary.
type enum struct {
	proto.ColInt8
	name proto.ColumnType
}

// Type implements proto.ColInput.
func (e *enum) Type() proto.ColumnType { return e.name }

// clamp16 returns v, or the nearest number that fits.
func clamp16(v int) uint16 { return uint16(min(max(v, 0), 1<<16-1)) }

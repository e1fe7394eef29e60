package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"gatewatch/internal/ingest"
)

// maxResponse bounds what one answer may make us allocate.
const maxResponse = 256 << 20

var errShort = errors.New("an answer ends too early")

// A fetchRequest is Fetch v11 for one partition (Kafka protocol guide, "Fetch
// API"). It does its own exchange on a connection of kafka-go's transport and
// returns the record set undecoded.
type fetchRequest struct {
	topic     string
	partition int32
	offset    int64
	maxBytes  int32
	wait      time.Duration
	buf       []byte // the answer; reused
}

// A fetchResponse aliases the request's buffer.
type fetchResponse struct {
	err       int16
	end       int64 // last stable offset
	highWater int64
	aborted   []abortedTxn
	records   []byte
	throttled bool // a throttled answer has no partition
}

type abortedTxn struct{ producer, first int64 }

// ApiKey is part of protocol.Message.
func (*fetchRequest) ApiKey() protocol.ApiKey { return protocol.Fetch }

// ApiKey is part of protocol.Message.
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Required makes the request a protocol.RawExchanger.
func (*fetchRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// Broker routes the request to the partition's leader.
func (r *fetchRequest) Broker(c protocol.Cluster) (protocol.Broker, error) {
	t, ok := c.Topics[r.topic]
	if !ok {
		return protocol.Broker{ID: -1}, protocol.NewErrNoTopic(r.topic)
	}
	p, ok := t.Partitions[r.partition]
	if !ok {
		return protocol.Broker{ID: -1}, protocol.NewErrNoPartition(r.topic, r.partition)
	}
	b, ok := c.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{ID: -1}, protocol.NewErrNoLeader(r.topic, r.partition)
	}
	return b, nil
}

const (
	fetchVersion  = 11
	readCommitted = 1
	correlationID = 0x67617465 // each exchange has its connection for itself
)

func (r *fetchRequest) encode() []byte {
	be := binary.BigEndian
	b := header(protocol.Fetch, fetchVersion)
	b = be.AppendUint32(b, math.MaxUint32) // replica: a client
	b = be.AppendUint32(b, uint32(r.wait.Milliseconds()))
	b = be.AppendUint32(b, 1) // answer as soon as there is a byte
	b = be.AppendUint32(b, uint32(r.maxBytes))
	b = append(b, readCommitted)
	b = be.AppendUint32(b, 0)              // no session
	b = be.AppendUint32(b, math.MaxUint32) // no session's epoch
	b = be.AppendUint32(b, 1)
	b = be.AppendUint16(b, uint16(len(r.topic)))
	b = append(b, r.topic...)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, uint32(r.partition))
	b = be.AppendUint32(b, math.MaxUint32) // leader epoch unknown
	b = be.AppendUint64(b, uint64(r.offset))
	b = be.AppendUint64(b, math.MaxUint64) // log start: a follower's field
	b = be.AppendUint32(b, uint32(r.maxBytes))
	b = be.AppendUint32(b, 0)    // no forgotten topics
	return be.AppendUint16(b, 0) // no rack
}

// header begins a request: the length, which exchange sets, and the request
// header without tags.
func header(api protocol.ApiKey, version uint16) []byte {
	be := binary.BigEndian
	b := make([]byte, 4, 128)
	b = be.AppendUint16(b, uint16(api))
	b = be.AppendUint16(b, version)
	b = be.AppendUint32(b, correlationID)
	b = be.AppendUint16(b, uint16(len(clientID)))
	return append(b, clientID...)
}

// exchange sends a request and reads its answer behind the correlation id, into
// buf if that is large enough.
func exchange(rw io.ReadWriter, request, buf []byte) ([]byte, error) {
	binary.BigEndian.PutUint32(request, uint32(len(request)-4))
	if _, err := rw.Write(request); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:]))) - 4
	if size < 0 || size > maxResponse {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	if binary.BigEndian.Uint32(head[4:]) != correlationID {
		return nil, errors.New("an answer to another request")
	}
	if cap(buf) < size {
		buf = make([]byte, size+size/4)
	}
	buf = buf[:size]
	_, err := io.ReadFull(rw, buf)
	return buf, err
}

// RawExchange sends the request and reads the answer.
func (r *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	b, err := exchange(rw, r.encode(), r.buf)
	if err != nil {
		return nil, err
	}
	r.buf = b
	return parseFetch(b)
}

// parseFetch reads the answer to a request for one partition.
func parseFetch(b []byte) (*fetchResponse, error) {
	r := reader{b: b}
	r.skip(4) // throttle time
	if code := r.i16(); code != 0 {
		return nil, kafka.Error(code)
	}
	r.skip(4) // session
	res := &fetchResponse{throttled: true}
	if r.i32() == 0 {
		return res, r.err
	}
	r.skip(int(r.i16())) // topic
	if r.i32() == 0 {
		return res, r.err
	}
	res.throttled = false
	r.skip(4) // partition
	res.err = r.i16()
	res.highWater = r.i64()
	res.end = r.i64()
	r.skip(8) // log start
	for n := r.i32(); n > 0 && r.err == nil; n-- {
		res.aborted = append(res.aborted, abortedTxn{producer: r.i64(), first: r.i64()})
	}
	r.skip(4) // preferred replica
	if n := int(r.i32()); n > 0 {
		res.records = r.take(n)
	}
	return res, r.err
}

// A reader reads big-endian fields; after the first fault all are zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.err, r.b = errShort, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) skip(n int) { r.take(n) }

func (r *reader) i16() int16 {
	if p := r.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (r *reader) i32() int32 {
	if p := r.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (r *reader) i64() int64 {
	if p := r.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

// A fetcher reads one partition. What it returns dies with its next fetch.
type fetcher struct {
	c        *Client
	req      *fetchRequest
	records  recordReader
	messages []ingest.Message
}

func newFetcher(c *Client, topic string, partition int32) *fetcher {
	return &fetcher{c: c, req: &fetchRequest{topic: Wire(topic), partition: partition}, records: recordReader{limit: maxBatchBytes}}
}

// fetch returns what there is from offset on, waiting up to wait for the first message.
func (f *fetcher) fetch(ctx context.Context, offset int64, maxBytes int, wait time.Duration) (ingest.Fetched, error) {
	asOf := time.Now()
	ctx, cancel := context.WithTimeout(ctx, wait+callTimeout)
	defer cancel()
	m, err := f.exchange(ctx, offset, maxBytes, wait)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // a pooled connection that a restart has closed
		m, err = f.exchange(ctx, offset, maxBytes, wait)
	}
	if err != nil {
		return ingest.Fetched{}, f.c.explain(fmt.Sprintf("fetch %s/%d from %d", f.req.topic, f.req.partition, offset), err)
	}
	f.shrink(maxBytes)
	res := m.(*fetchResponse)
	if res.throttled {
		return ingest.Fetched{Next: offset, End: offset, AsOf: time.Time{}}, nil
	}
	if res.err != 0 {
		err := error(kafka.Error(res.err))
		if kafka.Error(res.err) == kafka.OffsetOutOfRange {
			err = ingest.ErrOffsetOutOfRange
		}
		return ingest.Fetched{}, fmt.Errorf("fetch %s/%d from %d: %w", f.req.topic, f.req.partition, offset, err)
	}
	next, err := f.records.read(res, offset, &f.messages)
	if err != nil {
		return ingest.Fetched{}, fmt.Errorf("read records of %s/%d from %d: %w", f.req.topic, f.req.partition, offset, err)
	}
	return ingest.Fetched{Messages: f.messages, Next: next, End: res.end, AsOf: asOf}, nil
}

// exchange asks once. After an error the connection may still be reading into
// the request's buffer, so the next one gets a buffer of its own.
func (f *fetcher) exchange(ctx context.Context, offset int64, maxBytes int, wait time.Duration) (protocol.Message, error) {
	f.req.offset, f.req.maxBytes, f.req.wait = offset, int32(maxBytes), wait
	m, err := f.c.transport.RoundTrip(ctx, f.c.client.Addr, f.req)
	if err != nil {
		f.req = &fetchRequest{topic: f.req.topic, partition: f.req.partition}
	}
	return m, err
}

// keptFactor is how much larger than an answer may be the buffers may be that are kept.
const keptFactor = 8

// shrink drops the buffers for decompressed batches that a backlog needed.
func (f *fetcher) shrink(maxBytes int) {
	total := 0
	for _, b := range f.records.bufs {
		total += cap(b)
	}
	if total > keptFactor*maxBytes {
		f.records.bufs = nil
	}
}

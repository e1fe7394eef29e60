package clickhouse

import (
	"encoding/binary"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/histogram"
	"gatewatch/internal/ingest"
)

// A foldKey is the window and the dimensions by which a level counts. Strings
// are keys of the block's dictionaries.
type foldKey interface {
	comparable
	hash() uint64
	// window returns the start of the window in seconds.
	window() uint32
}

// requestKey is a group of request_10s, 1m and 1h. Tenant and environment are
// those of the topic.
type requestKey struct {
	time                   uint32
	service, route, method uint32
	status                 uint16
	class, responder       int8
}

func (k requestKey) window() uint32 { return k.time }

func (k requestKey) hash() uint64 {
	h := mix(uint64(k.time)<<32 | uint64(k.service)<<16 | uint64(k.status))
	return mix(h ^ (uint64(k.route)<<32 | uint64(k.method)<<16 | uint64(uint8(k.class))<<8 | uint64(uint8(k.responder))))
}

// consumerKey is a group of key_1m, 1h and 1d.
type consumerKey struct {
	time                    uint32
	consumer, plan, service uint32
	id                      [16]byte // of the API key
	class                   int8
}

func (k consumerKey) window() uint32 { return k.time }

func (k consumerKey) hash() uint64 {
	h := mix(uint64(k.time)<<32 | uint64(k.consumer)<<8 | uint64(uint8(k.class)))
	h = mix(h ^ (uint64(k.plan)<<32 | uint64(k.service)))
	return mix(h ^ binary.LittleEndian.Uint64(k.id[:]))
}

// edgeKey is a group of edge_1m.
type edgeKey struct {
	time                  uint32
	service, region, node uint32
	class                 int8
}

func (k edgeKey) window() uint32 { return k.time }

func (k edgeKey) hash() uint64 {
	h := mix(uint64(k.time)<<32 | uint64(k.service)<<8 | uint64(uint8(k.class)))
	return mix(h ^ (uint64(k.region)<<32 | uint64(k.node)))
}

// usageKey is a group of usage_1d.
type usageKey struct {
	time                                      uint32
	consumer, service, method, route, version uint32
	id                                        [16]byte // of the API key
	class                                     int8
}

func (k usageKey) window() uint32 { return k.time }

func (k usageKey) hash() uint64 {
	h := mix(uint64(k.time)<<32 | uint64(k.consumer)<<8 | uint64(uint8(k.class)))
	h = mix(h ^ (uint64(k.service)<<48 | uint64(k.method)<<32 | uint64(k.route)))
	return mix(h ^ binary.LittleEndian.Uint64(k.id[:]) ^ uint64(k.version))
}

// mix spreads a number over all bits (the finalizer of splitmix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// sums are what a group adds up to.
type sums struct {
	requests, bytesIn, bytesOut int64
	timed, latency              int64 // requests that state a latency, and its sum in microseconds
	latencyMax                  uint64
	upstreamTimed, upstream     int64
	first, last                 int64 // event times, microseconds
}

func (s *sums) add(o *sums) {
	if s.requests == 0 {
		s.first, s.last = o.first, o.last
	}
	s.requests += o.requests
	s.bytesIn += o.bytesIn
	s.bytesOut += o.bytesOut
	s.timed += o.timed
	s.latency += o.latency
	s.latencyMax = max(s.latencyMax, o.latencyMax)
	s.upstreamTimed += o.upstreamTimed
	s.upstream += o.upstream
	s.first, s.last = min(s.first, o.first), max(s.last, o.last)
}

// entrySums are those of one request.
func entrySums(e *accesslog.Entry) sums {
	s := sums{requests: 1, bytesIn: max(e.RequestBytes.V, 0), bytesOut: max(e.ResponseBytes.V, 0)}
	if e.Latency.Total.OK {
		s.timed, s.latency = 1, max(e.Latency.Total.V.Microseconds(), 0)
		s.latencyMax = uint64(s.latency)
	}
	if e.Latency.Upstream.OK {
		s.upstreamTimed, s.upstream = 1, max(e.Latency.Upstream.V.Microseconds(), 0)
	}
	if !e.Time.IsZero() {
		s.first = e.Time.UnixMicro()
	}
	s.last = s.first
	return s
}

// A fold counts the requests of a block by window and dimensions: what the
// block adds to one level. Its groups are numbered from 0. Buckets are those of
// the latency histogram, or hours.
type fold[K foldKey] struct {
	seconds uint32 // of a window
	keys    []K
	sums    []sums
	slots   []uint32 // open addressing, a power of two: 1 + group, 0 is free
	buckets tally
}

func newFold[K foldKey](width time.Duration) *fold[K] {
	return &fold[K]{seconds: uint32(width / time.Second)}
}

func (f *fold[K]) reset() {
	f.keys, f.sums = f.keys[:0], f.sums[:0]
	clear(f.slots)
	f.buckets.reset()
}

// bytes is about what f takes.
func (f *fold[K]) bytes() int { return len(f.keys)*150 + f.buckets.n*32 }

// group returns the number of k's group.
func (f *fold[K]) group(k K) uint32 {
	if 2*len(f.keys) >= len(f.slots) {
		f.grow()
	}
	mask := uint32(len(f.slots) - 1)
	i := uint32(k.hash()) & mask
	for ; f.slots[i] != 0; i = (i + 1) & mask {
		if g := f.slots[i] - 1; f.keys[g] == k {
			return g
		}
	}
	f.keys, f.sums = append(f.keys, k), append(f.sums, sums{})
	f.slots[i] = uint32(len(f.keys))
	return uint32(len(f.keys) - 1)
}

func (f *fold[K]) grow() {
	f.slots = make([]uint32, max(1024, 2*len(f.slots)))
	mask := uint32(len(f.slots) - 1)
	for g, k := range f.keys {
		i := uint32(k.hash()) & mask
		for f.slots[i] != 0 {
			i = (i + 1) & mask
		}
		f.slots[i] = uint32(g + 1)
	}
}

// noBucket is that of a request without a latency.
const noBucket = 1<<16 - 1

// add counts one request.
func (f *fold[K]) add(k K, s *sums, bucket uint16) {
	g := f.group(k)
	f.sums[g].add(s)
	if bucket != noBucket {
		f.buckets.add(g, bucket, 1)
	}
}

// floor returns the start of the window that holds a second.
func (f *fold[K]) floor(second uint32) uint32 { return second - second%f.seconds }

// pour adds what f holds to a coarser level. floor makes its keys.
func (f *fold[K]) pour(to *fold[K], floor func(k K, seconds uint32) K) {
	groups := make([]uint32, len(f.keys))
	for g, k := range f.keys {
		groups[g] = to.group(floor(k, to.seconds))
		to.sums[groups[g]].add(&f.sums[g])
	}
	f.buckets.each(func(g uint32, bucket uint16, n int64) { to.buckets.add(groups[g], bucket, n) })
}

// A tally counts by group and bucket.
type tally struct {
	keys   []uint64 // open addressing, a power of two: 1 + group<<16 + bucket, 0 is free
	counts []int64
	n      int
}

func (t *tally) reset() {
	clear(t.keys)
	t.n = 0
}

func (t *tally) add(group uint32, bucket uint16, n int64) {
	if 2*t.n >= len(t.keys) {
		t.grow()
	}
	k := uint64(group)<<16 + uint64(bucket) + 1
	mask := uint64(len(t.keys) - 1)
	i := mix(k) & mask
	for ; t.keys[i] != k; i = (i + 1) & mask {
		if t.keys[i] == 0 {
			t.keys[i], t.counts[i] = k, 0
			t.n++
			break
		}
	}
	t.counts[i] += n
}

func (t *tally) grow() {
	old := *t
	size := max(4096, 2*len(old.keys))
	*t = tally{keys: make([]uint64, size), counts: make([]int64, size)}
	old.each(t.add)
}

func (t *tally) each(f func(group uint32, bucket uint16, n int64)) {
	for i, k := range t.keys {
		if k != 0 {
			f(uint32((k-1)>>16), uint16(k-1), t.counts[i])
		}
	}
}

// Rows that reach Kafka late, such as a history or a file that is imported, skip
// a level that would drop them at once and enter the next one. The condition is
// on the row alone, so that a retry decides as the first try did.
const (
	lateFor10s = 4 * 24 * time.Hour
	lateForKey = 15 * 24 * time.Hour
)

// rollups are what a block of requests adds to the levels.
type rollups struct {
	requests [3]*fold[requestKey]
	keys     [3]*fold[consumerKey]
	edges    *fold[edgeKey]
	usage    *fold[usageKey]
	levels   []*level // made by make
}

func newRollups() *rollups {
	r := &rollups{edges: newFold[edgeKey](time.Minute), usage: newFold[usageKey](24 * time.Hour)}
	for i, width := range [...]time.Duration{10 * time.Second, time.Minute, time.Hour} {
		r.requests[i] = newFold[requestKey](width)
	}
	for i, width := range [...]time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		r.keys[i] = newFold[consumerKey](width)
	}
	return r
}

func (r *rollups) reset() {
	for i := range r.requests {
		r.requests[i].reset()
		r.keys[i].reset()
	}
	r.edges.reset()
	r.usage.reset()
	r.levels = nil
}

func (r *rollups) bytes() (n int) {
	for i := range r.requests {
		n += r.requests[i].bytes() + r.keys[i].bytes()
	}
	return n + r.edges.bytes() + r.usage.bytes()
}

// append counts the request that a's last row is.
func (r *rollups) append(a *accessRows, c ingest.Coordinates, e *accesslog.Entry) {
	s := entrySums(e)
	age := c.KafkaTime.Sub(e.Time)
	f := r.requests[0]
	if age > lateFor10s {
		f = r.requests[1]
	}
	second, class, bucket := uint32(s.first/1e6), int8(e.Outcome.Class), uint16(noBucket)
	if s.timed > 0 {
		bucket = histogram.Index(uint64(s.latency))
	}
	f.add(requestKey{
		time: f.floor(second), service: a.service.lastKey, route: a.route.lastKey, method: a.method.lastKey,
		status: clamp16(e.Status), class: class, responder: int8(e.Outcome.Responder),
	}, &s, bucket)
	r.edges.add(edgeKey{
		time: r.edges.floor(second), service: a.service.lastKey, region: a.region.lastKey, node: a.node.lastKey, class: class,
	}, &s, bucket)
	if e.Consumer.ID == "" && e.Consumer.KeyID == [16]byte{} {
		return
	}
	k := r.keys[0]
	if age > lateForKey {
		k = r.keys[1]
	}
	k.add(consumerKey{
		time: k.floor(second), consumer: a.consumer.lastKey, plan: a.plan.lastKey, service: a.service.lastKey,
		id: e.Consumer.KeyID, class: class,
	}, &s, bucket)
	r.usage.add(usageKey{
		time: r.usage.floor(second), consumer: a.consumer.lastKey, service: a.service.lastKey, method: a.method.lastKey,
		route: a.route.lastKey, version: a.apiVersion.lastKey, id: e.Consumer.KeyID, class: class,
	}, &s, uint16(second%(24*3600)/3600))
}

// make returns the rows for each level that has some. It may be called again.
func (r *rollups) make(topic *ingest.TopicConfig, a *accessRows) []*level {
	if r.levels != nil {
		return r.levels
	}
	for i := range len(r.requests) - 1 {
		r.requests[i].pour(r.requests[i+1], func(k requestKey, seconds uint32) requestKey {
			k.time -= k.time % seconds
			return k
		})
		r.keys[i].pour(r.keys[i+1], func(k consumerKey, seconds uint32) consumerKey {
			k.time -= k.time % seconds
			return k
		})
	}
	r.levels = []*level{}
	for i, name := range [...]string{"request_10s", "request_1m", "request_1h"} {
		if f := r.requests[i]; len(f.keys) > 0 {
			r.levels = append(r.levels, requestLevel(name, topic, a, f))
		}
	}
	for i, name := range [...]string{"key_1m", "key_1h", "key_1d"} {
		if f := r.keys[i]; len(f.keys) > 0 {
			r.levels = append(r.levels, keyLevel(name, topic, a, f))
		}
	}
	if len(r.edges.keys) > 0 {
		r.levels = append(r.levels, edgeLevel("edge_1m", topic, a, r.edges))
	}
	if len(r.usage.keys) > 0 {
		r.levels = append(r.levels, usageLevel("usage_1d", topic, a, r.usage))
	}
	return r.levels
}

package clickhouse

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go/proto"

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
	sums    []sums   // by group, unless only its buckets count
	slots   []uint32 // open addressing, a power of two: 1 + group, 0 is free
	counted []counted
	counts  *counts // made of counted
}

// counted is requests of a group and bucket. Several may be of the same.
type counted struct {
	group, n uint32
	bucket   uint16
}

func newFold[K foldKey](width time.Duration) *fold[K] {
	return &fold[K]{seconds: uint32(width / time.Second)}
}

func (f *fold[K]) reset() {
	f.keys, f.sums, f.counted, f.counts = f.keys[:0], f.sums[:0], f.counted[:0], nil
	clear(f.slots)
}

// bytes is about what f takes, with the rows that will be made of it.
func (f *fold[K]) bytes() int { return len(f.keys)*150 + len(f.counted)*24 }

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
	f.keys = append(f.keys, k)
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

// count counts one request by its bucket only.
func (f *fold[K]) count(k K, bucket uint16) {
	f.counted = append(f.counted, counted{group: f.group(k), n: 1, bucket: bucket})
}

// add counts one request and adds up what it states.
func (f *fold[K]) add(k K, s *sums, bucket uint16) {
	g := f.addSums(k, s)
	if bucket != noBucket {
		f.counted = append(f.counted, counted{group: g, n: 1, bucket: bucket})
	}
}

func (f *fold[K]) addSums(k K, s *sums) uint32 {
	g := f.group(k)
	if int(g) == len(f.sums) {
		f.sums = append(f.sums, *s)
	} else {
		f.sums[g].add(s)
	}
	return g
}

// requests returns how many are in a group, once f's counts are made.
func (f *fold[K]) requests(g int) (n int64) {
	if len(f.sums) > 0 {
		return f.sums[g].requests
	}
	first := uint64(0)
	if g > 0 {
		first = f.counts.offsets[g-1]
	}
	for _, m := range f.counts.numbers[first:f.counts.offsets[g]] {
		n += m
	}
	return n
}

// floor returns the start of the window that holds a second.
func (f *fold[K]) floor(second uint32) uint32 { return second - second%f.seconds }

// pour adds what f holds, with its counts made, to a coarser level. floor makes its keys.
func (f *fold[K]) pour(to *fold[K], floor func(k K, seconds uint32) K) {
	next := uint64(0)
	for g, k := range f.keys {
		group := to.addSums(floor(k, to.seconds), &f.sums[g])
		for ; next < f.counts.offsets[g]; next++ {
			to.counted = append(to.counted, counted{group: group, n: uint32(f.counts.numbers[next]), bucket: f.counts.buckets[next]})
		}
	}
}

// countLevels makes the counts of levels, which are in order from fine to coarse,
// and pours each into the next.
func countLevels[K foldKey](c *counter, levels []*fold[K], floor func(k K, seconds uint32) K) {
	for i, f := range levels {
		f.counts = c.count(f.counted, len(f.keys))
		if i+1 < len(levels) {
			f.pour(levels[i+1], floor)
		}
	}
}

// A counter makes counts. Its memory serves one fold after the other.
type counter struct {
	sorted []counted
	at     [1 << 16]uint32 // by bucket: where the group's count of it is, if that is of the group at all
}

// count sorts by group and adds up what is of the same bucket.
func (c *counter) count(list []counted, groups int) *counts {
	out := &counts{offsets: make(proto.ColUInt64, groups), buckets: make(proto.ColUInt16, 0, len(list)), numbers: make(proto.ColInt64, 0, len(list))}
	next := make([]uint32, groups) // where the next of a group goes
	for i := range list {
		next[list[i].group]++
	}
	end := uint32(0)
	for g, n := range next {
		next[g] = end
		end += n
	}
	c.sorted = slices.Grow(c.sorted[:0], len(list))[:len(list)]
	for i := range list {
		e := &list[i]
		c.sorted[next[e.group]] = *e
		next[e.group]++
	}
	begin := uint32(0)
	for g := range out.offsets {
		first := uint32(len(out.buckets))
		for _, e := range c.sorted[begin:next[g]] {
			i := c.at[e.bucket]
			if i < first || int(i) >= len(out.buckets) || out.buckets[i] != e.bucket {
				i = uint32(len(out.buckets))
				c.at[e.bucket] = i
				out.buckets, out.numbers = append(out.buckets, e.bucket), append(out.numbers, 0)
			}
			out.numbers[i] += int64(e.n)
		}
		begin = next[g]
		out.offsets[g] = uint64(len(out.buckets))
	}
	return out
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
	counter  counter
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
	r.usage.count(usageKey{
		time: r.usage.floor(second), consumer: a.consumer.lastKey, service: a.service.lastKey, method: a.method.lastKey,
		route: a.route.lastKey, version: a.apiVersion.lastKey, id: e.Consumer.KeyID, class: class,
	}, uint16(second%(24*3600)/3600))
}

// make returns the rows for each level that has some. It may be called again.
func (r *rollups) make(topic *ingest.TopicConfig, a *accessRows) []*level {
	if r.levels != nil {
		return r.levels
	}
	countLevels(&r.counter, r.requests[:], func(k requestKey, seconds uint32) requestKey {
		k.time -= k.time % seconds
		return k
	})
	countLevels(&r.counter, r.keys[:], func(k consumerKey, seconds uint32) consumerKey {
		k.time -= k.time % seconds
		return k
	})
	r.edges.counts = r.counter.count(r.edges.counted, len(r.edges.keys))
	r.usage.counts = r.counter.count(r.usage.counted, len(r.usage.keys))
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

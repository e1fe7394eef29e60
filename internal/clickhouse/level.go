package clickhouse

import (
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/ingest"
)

// A level is the rows of one block for one level of the rollups.
type level struct{ table }

// newLevel makes the columns that all levels have.
func newLevel[K foldKey](name string, topic *ingest.TopicConfig, f *fold[K]) *level {
	l := &level{table{name: name}}
	t := &l.table
	start := add(t, "time", &proto.ColDateTime{Location: time.UTC})
	tenant, environment := t.dictionary("tenant"), t.dictionary("environment")
	requests := t.int64("requests")
	for g, k := range f.keys {
		start.AppendRaw(proto.DateTime(k.window()))
		tenant.append(topic.Tenant)
		environment.append(topic.Environment)
		requests.Append(f.requests(g))
	}
	return l
}

// addLatency adds the latency's histogram and how many requests are in it.
func addLatency[K foldKey](l *level, f *fold[K]) {
	timed := l.int64("timed")
	for g := range f.keys {
		timed.Append(f.sums[g].timed)
	}
	add(&l.table, "latency_hist", f.counts)
}

// addAmounts adds bytes and the sum of latency.
func addAmounts[K foldKey](l *level, f *fold[K]) {
	bytesIn, bytesOut, latency := l.int64("bytes_in"), l.int64("bytes_out"), l.int64("latency_us_sum")
	for g := range f.keys {
		s := &f.sums[g]
		bytesIn.Append(s.bytesIn)
		bytesOut.Append(s.bytesOut)
		latency.Append(s.latency)
	}
}

func requestLevel(name string, topic *ingest.TopicConfig, a *accessRows, f *fold[requestKey]) *level {
	l := newLevel(name, topic, f)
	addLatency(l, f)
	addAmounts(l, f)
	t := &l.table
	service, route, method := t.dictionary("service"), t.dictionary("route"), t.dictionary("method")
	status := t.uint16("status")
	class := t.enum("error_class", enumType(accesslog.ErrorClasses()))
	responder := t.enum("responder", enumType([]accesslog.Responder{0, 1, 2, 3}))
	most := add(t, "latency_us_max", new(proto.ColUInt64))
	upstreamTimed, upstream := t.int64("upstream_timed"), t.int64("upstream_us_sum")
	for g, k := range f.keys {
		s := &f.sums[g]
		service.append(a.service.value(k.service))
		route.append(a.route.value(k.route))
		method.append(a.method.value(k.method))
		status.Append(k.status)
		class.Append(k.class)
		responder.Append(k.responder)
		most.Append(s.latencyMax)
		upstreamTimed.Append(s.upstreamTimed)
		upstream.Append(s.upstream)
	}
	return l
}

func keyLevel(name string, topic *ingest.TopicConfig, a *accessRows, f *fold[consumerKey]) *level {
	l := newLevel(name, topic, f)
	addLatency(l, f)
	addAmounts(l, f)
	t := &l.table
	id := add(t, "key_id", new(proto.ColFixedStr16))
	consumer, plan, service := t.dictionary("consumer"), t.dictionary("plan"), t.dictionary("service")
	class := t.enum("error_class", enumType(accesslog.ErrorClasses()))
	first, last := add(t, "first_seen", newInstant(proto.PrecisionMicro)), add(t, "last_seen", newInstant(proto.PrecisionMicro))
	for g, k := range f.keys {
		s := &f.sums[g]
		id.Append(k.id)
		consumer.append(a.consumer.value(k.consumer))
		plan.append(a.plan.value(k.plan))
		service.append(a.service.value(k.service))
		class.Append(k.class)
		first.Data = append(first.Data, proto.DateTime64(s.first))
		last.Data = append(last.Data, proto.DateTime64(s.last))
	}
	return l
}

func edgeLevel(name string, topic *ingest.TopicConfig, a *accessRows, f *fold[edgeKey]) *level {
	l := newLevel(name, topic, f)
	addLatency(l, f)
	service, region, node := l.dictionary("service"), l.dictionary("region"), l.dictionary("node")
	class := l.enum("error_class", enumType(accesslog.ErrorClasses()))
	for _, k := range f.keys {
		service.append(a.service.value(k.service))
		region.append(a.region.value(k.region))
		node.append(a.node.value(k.node))
		class.Append(k.class)
	}
	return l
}

func usageLevel(name string, topic *ingest.TopicConfig, a *accessRows, f *fold[usageKey]) *level {
	l := newLevel(name, topic, f)
	id := add(&l.table, "key_id", new(proto.ColFixedStr16))
	consumer, service, method := l.dictionary("consumer"), l.dictionary("service"), l.dictionary("method")
	route, version := l.dictionary("route"), l.dictionary("api_version")
	class := l.enum("error_class", enumType(accesslog.ErrorClasses()))
	for _, k := range f.keys {
		id.Append(k.id)
		consumer.append(a.consumer.value(k.consumer))
		service.append(a.service.value(k.service))
		method.append(a.method.value(k.method))
		route.append(a.route.value(k.route))
		version.append(a.apiVersion.value(k.version))
		class.Append(k.class)
	}
	add(&l.table, "hours", f.counts)
	return l
}

// counts is a Map(UInt16, Int64) column: a histogram a row, or calls by hour.
type counts struct {
	offsets proto.ColUInt64
	buckets proto.ColUInt16
	numbers proto.ColInt64
}

// Reset implements proto.Resettable.
func (c *counts) Reset() {
	c.offsets.Reset()
	c.buckets.Reset()
	c.numbers.Reset()
}

// Type implements proto.ColInput.
func (c *counts) Type() proto.ColumnType {
	return proto.ColumnTypeMap.Sub(c.buckets.Type(), c.numbers.Type())
}

// Rows implements proto.ColInput.
func (c *counts) Rows() int { return len(c.offsets) }

// EncodeColumn implements proto.ColInput.
func (c *counts) EncodeColumn(b *proto.Buffer) {
	c.offsets.EncodeColumn(b)
	c.buckets.EncodeColumn(b)
	c.numbers.EncodeColumn(b)
}

// WriteColumn implements proto.ColInput.
func (c *counts) WriteColumn(w *proto.Writer) {
	c.offsets.WriteColumn(w)
	c.buckets.WriteColumn(w)
	c.numbers.WriteColumn(w)
}

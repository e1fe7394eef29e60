package clickhouse

import (
	"encoding/hex"

	"github.com/ClickHouse/ch-go/proto"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

// A column is what a table is made of.
type column interface {
	proto.ColInput
	Reset()
}

// A table is the rows of one block for one table.
type table struct {
	name    string
	input   proto.Input
	columns []column
	strings []*proto.ColStr
	fixed   int // bytes of a row besides its strings, about
}

func (t *table) rows() int {
	return t.input[0].Data.Rows()
}

func (t *table) bytes() int {
	n := t.rows() * t.fixed
	for _, s := range t.strings {
		n += len(s.Buf)
	}
	return n
}

func (t *table) reset() {
	for _, c := range t.columns {
		c.Reset()
	}
}

// add puts a column into a table.
func add[C column](t *table, name string, c C) C {
	t.input = append(t.input, proto.InputColumn{Name: name, Data: c})
	t.columns = append(t.columns, c)
	return c
}

func (t *table) dictionary(name string) *dictionary { return add(t, name, newDictionary()) }
func (t *table) optional(name string) *optional     { return add(t, name, &optional{}) }
func (t *table) uint16(name string) *proto.ColUInt16 {
	return add(t, name, new(proto.ColUInt16))
}

func (t *table) int64(name string) *proto.ColInt64 { return add(t, name, new(proto.ColInt64)) }

func (t *table) text(name string) *proto.ColStr {
	c := add(t, name, new(proto.ColStr))
	t.strings = append(t.strings, c)
	return c
}

func (t *table) enum(name, typ string) *enum {
	return add(t, name, &enum{name: proto.ColumnType(typ)})
}

// origin is the columns that say which message a row comes from.
type origin struct {
	kafkaTime *instant
	topic     *dictionary
	partition *proto.ColInt32 // filled at the insert, when it is known
	offset    *proto.ColInt64
	record    *proto.ColUInt16
}

func newOrigin(t *table) origin {
	return origin{
		kafkaTime: add(t, "kafka_time", newInstant(proto.PrecisionMilli)),
		topic:     t.dictionary("topic"),
		partition: add(t, "kafka_partition", new(proto.ColInt32)),
		offset:    add(t, "kafka_offset", new(proto.ColInt64)),
		record:    t.uint16("record"),
	}
}

func (o *origin) append(topic string, c ingest.Coordinates) {
	o.kafkaTime.append(c.KafkaTime)
	o.topic.append(topic)
	o.offset.Append(c.Offset)
	o.record.Append(clamp16(c.Record))
}

// setPartition gives all rows their partition.
func (o *origin) setPartition(p int32) {
	o.partition.Reset()
	for range o.offset.Rows() {
		o.partition.Append(p)
	}
}

// accessRows are rows of access_log.
type accessRows struct {
	table
	origin
	ts                                  *instant
	tenant, environment, service, route *dictionary
	method, host, protocol, flags       *dictionary
	path, query, referer, requestID     *proto.ColStr
	status, upstreamStatus              *proto.ColUInt16
	class, responder, reached, evidence *enum
	tries                               *proto.ColUInt8
	latency, upstreamTime, gatewayTime  *optional
	bytesIn, bytesOut                   *optional
	amount                              *proto.ColNullable[int64]
	upstream, node, region, apiVersion  *dictionary
	consumer, plan, userAgent           *dictionary
	keyID, traceID                      *proto.ColFixedStr16
	spanID                              *proto.ColFixedStr8
	clientIP                            *proto.ColIPv6
}

func newAccessRows() *accessRows {
	r := &accessRows{table: table{name: "access_log", fixed: 190}}
	t := &r.table
	r.origin = newOrigin(t)
	r.ts = add(t, "ts", newInstant(proto.PrecisionMicro))
	r.tenant, r.environment = t.dictionary("tenant"), t.dictionary("environment")
	r.service, r.route = t.dictionary("service"), t.dictionary("route")
	r.method, r.host = t.dictionary("method"), t.dictionary("host")
	r.path, r.query = t.text("path"), t.text("query")
	r.protocol = t.dictionary("protocol")
	r.status = t.uint16("status")
	r.class = t.enum("error_class", enumType(accesslog.ErrorClasses()))
	r.responder = t.enum("responder", enumType([]accesslog.Responder{0, 1, 2, 3}))
	r.reached = t.enum("upstream_reached", enumType([]accesslog.Reached{0, 1, 2}))
	r.evidence = t.enum("error_evidence", enumType([]accesslog.Evidence{0, 1, 2}))
	r.flags = t.dictionary("flags")
	r.tries = add(t, "tries", new(proto.ColUInt8))
	r.latency, r.upstreamTime = t.optional("latency_us"), t.optional("upstream_latency_us")
	r.gatewayTime = t.optional("gateway_latency_us")
	r.bytesIn, r.bytesOut = t.optional("bytes_in"), t.optional("bytes_out")
	r.amount = add(t, "amount", new(proto.ColInt64).Nullable())
	r.upstream = t.dictionary("upstream")
	r.upstreamStatus = t.uint16("upstream_status")
	r.node, r.region = t.dictionary("node"), t.dictionary("region")
	r.apiVersion = t.dictionary("api_version")
	r.consumer, r.plan = t.dictionary("consumer"), t.dictionary("plan")
	r.keyID = add(t, "key_id", new(proto.ColFixedStr16))
	r.clientIP = add(t, "client_ip", new(proto.ColIPv6))
	r.userAgent = t.dictionary("user_agent")
	r.referer, r.requestID = t.text("referer"), t.text("request_id")
	r.traceID = add(t, "trace_id", new(proto.ColFixedStr16))
	r.spanID = add(t, "span_id", new(proto.ColFixedStr8))
	return r
}

func (r *accessRows) append(topic *ingest.TopicConfig, c ingest.Coordinates, e *accesslog.Entry) {
	r.origin.append(topic.Name, c)
	r.ts.append(e.Time)
	r.tenant.append(topic.Tenant)
	r.environment.append(topic.Environment)
	r.service.append(e.Service)
	r.route.append(e.Route)
	r.method.append(e.Method)
	r.host.append(e.Host)
	r.path.Append(e.Path)
	r.query.Append(e.Query)
	r.protocol.append(e.Protocol)
	r.status.Append(clamp16(e.Status))
	r.class.Append(int8(e.Outcome.Class))
	r.responder.Append(int8(e.Outcome.Responder))
	r.reached.Append(int8(e.Outcome.UpstreamReached))
	r.evidence.Append(int8(e.Outcome.Evidence))
	r.flags.append(e.Flags)
	r.tries.Append(uint8(min(max(e.Tries, 0), 255)))
	r.latency.appendMicroseconds(e.Latency.Total)
	r.upstreamTime.appendMicroseconds(e.Latency.Upstream)
	r.gatewayTime.appendMicroseconds(e.Latency.Gateway)
	r.bytesIn.append(e.RequestBytes.V, e.RequestBytes.OK)
	r.bytesOut.append(e.ResponseBytes.V, e.ResponseBytes.OK)
	r.amount.Append(proto.Nullable[int64]{Set: e.Amount.OK, Value: e.Amount.V})
	r.upstream.append(e.Upstream)
	r.upstreamStatus.Append(clamp16(e.UpstreamStatus))
	r.node.append(e.Node)
	r.region.append(e.Region)
	r.apiVersion.append(e.APIVersion)
	r.consumer.append(e.Consumer.ID)
	r.plan.append(e.Consumer.Plan)
	r.keyID.Append(e.Consumer.KeyID)
	var ip proto.IPv6
	if e.ClientAddr.IsValid() {
		ip = e.ClientAddr.As16()
	}
	r.clientIP.Append(ip)
	r.userAgent.append(e.UserAgent)
	r.referer.Append(e.Referer)
	r.requestID.Append(ownRequestID(e))
	r.traceID.Append(e.TraceID)
	r.spanID.Append(e.SpanID)
}

// ownRequestID is the request id, empty if it is the trace id: the view restores it.
func ownRequestID(e *accesslog.Entry) string {
	var text [32]byte
	if len(e.RequestID) == len(text) {
		hex.Encode(text[:], e.TraceID[:])
		if e.RequestID == string(text[:]) {
			return ""
		}
	}
	return e.RequestID
}

// spanRows are rows of span.
type spanRows struct {
	table
	origin
	ts                                 *instant
	tenant, environment, service, name *dictionary
	traceID                            *proto.ColFixedStr16
	spanID, parentID                   *proto.ColFixedStr8
	kind, status                       *enum
	duration                           *proto.ColUInt64
	message, dbQuery                   *proto.ColStr
	httpMethod, httpRoute, dbSystem    *dictionary
	peer, node                         *dictionary
	httpStatus                         *proto.ColUInt16
	weight                             *proto.ColFloat32
	attrs                              *attributes
	events, links                      *proto.ColStr
	buf                                []byte
}

func newSpanRows() *spanRows {
	r := &spanRows{table: table{name: "span", fixed: 140}}
	t := &r.table
	r.origin = newOrigin(t)
	r.ts = add(t, "ts", newInstant(proto.PrecisionMicro))
	r.tenant, r.environment = t.dictionary("tenant"), t.dictionary("environment")
	r.traceID = add(t, "trace_id", new(proto.ColFixedStr16))
	r.spanID = add(t, "span_id", new(proto.ColFixedStr8))
	r.parentID = add(t, "parent_span_id", new(proto.ColFixedStr8))
	r.service, r.name = t.dictionary("service"), t.dictionary("name")
	r.kind = t.enum("kind", enumType([]trace.Kind{0, 1, 2, 3, 4, 5}))
	r.duration = add(t, "duration_us", new(proto.ColUInt64))
	r.status = t.enum("status", enumType([]trace.Status{0, 1, 2}))
	r.message = t.text("status_message")
	r.httpMethod, r.httpRoute = t.dictionary("http_method"), t.dictionary("http_route")
	r.httpStatus = t.uint16("http_status")
	r.dbSystem = t.dictionary("db_system")
	r.dbQuery = t.text("db_query")
	r.peer, r.node = t.dictionary("peer"), t.dictionary("node")
	r.weight = add(t, "weight", new(proto.ColFloat32))
	r.attrs = add(t, "attributes", &attributes{keys: newDictionary()})
	t.strings = append(t.strings, &r.attrs.values)
	r.events, r.links = t.text("events"), t.text("links")
	return r
}

func (r *spanRows) append(topic *ingest.TopicConfig, c ingest.Coordinates, s *trace.Span) {
	r.origin.append(topic.Name, c)
	r.ts.append(s.Start)
	r.tenant.append(topic.Tenant)
	r.environment.append(topic.Environment)
	r.traceID.Append(s.TraceID)
	r.spanID.Append(s.SpanID)
	r.parentID.Append(s.ParentID)
	r.service.append(s.Service)
	r.name.append(s.Name)
	r.kind.Append(int8(s.Kind))
	r.duration.Append(uint64(max(s.Duration.Microseconds(), 0)))
	r.status.Append(int8(s.Status))
	r.message.Append(s.Message)
	r.httpMethod.append(s.HTTPMethod)
	r.httpRoute.append(s.HTTPRoute)
	r.httpStatus.Append(clamp16(s.HTTPStatus))
	r.dbSystem.append(s.DBSystem)
	r.dbQuery.Append(s.DBQuery)
	r.peer.append(s.Peer)
	r.node.append(s.Node)
	r.weight.Append(float32(s.Weight))
	for _, a := range s.Attrs {
		r.attrs.add(a.Key, a.Value)
	}
	r.attrs.end()
	r.buf = r.buf[:0]
	if len(s.Events) > 0 {
		r.buf = s.AppendEvents(r.buf)
	}
	r.events.AppendBytes(r.buf)
	r.buf = r.buf[:0]
	if len(s.Links) > 0 {
		r.buf = s.AppendLinks(r.buf)
	}
	r.links.AppendBytes(r.buf)
}

// keyRows are rows of key_event.
type keyRows struct {
	table
	origin
	at                        *instant
	tenant, environment       *dictionary
	keyID                     *proto.ColFixedStr16
	action                    *enum
	consumer, plan, tier, who *dictionary
	former                    *dictionary
}

func newKeyRows() *keyRows {
	r := &keyRows{table: table{name: "key_event", fixed: 80}}
	t := &r.table
	r.origin = newOrigin(t)
	r.at = add(t, "time", newInstant(proto.PrecisionMilli))
	r.tenant, r.environment = t.dictionary("tenant"), t.dictionary("environment")
	r.keyID = add(t, "key_id", new(proto.ColFixedStr16))
	r.action = t.enum("action", enumType([]consumer.Action{0, consumer.Created, consumer.Updated, consumer.Revoked, consumer.Renamed}))
	r.consumer, r.plan = t.dictionary("consumer"), t.dictionary("plan")
	r.former = t.dictionary("former")
	r.tier, r.who = t.dictionary("tier"), t.dictionary("owner")
	return r
}

func (r *keyRows) append(topic *ingest.TopicConfig, c ingest.Coordinates, e *consumer.Event) {
	r.origin.append(topic.Name, c)
	r.at.append(e.Time)
	r.tenant.append(topic.Tenant)
	r.environment.append(topic.Environment)
	r.keyID.Append(e.KeyID)
	r.action.Append(int8(e.Action))
	r.consumer.append(e.Consumer)
	r.former.append(e.Former)
	r.plan.append(e.Plan)
	r.tier.append(e.Tier)
	r.who.append(e.Owner)
}

// deadRows are rows of dead_letter.
type deadRows struct {
	table
	origin
	reason, format  *dictionary
	detail, excerpt *proto.ColStr
	size            *proto.ColUInt32
}

func newDeadRows() *deadRows {
	r := &deadRows{table: table{name: "dead_letter", fixed: 60}}
	t := &r.table
	r.origin = newOrigin(t)
	r.reason = t.dictionary("reason")
	r.detail, r.excerpt = t.text("detail"), t.text("excerpt")
	r.size = add(t, "size", new(proto.ColUInt32))
	r.format = t.dictionary("format")
	return r
}

func (r *deadRows) append(topic *ingest.TopicConfig, d *ingest.DeadLetter) {
	r.origin.append(topic.Name, d.Coordinates)
	r.reason.append(string(d.Reason))
	r.detail.Append(d.Detail)
	r.excerpt.Append(d.Excerpt)
	r.size.Append(uint32(max(d.Size, 0)))
	r.format.append(topic.Format)
}

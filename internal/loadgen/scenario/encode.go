package scenario

import (
	"strconv"
	"time"
)

func appendTime(b []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

func appendHex(b []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}

func (q *request) appendTrace(b []byte) []byte { return appendHex(appendHex(b, q.traceHi), q.traceLo) }

func (q *request) appendPath(b []byte) []byte {
	for i, part := range q.route.parts {
		if i > 0 {
			b = strconv.AppendUint(b, 10_000+q.object>>(8*i)%90_000, 10)
		}
		b = append(b, part...)
	}
	return b
}

// appendLog appends what Envoy logs of a request.
func (q *request) appendLog(b []byte) []byte {
	str := func(key, value string) {
		b = append(append(append(append(append(b, `,"`...), key...), `":"`...), value...), '"')
	}
	num := func(key string, n int64) {
		b = strconv.AppendInt(append(append(append(b, `,"`...), key...), `":`...), n, 10)
	}
	o := q.outcome
	b = append(b, `{"start_time":"`...)
	b = append(appendTime(b, q.end-q.latency), '"')
	str("method", q.route.method)
	b = append(b, `,"path":"`...)
	b = append(q.appendPath(b), '"')
	str("protocol", "HTTP/2")
	str(":authority", "api.example.com")
	num("response_code", int64(o.status))
	str("response_flags", o.flags)
	str("response_code_details", o.details)
	num("bytes_received", int64(200+q.object%400))
	num("bytes_sent", int64(300+q.object%3000))
	num("duration", q.latency)
	if o.reached && !o.timeout && q.upstream >= 0 {
		b = append(b, `,"x-envoy-upstream-service-time":"`...)
		b = append(strconv.AppendInt(b, q.upstream, 10), '"')
	}
	if o == &noRoute {
		b = append(b, `,"upstream_host":null,"upstream_cluster":null,"route_name":null`...)
	} else {
		if o.reached || o == &refused {
			str("upstream_host", q.host)
		}
		str("upstream_cluster", q.service.name)
		str("route_name", q.route.template)
		str("api_version", q.version)
	}
	if q.tries > 1 {
		num("upstream_request_attempt_count", int64(q.tries))
	}
	str("consumer", q.client.name)
	str("plan", q.client.plan)
	str("x-api-key", q.client.key)
	str("downstream_remote_address", q.client.ip+":40022")
	str("node", q.gateway.name)
	str("region", q.gateway.region)
	b = append(b, `,"x-request-id":"`...)
	b = append(q.appendTrace(b), `","traceparent":"00-`...)
	b = append(appendHex(append(q.appendTrace(b), '-'), q.span), "-0"...)
	if q.sampled {
		return append(b, `1"}`...)
	}
	return append(b, `0"}`...)
}

// appendSpans appends the spans of a request as one OTLP export request: the
// gateway's, and where an upstream was reached the service's and its database's.
func (q *request) appendSpans(b []byte) []byte {
	start := q.end - q.latency
	failed := q.outcome.status >= 500
	b = append(b, `{"resourceSpans":[`...)
	b = q.appendResource(b, "gateway", q.gateway.name)
	b = q.appendSpan(b, q.span, 0, 2, q.route.String(), start, q.end, failed, "")
	if q.upstream >= 0 {
		b = append(b, ',')
		b = q.appendSpan(b, q.span^0xa5a5, q.span, 3, q.route.method, start, start+q.upstream, failed, "")
	}
	b = append(b, `]}]}`...)
	if q.upstream >= 0 && !q.outcome.timeout {
		b = append(b, ',')
		b = q.appendResource(b, q.service.name, q.host)
		b = q.appendSpan(b, q.span^0x5a5a00, q.span^0xa5a5, 2, q.route.String(), start, start+q.upstream, failed, "")
		b = append(b, ',')
		b = q.appendSpan(b, q.span^0xc3c30000, q.span^0x5a5a00, 3, "SELECT", start, start+q.database, false, "postgresql")
		b = append(b, `]}]}`...)
	}
	return append(b, `]}`...)
}

func (q *request) appendResource(b []byte, service, host string) []byte {
	b = append(b, `{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"`...)
	b = append(b, service...)
	b = append(b, `"}},{"key":"host.name","value":{"stringValue":"`...)
	b = append(b, host...)
	b = append(b, `"}},{"key":"service.version","value":{"stringValue":"`...)
	b = append(b, q.version...)
	return append(b, `"}}]},"scopeSpans":[{"scope":{"name":"shop"},"spans":[`...)
}

func (q *request) appendSpan(b []byte, id, parent uint64, kind int64, name string, start, end int64, failed bool, db string) []byte {
	b = append(b, `{"traceId":"`...)
	b = append(q.appendTrace(b), `","spanId":"`...)
	b = append(appendHex(b, id), '"')
	if parent != 0 {
		b = append(b, `,"parentSpanId":"`...)
		b = append(appendHex(b, parent), '"')
	}
	b = append(b, `,"name":"`...)
	b = append(b, name...)
	b = append(b, `","kind":`...)
	b = strconv.AppendInt(b, kind, 10)
	b = append(b, `,"startTimeUnixNano":"`...)
	b = append(strconv.AppendInt(b, start, 10), `000000","endTimeUnixNano":"`...)
	b = append(strconv.AppendInt(b, end, 10), `000000","attributes":[`...)
	if db != "" {
		b = append(b, `{"key":"db.system.name","value":{"stringValue":"`...)
		b = append(append(b, db...), `"}},{"key":"server.address","value":{"stringValue":"`...)
		b = append(append(b, q.service.name...), `-db"}}`...)
	} else {
		b = append(b, `{"key":"http.request.method","value":{"stringValue":"`...)
		b = append(append(b, q.route.method...), `"}},{"key":"http.route","value":{"stringValue":"`...)
		b = append(append(b, q.route.template...), `"}},{"key":"http.response.status_code","value":{"intValue":"`...)
		b = append(strconv.AppendInt(b, int64(q.outcome.status), 10), `"}}`...)
	}
	b = append(b, `]`...)
	if failed {
		b = append(b, `,"status":{"code":2}`...)
	}
	return append(b, '}')
}

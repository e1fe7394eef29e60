package loadgen

import (
	"strconv"
	"time"
)

// AppendLog appends the line that the request's gateway writes about it.
func (s *Shop) AppendLog(b []byte, q *Request) []byte {
	if q.Envoy() {
		return s.appendEnvoy(b, q)
	}
	return s.appendNginx(b, q)
}

func (s *Shop) appendNginx(b []byte, q *Request) []byte {
	o := &outcomes[q.outcome]
	b = append(b, `{"time":"`...)
	b = appendTime(b, q.End, false)
	b = append(b, `","msec":`...)
	b = appendSeconds(b, q.End)
	b = append(b, `,"host":"api.shop.example","request_uri":"`...)
	b = q.appendTarget(b)
	b = append(b, `","server_protocol":"HTTP/2.0","status":`...)
	b = strconv.AppendInt(b, int64(o.nginxStatus), 10)
	b = append(b, `,"bytes_sent":`...)
	b = strconv.AppendInt(b, q.BytesOut, 10)
	b = append(b, `,"request_length":`...)
	b = strconv.AppendInt(b, q.BytesIn, 10)
	b = append(b, `,"request_time":`...)
	b = appendSeconds(b, q.LatencyMS)
	if o.upstreamStatus == 0 {
		b = append(b, `,"upstream_addr":"","upstream_status":"","upstream_response_time":""`...)
	} else {
		b = append(b, `,"upstream_addr":"`...)
		b = append(b, s.Upstreams[q.Route.service][q.Upstream]...)
		b = append(b, `","upstream_status":"`...)
		if o.upstreamStatus < 0 {
			b = append(b, '-')
		} else {
			b = strconv.AppendInt(b, int64(o.upstreamStatus), 10)
		}
		b = append(b, `","upstream_response_time":"`...)
		b = appendSeconds(b, q.UpstreamMS)
		b = append(b, '"')
	}
	b = append(b, q.Route.nginx...)
	b = append(b, q.Key.nginx...)
	b = append(b, `,"node":"`...)
	b = append(b, s.Nodes[q.Node]...)
	b = append(b, `","request_id":"`...)
	b = q.appendTraceID(b)
	b = append(b, `","http_traceparent":"`...)
	b = q.appendTraceparent(b)
	return append(b, `"}`...)
}

func (s *Shop) appendEnvoy(b []byte, q *Request) []byte {
	o := &outcomes[q.outcome]
	b = append(b, `{"start_time":"`...)
	b = appendTime(b, q.End-q.LatencyMS, true)
	b = append(b, `",":authority":"api.shop.example","path":"`...)
	b = q.appendTarget(b)
	b = append(b, `","protocol":"HTTP/2","response_code":`...)
	b = strconv.AppendInt(b, int64(o.envoyStatus), 10)
	b = append(b, `,"response_flags":"`...)
	b = append(b, o.flags...)
	b = append(b, `","response_code_details":"`...)
	b = append(b, o.details...)
	b = append(b, `","bytes_received":`...)
	b = strconv.AppendInt(b, q.BytesIn, 10)
	b = append(b, `,"bytes_sent":`...)
	b = strconv.AppendInt(b, q.BytesOut, 10)
	b = append(b, `,"duration":`...)
	b = strconv.AppendInt(b, q.LatencyMS, 10)
	if o.upstreamStatus == 0 {
		b = append(b, `,"x-envoy-upstream-service-time":null,"upstream_host":null`...)
	} else {
		b = append(b, `,"x-envoy-upstream-service-time":`...)
		if o.upstreamStatus > 0 && o.flags == "-" {
			b = append(b, '"')
			b = strconv.AppendInt(b, q.UpstreamMS, 10)
			b = append(b, '"')
		} else {
			b = append(b, `null`...)
		}
		b = append(b, `,"upstream_host":"`...)
		b = append(b, s.Upstreams[q.Route.service][q.Upstream]...)
		b = append(b, '"')
	}
	b = append(b, q.Route.envoy...)
	b = append(b, q.Key.envoy...)
	b = append(b, `,"node":"`...)
	b = append(b, s.Nodes[q.Node]...)
	b = append(b, `","x-request-id":"`...)
	b = q.appendTraceID(b)
	b = append(b, `","traceparent":"`...)
	b = q.appendTraceparent(b)
	return append(b, `"}`...)
}

// appendTime appends an RFC 3339 time in UTC, with milliseconds if wanted.
func appendTime(b []byte, ms int64, millis bool) []byte {
	t := time.UnixMilli(ms).UTC()
	if millis {
		return t.AppendFormat(b, "2006-01-02T15:04:05.000Z")
	}
	return t.AppendFormat(b, "2006-01-02T15:04:05+00:00")
}

// appendSeconds appends ms milliseconds as seconds with three decimals.
func appendSeconds(b []byte, ms int64) []byte {
	b = strconv.AppendInt(b, ms/1000, 10)
	ms %= 1000
	return append(b, '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10))
}

func (q *Request) appendTarget(b []byte) []byte {
	for i, f := range q.Route.fragments {
		if i > 0 {
			b = strconv.AppendUint(b, 100_000+(q.object>>(8*i))%900_000, 10)
		}
		b = append(b, f...)
	}
	if len(q.Route.fragments) == 1 && q.Route.Method == "GET" {
		b = append(b, "?limit=50&page="...)
		b = strconv.AppendUint(b, q.object%40, 10)
	}
	return b
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

func (q *Request) appendTraceID(b []byte) []byte {
	return appendHex(appendHex(b, q.traceHi), q.traceLo)
}

func (q *Request) appendTraceparent(b []byte) []byte {
	b = append(b, "00-"...)
	b = q.appendTraceID(b)
	b = append(b, '-')
	b = appendHex(b, q.span)
	if q.Sampled {
		return append(b, "-01"...)
	}
	return append(b, "-00"...)
}

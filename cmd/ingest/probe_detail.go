package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// costs says what each field is good for, in the order of their weight.
func costs() []missingField {
	return []missingField{
		{Field: "status", Cost: "no status: no error classes, no availability SLO"},
		{Field: "latency_ms", Cost: "no latency: no quantiles, no latency SLO"},
		{Field: "upstream_latency_ms", Cost: "no upstream time: no gateway/service split"},
		{Field: "method", Cost: "no method: routes can't be told apart by it"},
		{Field: "path", Cost: "no path: no routes"},
		{Field: "service", Cost: "no service: all requests count as one service; set service: in the topic"},
		{Field: "consumer", Cost: "no consumer: figures per key only, without names"},
		{Field: "key_id", Cost: "no API key: no figures per key"},
		{Field: "upstream_addr", Cost: "no upstream: a bad host can't be named"},
		{Field: "node", Cost: "no node: a bad gateway instance can't be named"},
		{Field: "trace_id", Cost: "no trace id: no way from a request to its trace"},
		{Field: "response_bytes", Cost: "no sizes: no traffic in bytes"},
	}
}

// missing lists the fields that fewer than 90 % of the records have. A field
// that one record in a thousand has is there: it is the traffic that lacks it.
func (r *reading) missing() []missingField {
	var out []missingField
	for _, f := range costs() {
		f.Share = float64(r.present[f.Field]) / float64(max(r.records, 1))
		if f.Share < 0.9 {
			out = append(out, f)
		}
	}
	return out
}

const (
	quarterHour = 15 * time.Minute
	// quarterJitter is how far from the quarter hour shipping delay may put an event.
	quarterJitter = 2 * time.Minute
	// quarterShare of the messages must agree.
	quarterShare = 0.9
)

// timing reports delay and, if events sit near one whole quarter hour away from
// their Kafka time, the zone that the log seems to be written in.
func (r *reading) timing(t *topicReport) {
	if len(r.ahead) == 0 {
		return
	}
	quarters := map[int64]int{}
	for _, a := range r.ahead {
		q := int64(math.Floor(float64(a+quarterJitter) / float64(quarterHour)))
		if (a - time.Duration(q)*quarterHour).Abs() <= quarterJitter {
			quarters[q]++
		}
	}
	var zone time.Duration
	for q, n := range quarters {
		off := time.Duration(q) * quarterHour
		if q != 0 && off.Abs() <= 14*time.Hour && float64(n) > quarterShare*float64(len(r.ahead)) {
			zone = off
			t.ZoneOffset, t.TimeZone = zoneName(off)
		}
	}
	delays := make([]float64, len(r.ahead))
	for i, a := range r.ahead {
		delays[i] = float64((zone - a).Microseconds()) / 1000
	}
	slices.Sort(delays)
	t.DelayP50MS = delays[len(delays)/2]
	t.DelayP99MS = delays[min(len(delays)-1, len(delays)*99/100)]
}

// zoneName returns "UTC+2" and a name from the IANA database with that offset,
// which has whole hours only.
func zoneName(off time.Duration) (offset, name string) {
	sign, inverse := "+", "-" // Etc/GMT-2 is two hours ahead of UTC
	if off < 0 {
		sign, inverse = "-", "+"
	}
	h, m := int(off.Abs()/time.Hour), int(off.Abs()%time.Hour/time.Minute)
	if m != 0 {
		return fmt.Sprintf("UTC%s%d:%02d", sign, h, m), ""
	}
	return fmt.Sprintf("UTC%s%d", sign, h), fmt.Sprintf("Etc/GMT%s%d", inverse, h)
}

// envelopeName tells which shipper wrapped a message, by the keys that it adds.
func envelopeName(msg []byte) string {
	var m map[string]json.RawMessage
	if json.Unmarshal(msg, &m) != nil {
		return "cri"
	}
	has := func(keys ...string) bool {
		for _, k := range keys {
			if _, ok := m[k]; !ok {
				return false
			}
		}
		return true
	}
	switch {
	case has("agent") || has("ecs") || has("@metadata"):
		return "filebeat"
	case has("source_type") || has("timestamp", "message"):
		return "vector"
	case has("log", "stream", "time") && len(m) <= 4:
		return "docker"
	case has("container_id") || has("docker"):
		return "fluentd"
	case has("log") || has("date"):
		return "fluent-bit"
	}
	return "unknown"
}

// write prints the report for people.
func (t *topicReport) write(p *printer) {
	p.line("%s: %s", t.Name, t.Verdict)
	if t.Messages == 0 {
		p.line("")
		return
	}
	p.line("  sample    the newest %d messages of %d partitions, %d records", t.Messages, t.Partitions, t.Records)
	if t.PerSecond > 0 {
		days := int64(14)
		if t.Spans {
			days = 7
		}
		p.line("  volume    %.4g messages/s; about %s a day on disk, %s at the default retention of %d d", t.PerSecond, size(t.DiskPerDay), size(days*t.DiskPerDay), days)
	}
	if t.Readable > 0 {
		p.line("  delay     from event to Kafka: median %s, p99 %s", millis(t.DelayP50MS), millis(t.DelayP99MS))
	}
	if t.ZoneOffset != "" {
		p.line("  time      looks like %s: set time_zone", t.ZoneOffset)
	}
	for i, r := range t.Reasons {
		if i == 5 {
			break
		}
		p.line("  unread    %d x %s", r.Count, strings.TrimSuffix(r.Reason+": "+r.Detail, ": "))
	}
	for _, m := range t.Missing {
		if m.Share == 0 {
			p.line("  missing   %s", m.Cost)
		} else {
			p.line("  sparse    %s: in %.3g %% of the records", m.Field, 100*m.Share)
		}
	}
	if t.Example != nil {
		p.line("  message   %s", t.Example.Message)
		names := make([]string, 0, len(t.Example.Fields))
		for name := range t.Example.Fields {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			p.line("    %-20s %s", name, t.Example.Fields[name])
		}
	}
	p.line("")
}

func millis(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Millisecond).String()
}

// size writes bytes with a unit.
func size(n int64) string {
	x, units := float64(n), []string{"B", "KB", "MB", "GB", "TB"}
	i := 0
	for x >= 1000 && i < len(units)-1 {
		x /= 1000
		i++
	}
	return fmt.Sprintf("%.3g %s", x, units[i])
}

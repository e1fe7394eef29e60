package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gatewatch/internal/ingest"
)

// A guessedField is a line of a mapping.
type guessedField struct {
	Field  string `json:"field"`
	Path   string `json:"path"`
	Unit   string `json:"unit,omitempty"`
	Layout string `json:"layout,omitempty"`
}

func (g guessedField) yaml() string {
	s := fmt.Sprintf("{path: %q", g.Path)
	if g.Unit != "" {
		s += ", unit: " + g.Unit
	}
	if g.Layout != "" {
		s += ", layout: " + g.Layout
	}
	return s + "}"
}

func mappingOf(guess []guessedField) map[string]ingest.FieldMapping {
	m := make(map[string]ingest.FieldMapping, len(guess))
	for _, g := range guess {
		m[g.Field] = ingest.FieldMapping{Path: g.Path, Unit: g.Unit, Layout: g.Layout}
	}
	return m
}

// A hint lists the names under which logs keep a field, letters and digits only,
// the more telling ones first.
type hint struct {
	field string
	names []string
}

func hints() []hint {
	return []hint{
		{"timestamp", []string{"timestamp", "ts", "time", "datetime", "eventtime", "requesttime", "logtime", "startedat", "at", "date"}},
		{"status", []string{"status", "statuscode", "responsestatus", "responsecode", "httpstatus", "responsestatuscode", "code"}},
		{"method", []string{"method", "requestmethod", "httpmethod", "verb"}},
		{"path", []string{"path", "requestpath", "urlpath"}},
		{"target", []string{"target", "uri", "requesturi", "url", "requesturl"}},
		{"latency", []string{"latency", "duration", "durationms", "latencyms", "elapsed", "elapsedms", "took", "tookms", "responsetime", "requesttime", "requestduration", "totaltime", "latencyus", "durationus", "durationns", "latencyrequest"}},
		{"upstream_latency", []string{"upstreamlatency", "upstreamtime", "upstreamresponsetime", "upstreamduration", "backendlatency", "backendtime", "originduration", "upstreamms"}},
		{"service", []string{"service", "servicename", "upstreamservice", "backend", "apiname"}},
		{"route", []string{"route", "routename", "routeid", "endpoint", "operation"}},
		{"consumer", []string{"consumer", "consumerusername", "consumerid", "clientid", "customer", "account", "accountid"}},
		{"plan", []string{"plan", "tier"}},
		{"api_key", []string{"apikey", "xapikey", "key"}},
		{"node", []string{"node", "instance", "gateway", "hostname", "pod"}},
		{"region", []string{"region"}},
		{"upstream_addr", []string{"upstream", "upstreamaddr", "upstreamhost", "backendaddr"}},
		{"client_ip", []string{"clientip", "remoteaddr", "remoteip", "ip", "sourceip"}},
		{"host", []string{"host", "requesthost"}},
		{"user_agent", []string{"useragent", "agent"}},
		{"response_bytes", []string{"bytes", "bytessent", "responsesize", "responsebytes", "size", "bytesout"}},
		{"request_bytes", []string{"requestsize", "requestbytes", "requestlength", "bytesin"}},
		{"request_id", []string{"requestid", "correlationid"}},
		{"trace_id", []string{"traceid"}},
	}
}

// guessMapping guesses a mapping from the names of the keys in JSON objects. It
// returns nothing unless it finds a time and a status or latency.
func guessMapping(messages []ingest.Message) []guessedField {
	values := map[string]any{}
	objects := 0
	for _, m := range messages {
		var o map[string]any
		if json.Unmarshal(m.Value, &o) != nil {
			continue
		}
		flatten("", o, values, 0)
		if objects++; objects == 50 {
			break
		}
	}
	paths := make([]string, 0, len(values))
	for p := range values {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int {
		if d := strings.Count(a, ".") - strings.Count(b, "."); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var out []guessedField
	taken := map[string]bool{}
	found := map[string]bool{}
	for _, h := range hints() {
		if path := findPath(h.names, paths, taken); path != "" {
			taken[path] = true
			found[h.field] = true
			out = append(out, describe(h.field, path, values[path]))
		}
	}
	if !found["timestamp"] || !found["status"] && !found["latency"] {
		return nil
	}
	return out
}

// findPath prefers an earlier name, then a whole path over its last element,
// then the shallower path.
func findPath(names, paths []string, taken map[string]bool) string {
	for _, name := range names {
		for _, whole := range []bool{true, false} {
			for _, p := range paths {
				key := p
				if !whole {
					key = p[strings.LastIndexByte(p, '.')+1:]
				}
				if !taken[p] && squeeze(key) == name {
					return p
				}
			}
		}
	}
	return ""
}

// squeeze keeps a name's letters and digits in lower case.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}

// describe guesses unit and layout from the name and a value.
func describe(field, path string, value any) guessedField {
	g := guessedField{Field: field, Path: path}
	name := squeeze(path)
	switch field {
	case "timestamp":
		if n, ok := value.(float64); ok {
			g.Layout, g.Unit = "epoch", epochUnit(n)
		}
	case "latency", "upstream_latency":
		g.Unit = "ms"
		for _, u := range []struct{ suffix, unit string }{
			{"microseconds", "us"},
			{"micros", "us"},
			{"us", "us"},
			{"nanoseconds", "ns"},
			{"nanos", "ns"},
			{"ns", "ns"},
			{"ms", "ms"},
			{"millis", "ms"},
			{"milliseconds", "ms"},
			{"seconds", "s"},
			{"sec", "s"},
		} {
			if strings.HasSuffix(name, u.suffix) {
				g.Unit = u.unit
				return g
			}
		}
		if n, ok := value.(float64); ok && n > 0 && n < 1 {
			g.Unit = "s"
		}
	}
	return g
}

// epochUnit tells the unit of a time since 1970 by its magnitude.
func epochUnit(n float64) string {
	switch {
	case n < 1e11:
		return "s"
	case n < 1e14:
		return "ms"
	case n < 1e17:
		return "us"
	}
	return "ns"
}

// flatten collects the scalar values of an object by dotted path.
func flatten(prefix string, o map[string]any, into map[string]any, depth int) {
	for k, v := range o {
		path := prefix + strings.ReplaceAll(k, ".", `\.`)
		switch v := v.(type) {
		case map[string]any:
			if depth < 4 {
				flatten(path+".", v, into, depth+1)
			}
		case nil, []any:
		default:
			if _, ok := into[path]; !ok {
				into[path] = v
			}
		}
	}
}

package trace

import "strconv"

// The fields of a span that attributes can fill.
type conventionField uint8

const (
	fieldMethod conventionField = iota
	fieldRoute
	fieldStatus
	fieldDBSystem
	fieldDBQuery
	fieldPeer
	fieldWeight
	fieldCount
)

// A candidate is an attribute that a field was filled from. The lowest rank
// wins, and of equal ranks the last.
type candidate struct {
	attr Attr
	rank uint8 // 0: none
}

// ReadConventions moves the attributes in s.Attrs[from:] that stand for a field
// of s into it. It knows the stable semantic conventions of OpenTelemetry, their
// older names, and those of OpenTracing and Zipkin
// (https://opentelemetry.io/docs/specs/semconv/,
// https://opentracing.io/specification/conventions/,
// https://zipkin.io/public/brave/ and zipkin-api's thrift constants). Where
// several are present the stable name wins; an older one that says something
// else stays an attribute. s.Kind must be known.
func (s *Span) ReadConventions(from int) {
	var won [fieldCount]candidate
	var sampler Attr
	kept := s.Attrs[:from]
	for _, a := range s.Attrs[from:] {
		field, rank := s.conventionOf(a.Key)
		if rank == 0 || a.Value == "" || field == fieldStatus && httpStatus(a.Value) == 0 {
			kept = append(kept, a)
			continue
		}
		if field == fieldWeight { // told by the attribute, and kept in it
			kept = append(kept, a)
			if a.Key == "sampler.type" {
				sampler = a
				continue
			}
		}
		w := &won[field]
		loser := a
		if w.rank == 0 || rank <= w.rank {
			loser, w.attr, w.rank = w.attr, a, rank
		}
		if field != fieldWeight && loser.Key != "" && loser.Value != w.attr.Value {
			kept = append(kept, loser)
		}
	}
	s.Attrs = kept
	s.HTTPMethod = won[fieldMethod].attr.Value
	s.HTTPRoute = won[fieldRoute].attr.Value
	s.HTTPStatus = httpStatus(won[fieldStatus].attr.Value)
	s.DBSystem = databaseSystem(won[fieldDBSystem].attr, won[fieldDBQuery].attr)
	s.DBQuery = won[fieldDBQuery].attr.Value
	s.Peer = won[fieldPeer].attr.Value
	if w := statedWeight(won[fieldWeight].attr, sampler.Value); w > 0 {
		s.Weight = w
	}
}

// conventionOf returns the field that an attribute stands for, and the
// attribute's rank among those of that field; 0 if there is no such field.
func (s *Span) conventionOf(key string) (conventionField, uint8) {
	if len(key) < len("db.type") {
		return 0, 0
	}
	switch key {
	case "http.request.method":
		return fieldMethod, 1
	case "http.method":
		return fieldMethod, 2
	case "http.route":
		return fieldRoute, 1
	case "url.template":
		return fieldRoute, 2
	case "http.response.status_code":
		return fieldStatus, 1
	case "http.status_code":
		return fieldStatus, 2
	case "db.system.name":
		return fieldDBSystem, 1
	case "db.system":
		return fieldDBSystem, 2
	case "db.type":
		return fieldDBSystem, 3
	case "db.query.summary":
		return fieldDBQuery, 1
	case "db.query.text":
		return fieldDBQuery, 2
	case "db.statement":
		return fieldDBQuery, 3
	case "sql.query":
		return fieldDBQuery, 4
	case "cassandra.query":
		return fieldDBQuery, 5
	case "service.peer.name":
		return fieldPeer, 1
	case "peer.service":
		return fieldPeer, 2
	case "w3c.tracestate":
		return fieldWeight, 1
	case "sampling.threshold":
		return fieldWeight, 2
	case "sampling.probability", "sampling.ratio", "sampling.rate":
		return fieldWeight, 3
	case "sampler.param", "sampler.type":
		return fieldWeight, 4
	case "SampleRate":
		return fieldWeight, 5
	}
	// On the serving side these are the server itself, or a client's address.
	if s.Kind == KindClient || s.Kind == KindProducer {
		return fieldPeer, peerRank(key)
	}
	return 0, 0
}

// peerRank ranks the attributes that name the called side of a client's span.
func peerRank(key string) uint8 {
	switch key {
	case "server.address":
		return 3
	case "net.peer.name":
		return 4
	case "peer.hostname":
		return 5
	case "net.sock.peer.name":
		return 6
	case "network.peer.address":
		return 7
	case "net.sock.peer.addr":
		return 8
	case "net.peer.ip":
		return 9
	}
	return 0
}

// httpStatus reads a status code (RFC 9110 §15: three digits); 0 if it is none.
func httpStatus(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 100 || n > 999 {
		return 0
	}
	return n
}

// databaseSystem returns a name as db.system.name has it. OpenTracing's db.type
// is "sql" for any relational database, and Zipkin's tags only have the query.
func databaseSystem(system, query Attr) string {
	const otherSQL = "other_sql"
	switch {
	case system.Key == "db.type" && system.Value == "sql":
		return otherSQL
	case system.Value != "":
		return system.Value
	case query.Key == "sql.query":
		return otherSQL
	case query.Key == "cassandra.query":
		return "cassandra"
	}
	return ""
}

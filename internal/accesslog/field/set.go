package field

import (
	"strings"
	"time"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/trace"
)

// A Rule says how a text becomes a field.
type Rule struct {
	Field Field
	// Unit of a duration or an epoch.
	Unit Unit
	// Layout of a time: empty (RFC 3339, Common Log Format or an epoch, by its look),
	// rfc3339, epoch, clf, or a layout of Go's package time.
	Layout string
}

// A Setter fills entries, one after the other. It is used by one goroutine at a time.
type Setter struct {
	loc   *time.Location
	times accesslog.TimeReader

	won          [count]uint16 // 1 + the rank that filled each field of the entry at hand
	requestLine  string
	upstreamPort string
	start        time.Time // of the request, whichever time the entry takes
	essential    bool
}

// NewSetter returns a setter that takes times without a zone to be in loc; nil is UTC.
func NewSetter(loc *time.Location) *Setter {
	if loc == nil {
		loc = time.UTC
	}
	return &Setter{loc: loc, times: accesslog.NewTimeReader(loc)}
}

// Begin starts on another entry.
func (w *Setter) Begin() {
	w.won = [count]uint16{}
	w.requestLine, w.upstreamPort, w.start, w.essential = "", "", time.Time{}, false
}

// Set fills the field of rule r, unless a lower rank has filled it: where
// several values feed one field the lowest rank wins. Texts that gateways
// write for what they don't have, "" and "-", are absent. A present number or
// time that can't be read is an accesslog.ParseError.
func (w *Setter) Set(r *Rule, rank int, s string, e *accesslog.Entry) error {
	if won := w.won[r.Field]; s == "" || s == "-" || won != 0 && won < uint16(rank)+1 {
		return nil
	}
	ok, err := w.assign(r, s, e)
	if err != nil {
		return err
	}
	if ok {
		w.won[r.Field] = uint16(rank) + 1
		w.essential = w.essential || r.Field.Essential()
	}
	return nil
}

// End derives what several fields of e say together. It reports whether e is
// an access-log record at all: a time, a host or a node alone is none.
func (w *Setter) End(e *accesslog.Entry, arena *accesslog.Arena) bool {
	if e.Target == "" && e.Path != "" {
		path, query := e.Path, e.Query
		target := path
		if query != "" {
			b := append(arena.Grow(len(path)+1+len(query)), path...)
			b = append(append(b, '?'), query...)
			arena.Keep(b)
			target = unsafe.String(unsafe.SliceData(b), len(b))
		}
		e.SetTarget(target)
		if e.Path == "" {
			e.Path, e.Query = path, query
		}
	}
	if e.Target == "" && e.URL != "" {
		e.SetTarget(e.URL)
	}
	if w.requestLine != "" && e.Target == "" {
		method, protocol := e.Method, e.Protocol
		e.SetRequestLine(w.requestLine)
		if method != "" {
			e.Method = method
		}
		if protocol != "" {
			e.Protocol = protocol
		}
	}
	if w.won[Timestamp] != 0 && !w.start.IsZero() && !e.Latency.Total.OK && !w.start.After(e.Time) {
		e.Latency.Total = accesslog.Some(e.Time.Sub(w.start))
	}
	if w.upstreamPort != "" && e.Upstream != "" {
		joinPort(e, w.upstreamPort, arena)
	}
	if e.ClientIP == "" && e.ForwardedFor != "" {
		// By convention the client is first, then the proxies that it came through.
		client, _, _ := strings.Cut(e.ForwardedFor, ",")
		e.SetClient(strings.TrimSpace(client))
	}
	return w.essential
}

// assign reports whether s was a value; a present number that can't be read is an error.
func (w *Setter) assign(r *Rule, s string, e *accesslog.Entry) (bool, error) {
	switch r.Field {
	case Timestamp, StartTime, LoggedTime:
		return w.setTime(r, s, e)
	case ClientPort, Status, UpstreamStatus, Tries:
		return setInt(r, s, e)
	case RequestBytes, ResponseBytes:
		return setSize(r, s, e)
	case Amount:
		return setAmount(s, e)
	case Latency, UpstreamLatency, UpstreamHeaders, GatewayLatency:
		return setDuration(r, s, e)
	case ClientIP:
		e.SetClient(s)
	case Target:
		e.SetTarget(s)
	case Host:
		setHost(e, s)
	case Authority:
		e.SetAuthority(s)
	case ClientSubject:
		if w.won[Consumer] == 0 {
			e.Consumer.ID = commonName(s)
		}
	case RequestLine:
		w.requestLine = s
	case Upstream:
		setUpstream(e, s)
	case UpstreamPort:
		w.upstreamPort = s
	case TraceID, SpanID, Traceparent, TraceContext, DatadogTraceID, DatadogSpanID:
		return setIDs(r.Field, s, e), nil
	case Protocol:
		e.Protocol = protocol(s)
	case Query:
		e.Query = strings.TrimPrefix(s, "?")
	case APIKey:
		e.APIKey = credential(s)
		return e.APIKey != "", nil
	default:
		*stringField(r.Field, e) = s
	}
	return true, nil
}

func stringField(f Field, e *accesslog.Entry) *string {
	switch f {
	case Method:
		return &e.Method
	case Path:
		return &e.Path
	case URL:
		return &e.URL
	case Service:
		return &e.Service
	case Route:
		return &e.Route
	case Flags:
		return &e.Flags
	case Details:
		return &e.Details
	case UserAgent:
		return &e.UserAgent
	case Referer:
		return &e.Referer
	case RequestID:
		return &e.RequestID
	case ForwardedFor:
		return &e.ForwardedFor
	case Consumer:
		return &e.Consumer.ID
	case Plan:
		return &e.Consumer.Plan
	case Node:
		return &e.Node
	case Region:
		return &e.Region
	}
	return &e.APIVersion
}

// setIDs reports whether s held the ids that field f is made of. Ids that
// aren't valid are absent: the request has a trace of its own then.
func setIDs(f Field, s string, e *accesslog.Entry) bool {
	switch f {
	case TraceID:
		id, ok := trace.ParseTraceID(s)
		if ok {
			e.TraceID = id
		}
		return ok
	case SpanID:
		id, ok := trace.ParseSpanID(s)
		if ok {
			e.SpanID = id
		}
		return ok
	case DatadogTraceID, DatadogSpanID:
		id, ok := trace.ParseDatadogID(s)
		switch {
		case ok && f == DatadogTraceID:
			e.TraceID = trace.DatadogTraceID(id)
		case ok:
			e.SpanID = trace.DatadogSpanID(id)
		}
		return ok
	}
	parse := trace.ParseContext
	if f == Traceparent {
		parse = trace.ParseTraceparent
	} else if strings.Contains(s, "Root=") {
		e.TraceHeader = s
	}
	id, span, ok := parse(s)
	if ok {
		e.TraceID, e.SpanID = id, span
	}
	return ok
}

// joinPort puts the port behind the upstream's address.
func joinPort(e *accesslog.Entry, port string, arena *accesslog.Arena) {
	b := arena.Grow(len(e.Upstream) + len("[]:") + len(port))
	if strings.IndexByte(e.Upstream, ':') >= 0 {
		b = append(append(append(b, '['), e.Upstream...), ']')
	} else {
		b = append(b, e.Upstream...)
	}
	b = append(append(b, ':'), port...)
	arena.Keep(b)
	e.Upstream = unsafe.String(unsafe.SliceData(b), len(b))
}

// protocol completes a version that stands alone.
func protocol(s string) string {
	switch s {
	case "1.0":
		return "HTTP/1.0"
	case "1.1":
		return "HTTP/1.1"
	case "2", "2.0":
		return "HTTP/2.0"
	case "3", "3.0":
		return "HTTP/3.0"
	}
	return s
}

// commonName returns the CN of a distinguished name as RFC 4514 writes it
// (CN=acme,O=Acme) or as OpenSSL once did (/O=Acme/CN=acme); without one, all of it.
func commonName(dn string) string {
	for i := 0; ; {
		n := strings.Index(dn[i:], "CN=")
		if n < 0 {
			return dn
		}
		i += n
		if before := strings.TrimRight(dn[:i], " "); before == "" || strings.ContainsAny(before[len(before)-1:], ",/+") {
			name := dn[i+len("CN="):]
			if end := strings.IndexAny(name, ",/+"); end >= 0 {
				name = name[:end]
			}
			return strings.TrimSpace(name)
		}
		i += len("CN=")
	}
}

// setHost keeps a port that was logged with the host in the authority.
func setHost(e *accesslog.Entry, s string) {
	authority := e.Authority
	e.SetAuthority(s)
	if e.Host == s {
		e.Authority = authority
	}
}

// credential strips the scheme of an Authorization header that carries a token (RFC 6750 §2.1).
func credential(s string) string {
	const scheme = "Bearer "
	if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
		s = s[len(scheme):]
	}
	if strings.Contains(s, "REDACTED") || strings.HasPrefix(s, "****") || strings.Trim(s, "-*") == "" {
		return "" // what gateways write where they keep a secret to themselves
	}
	return s
}

func bad(reason accesslog.Reason, f Field) error {
	return &accesslog.ParseError{Reason: reason, Detail: f.String()}
}

// unmeasured reports whether s stands for a number that isn't known: "+12", as
// HAProxy writes "at least 12" of what still goes on (option logasap), and N/A.
func unmeasured(s string) bool { return s[0] == '+' || s == "N/A" }

func setInt(r *Rule, s string, e *accesslog.Entry) (bool, error) {
	if s == "N/A" {
		return false, nil
	}
	if r.Field == UpstreamStatus {
		s = lastOf(s)
		if s == "-" {
			e.UpstreamStatus = 0
			return true, nil
		}
	}
	n, ok := accesslog.ParseDecimal(strings.TrimPrefix(s, "+"), 0)
	if !ok || n > 65535 || n > 999 && r.Field != ClientPort {
		return false, bad(accesslog.ReasonBadNumber, r.Field)
	}
	if n < 0 {
		return false, nil
	}
	switch r.Field {
	case ClientPort:
		e.ClientPort = int(n)
	case Status:
		e.Status, e.NoResponse = int(n), n == 0
	case UpstreamStatus:
		e.UpstreamStatus = int(n)
	case Tries:
		e.Tries = int(n)
	}
	return true, nil
}

// setSize takes a negative size to mean "not measured".
func setSize(r *Rule, s string, e *accesslog.Entry) (bool, error) {
	if unmeasured(s) {
		return false, nil
	}
	n, ok := accesslog.ParseDecimal(s, 0)
	if !ok {
		return false, bad(accesslog.ReasonBadNumber, r.Field)
	}
	if n < 0 {
		return false, nil
	}
	if r.Field == RequestBytes {
		e.RequestBytes = accesslog.Some(n)
	} else {
		e.ResponseBytes = accesslog.Some(n)
	}
	return true, nil
}

// setAmount reads a decimal number; a negative one, a refund, is as good as any.
func setAmount(s string, e *accesslog.Entry) (bool, error) {
	n, ok := accesslog.ParseDecimal(s, 6)
	if !ok {
		return false, bad(accesslog.ReasonBadNumber, Amount)
	}
	e.Amount = accesslog.Some(n)
	return true, nil
}

// setDuration takes a negative duration to mean "not measured".
func setDuration(r *Rule, s string, e *accesslog.Entry) (bool, error) {
	if unmeasured(s) {
		return false, nil
	}
	s, unit := cutUnit(s, r.Unit)
	ns, some, ok := sum(s, unit.exp10())
	if !ok {
		return false, bad(accesslog.ReasonBadNumber, r.Field)
	}
	if !some || ns < 0 {
		return false, nil
	}
	v := accesslog.Some(time.Duration(ns))
	switch r.Field {
	case Latency:
		e.Latency.Total = v
	case UpstreamLatency:
		e.Latency.Upstream = v
	case UpstreamHeaders:
		e.Latency.UpstreamHeaders = v
	case GatewayLatency:
		e.Latency.Gateway = v
	}
	return true, nil
}

// cutUnit takes a unit off that stands behind the number itself, as in 0.25s.
func cutUnit(s string, u Unit) (string, Unit) {
	n := len(s)
	if s[n-1] != 's' || n < 2 {
		return s, u
	}
	switch {
	case s[n-2]-'0' <= 9:
		return s[:n-1], Seconds
	case strings.HasSuffix(s, "ms"):
		return s[:n-2], Milliseconds
	case strings.HasSuffix(s, "µs"):
		return s[:n-len("µs")], Microseconds
	case strings.HasSuffix(s, "us"):
		return s[:n-2], Microseconds
	case strings.HasSuffix(s, "ns"):
		return s[:n-2], Nanoseconds
	}
	return s, u
}

// sum adds the values of a list such as nginx's "0.001, 0.120 : 0.300", where a
// dash stands for a try without a value (ngx_http_upstream_module, $upstream_response_time).
func sum(s string, exp10 int) (ns int64, some, ok bool) {
	if strings.IndexByte(s, ',') < 0 && strings.IndexByte(s, ':') < 0 {
		ns, ok = accesslog.ParseDecimal(s, exp10)
		return ns, true, ok
	}
	for s != "" {
		end := strings.IndexAny(s, ",:")
		item := s
		if end >= 0 {
			item, s = s[:end], s[end+1:]
		} else {
			s = ""
		}
		if item = strings.TrimSpace(item); item == "-" {
			continue
		}
		n, ok := accesslog.ParseDecimal(item, exp10)
		if !ok {
			return 0, false, false
		}
		ns += n
		some = true
	}
	return ns, some, true
}

// lastOf returns the last item of such a list.
func lastOf(s string) string {
	if i := strings.LastIndexAny(s, ", "); i >= 0 {
		return s[i+1:]
	}
	return s
}

// setUpstream keeps the last address of a list, and how many there were.
func setUpstream(e *accesslog.Entry, s string) {
	if strings.IndexByte(s, ' ') < 0 && strings.IndexByte(s, ',') < 0 {
		e.Upstream = s
		return
	}
	e.Tries = 1 + strings.Count(s, ",") + strings.Count(s, " : ")
	if e.Upstream = lastOf(s); e.Upstream == "-" {
		e.Upstream = ""
	}
}

func (w *Setter) setTime(r *Rule, s string, e *accesslog.Entry) (bool, error) {
	t, ok := w.parseTime(r, s)
	if !ok {
		return false, bad(accesslog.ReasonBadTime, r.Field)
	}
	if r.Field == StartTime {
		w.start = t
	}
	switch {
	case r.Field != Timestamp && w.won[Timestamp] != 0, r.Field == LoggedTime && w.won[StartTime] != 0:
		return false, nil
	}
	e.TimeIsStart = r.Field == StartTime
	e.Time = t
	return true, nil
}

func (w *Setter) parseTime(r *Rule, s string) (time.Time, bool) {
	switch r.Layout {
	case "":
		if len(s) >= 19 && (s[4] == '-' || s[4] == '/') {
			return w.times.ISO(s)
		}
		if len(s) == 26 && s[2] == '/' {
			return w.times.CLF(s)
		}
		return epoch(s, r.Unit)
	case "rfc3339":
		return w.times.ISO(s)
	case "clf":
		return w.times.CLF(s)
	case "epoch":
		return epoch(s, r.Unit)
	}
	t, err := time.ParseInLocation(r.Layout, s, w.loc)
	return t.UTC(), err == nil
}

// epoch reads a number of units since 1970. Without a unit its magnitude tells:
// seconds have up to 11 digits until the year 5138.
func epoch(s string, u Unit) (time.Time, bool) {
	if u == Auto {
		whole := strings.IndexByte(s, '.')
		if whole < 0 {
			whole = len(s)
		}
		switch {
		case whole <= 11:
			u = Seconds
		case whole <= 14:
			u = Milliseconds
		case whole <= 17:
			u = Microseconds
		default:
			u = Nanoseconds
		}
	}
	ns, ok := accesslog.ParseDecimal(s, u.exp10())
	return time.Unix(0, ns).UTC(), ok && ns > 0
}

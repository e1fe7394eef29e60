// Package clf splits lines of the Common Log Format and its extensions, which
// Apache httpd and nginx write alike: address, names, time in brackets, quoted
// strings. Package apache and package nginx give it their formats.
package clf

import (
	"strings"
	"time"
	"unsafe"

	"gatewatch/internal/accesslog"
)

// Options is what formats differ in.
type Options struct {
	// Location of times without a zone; nil is UTC.
	Location *time.Location
	// Combined lines go on with referer and user agent, and may go on with more
	// fields, which are checked and left out. Common lines end after the size.
	Combined bool
}

// A Decoder reads one line a message.
type Decoder struct {
	opts  Options
	times accesslog.TimeReader
}

// New returns a decoder.
func New(opts Options) *Decoder {
	return &Decoder{opts: opts, times: accesslog.NewTimeReader(opts.Location)}
}

func fault(reason accesslog.Reason, detail string) error {
	return &accesslog.ParseError{Reason: reason, Detail: detail}
}

// Decode implements accesslog.Decoder.
func (d *Decoder) Decode(msg []byte, out *accesslog.Entries) error {
	line := strings.Trim(unsafe.String(unsafe.SliceData(msg), len(msg)), " \t\r\n")
	if line == "" {
		return fault(accesslog.ReasonEmpty, "")
	}
	if strings.IndexByte(line, '\n') >= 0 {
		return fault(accesslog.ReasonSyntax, "more than one line")
	}
	e := out.Next()
	rest, err := d.head(line, e)
	if err != nil {
		return err
	}
	if rest, err = d.request(rest, e, &out.Arena); err != nil {
		return err
	}
	if rest, err = numbers(rest, e); err != nil {
		return err
	}
	return d.tail(rest, e, &out.Arena)
}

// head reads everything before the request: [vhost] client ident user [time].
func (d *Decoder) head(line string, e *accesslog.Entry) (string, error) {
	before, after, ok := strings.Cut(line, " [")
	if !ok {
		return d.headWithoutTime(line, e)
	}
	rest := after
	before0, after0, ok0 := strings.Cut(rest, "]")
	if !ok0 {
		return "", fault(accesslog.ReasonSyntax, "no ] after the time")
	}
	if stamp := before0; stamp != "-" && stamp != "" {
		t, ok := d.times.CLF(stamp)
		if !ok {
			return "", fault(accesslog.ReasonBadTime, "not as 10/Oct/2000:13:55:36 -0700")
		}
		e.Time = t
	}
	if err := names(before, e); err != nil {
		return "", err
	}
	return strings.TrimLeft(after0, " "), nil
}

// headWithoutTime reads "client ident user -", as a line without any value has it.
func (d *Decoder) headWithoutTime(line string, e *accesslog.Entry) (string, error) {
	rest := line
	var fields [3]string
	for i := range fields {
		var ok bool
		if fields[i], rest, ok = strings.Cut(rest, " "); !ok {
			return "", fault(accesslog.ReasonSyntax, "no [time]")
		}
	}
	rest, ok := strings.CutPrefix(rest, "- ")
	if !ok {
		return "", fault(accesslog.ReasonSyntax, "no [time]")
	}
	e.Consumer.ID = present(fields[2])
	return rest, client(fields[0], e)
}

// names reads client, ident and user. A user name can hold spaces; nginx
// leaves it out of a line in which only the dash is ident; a virtual host
// can come first (Apache's vhost_combined).
func names(s string, e *accesslog.Entry) error {
	first, rest, _ := strings.Cut(s, " ")
	if second, more, ok := strings.Cut(rest, " "); ok && !isAddr(first) && isAddr(second) {
		e.SetAuthority(first)
		if e.Authority == e.Host {
			e.Authority = ""
		}
		first, rest = second, more
	}
	if err := client(first, e); err != nil {
		return err
	}
	ident, user, ok := strings.Cut(rest, " ")
	if !ok {
		if ident != "-" {
			return fault(accesslog.ReasonSyntax, "fewer than three names before the time")
		}
		return nil
	}
	if strings.HasSuffix(user, " -") {
		return fault(accesslog.ReasonSyntax, "more than three names before the time")
	}
	e.Consumer.ID = present(strings.Trim(user, " "))
	return nil
}

// isAddr reports whether s looks like an IP address.
func isAddr(s string) bool {
	dots, colons := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c-'0' > 9 && (c|0x20 < 'a' || c|0x20 > 'f') && c != '%':
			return false
		}
	}
	return dots == 3 && colons == 0 || colons >= 2
}

// client takes an address or, with HostnameLookups, a host name.
func client(s string, e *accesslog.Entry) error {
	if !isAddr(s) && !isHostname(s) {
		return fault(accesslog.ReasonSyntax, "no client address first")
	}
	e.ClientIP = present(s)
	return nil
}

func isHostname(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c-'0' > 9 && (c|0x20 < 'a' || c|0x20 > 'z') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// request reads the quoted request line, or the dash of a line without one.
func (d *Decoder) request(s string, e *accesslog.Entry, arena *accesslog.Arena) (string, error) {
	if rest, ok := strings.CutPrefix(s, "- "); ok {
		return rest, nil
	}
	line, rest, err := quoted(s)
	if err != nil {
		return "", err
	}
	if line == "-" || line == "" {
		return rest, nil
	}
	e.SetRequestLine(line)
	if e.RequestLine != "" {
		e.RequestLine = accesslog.Clean(line, arena)
		return rest, nil
	}
	if target := accesslog.Unescape(e.Target, arena); target != e.Target {
		e.SetTarget(target)
	}
	return rest, nil
}

// numbers reads status and size.
func numbers(s string, e *accesslog.Entry) (string, error) {
	status, rest, ok := strings.Cut(s, " ")
	if !ok {
		return "", fault(accesslog.ReasonSyntax, "the line ends before the size")
	}
	if status != "-" {
		n, ok := digits(status)
		if !ok || len(status) != 3 {
			return "", fault(accesslog.ReasonBadNumber, "status")
		}
		e.Status = int(n)
	}
	size, rest, _ := strings.Cut(rest, " ")
	if size != "-" {
		n, ok := digits(size)
		if !ok {
			return "", fault(accesslog.ReasonBadNumber, "response_bytes")
		}
		e.ResponseBytes = accesslog.Some(n)
	}
	return strings.TrimLeft(rest, " "), nil
}

func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, true
}

// tail reads referer and user agent. Both may be missing, one alone may not.
func (d *Decoder) tail(s string, e *accesslog.Entry, arena *accesslog.Arena) error {
	if s == "" {
		return nil
	}
	if !d.opts.Combined {
		return fault(accesslog.ReasonWrongFormat, "fields after the size: the combined format?")
	}
	referer, rest, err := quotedOrDash(s)
	if err != nil {
		return err
	}
	agent, rest, err := lastQuoted(rest)
	if err != nil {
		return err
	}
	for rest != "" {
		if rest, err = skipField(rest); err != nil {
			return err
		}
	}
	e.Referer = accesslog.Unescape(present(referer), arena)
	e.UserAgent = accesslog.Unescape(present(agent), arena)
	return nil
}

// skipField passes one more field: quoted, in brackets, or bare.
func skipField(s string) (string, error) {
	if s[0] == '"' {
		_, rest, err := quoted(s)
		return rest, err
	}
	field, rest, _ := strings.Cut(s, " ")
	if strings.IndexByte(field, '"') >= 0 {
		return "", fault(accesslog.ReasonSyntax, "a quote inside a field")
	}
	return strings.TrimLeft(rest, " "), nil
}

// quoted reads a quoted string, in which a backslash keeps the next byte from
// ending it, and the white space after it. It returns the content as logged.
func quoted(s string) (content, rest string, err error) {
	if s == "" || s[0] != '"' {
		return "", "", fault(accesslog.ReasonSyntax, "a quoted field is missing")
	}
	for i := 1; i < len(s); i++ {
		n := strings.IndexAny(s[i:], "\"\\")
		if n < 0 {
			break
		}
		i += n
		if s[i] == '\\' {
			i++
			continue
		}
		rest = s[i+1:]
		if rest != "" && rest[0] != ' ' {
			return "", "", fault(accesslog.ReasonSyntax, "a quote inside a field")
		}
		return s[1:i], strings.TrimLeft(rest, " "), nil
	}
	return "", "", fault(accesslog.ReasonSyntax, "a quoted field has no end")
}

// lastQuoted is quoted for the last field of a format: where its end is
// missing, because the line was cut, what there is of it counts.
func lastQuoted(s string) (content, rest string, err error) {
	if s == "-" {
		return "", "", nil
	}
	if len(s) > 1 && s[0] == '"' && !strings.ContainsAny(s[1:], "\"\\") {
		return s[1:], "", nil
	}
	return quotedOrDash(s)
}

// quotedOrDash is quoted, or the bare dash of an absent field.
func quotedOrDash(s string) (content, rest string, err error) {
	if rest, ok := strings.CutPrefix(s, "- "); ok {
		return "", strings.TrimLeft(rest, " "), nil
	}
	return quoted(s)
}

func present(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// Package w3c decodes the W3C Extended Log File Format, which IIS writes, and
// logs of columns like it: which column is where, a #Fields line in the stream
// or the topic's log_format says.
package w3c

import (
	"errors"
	"strings"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
)

// A Column is a column that fills a field.
type Column struct {
	Name string // as #Fields gives it, in lower case
	Rule field.Rule
	// Encoding of its text.
	Encoding Encoding
}

// An Encoding is how a column writes bytes that would end it.
type Encoding uint8

// The encodings.
const (
	Plain   Encoding = iota
	Percent          // %20
	Plus             // a plus for a space, as IIS does
)

// Options is what formats differ in.
type Options struct {
	accesslog.Options
	// Separator between columns: a space or a tab.
	Separator byte
	// Columns that are known. Of several for one field the earliest counts.
	Columns []Column
	// Fields is the order of columns as long as nothing else says: names with spaces between them.
	Fields string
	// Loose allows lines that end early, as older versions of a log do, and lines
	// that go on, as newer ones do.
	Loose bool
	// Finish, if set, completes each entry after its line was read.
	Finish func(e *accesslog.Entry)
}

// A Decoder reads one line a message.
type Decoder struct {
	opts   Options
	setter *field.Setter
	order  []int // column of each place: an index, or one of below
	date   field.Rule
}

// What a place holds that is no column of Options.
const (
	unknown = -1 - iota
	date
	clock
)

// New returns a decoder.
func New(o Options) (*Decoder, error) {
	d := &Decoder{opts: o, setter: field.NewSetter(o.Location), date: field.Rule{Field: field.Timestamp, Layout: "rfc3339"}}
	fields := o.Fields
	if o.LogFormat != "" {
		fields = strings.TrimPrefix(strings.TrimSpace(o.LogFormat), "#Fields:")
	}
	d.arrange(fields)
	if fields != "" && len(d.order) == 0 {
		return nil, errors.New("log_format: want the names of the columns, as the #Fields line has them")
	}
	return d, nil
}

// arrange takes names as the order of columns.
func (d *Decoder) arrange(names string) {
	d.order = d.order[:0]
	for name := range strings.FieldsSeq(names) {
		place := unknown
		switch {
		case strings.EqualFold(name, "date"):
			place = date
		case strings.EqualFold(name, "time"):
			place = clock
		}
		for i := range d.opts.Columns {
			if strings.EqualFold(d.opts.Columns[i].Name, name) {
				place = i
			}
		}
		d.order = append(d.order, place)
	}
}

func fault(reason accesslog.Reason, detail string) error {
	return &accesslog.ParseError{Reason: reason, Detail: detail}
}

// Decode implements accesslog.Decoder. A directive yields no entry.
func (d *Decoder) Decode(msg []byte, out *accesslog.Entries) error {
	text := strings.Trim(unsafe.String(unsafe.SliceData(msg), len(msg)), " \t\r\n")
	if text == "" {
		return fault(accesslog.ReasonEmpty, "")
	}
	for text != "" {
		line := text
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line, text = strings.TrimRight(text[:i], "\r"), strings.TrimLeft(text[i+1:], "\r\n")
		} else {
			text = ""
		}
		if line[0] == '#' {
			if err := d.directive(line); err != nil {
				return err
			}
			continue
		}
		if err := d.line(line, out.Next(), &out.Arena); err != nil {
			return err
		}
	}
	return nil
}

// directive reads a line that starts with #, such as "#Fields: date time".
func (d *Decoder) directive(line string) error {
	name, value, ok := strings.Cut(line[1:], ":")
	if !ok {
		return fault(accesslog.ReasonSyntax, "a # line without a directive")
	}
	if strings.EqualFold(name, "Fields") {
		d.arrange(value)
	}
	return nil
}

func (d *Decoder) line(line string, e *accesslog.Entry, arena *accesslog.Arena) error {
	if len(d.order) == 0 {
		return fault(accesslog.ReasonWrongFormat, "no #Fields line yet, and no log_format")
	}
	d.setter.Begin()
	var day, hour string
	rest := line
	for _, place := range d.order {
		if rest == "" && d.opts.Loose {
			break
		}
		if rest == "" {
			return fault(accesslog.ReasonSyntax, "fewer columns than #Fields names")
		}
		var v string
		var ok bool
		if v, rest, ok = d.cut(rest); !ok {
			return fault(accesslog.ReasonSyntax, "a quoted column has no end")
		}
		switch place {
		case unknown:
		case date:
			day = v
		case clock:
			hour = v
		default:
			c := &d.opts.Columns[place]
			if err := d.setter.Set(&c.Rule, place, decode(v, c.Encoding, arena), e); err != nil {
				return err
			}
		}
	}
	if rest != "" && !d.opts.Loose {
		return fault(accesslog.ReasonSyntax, "more columns than #Fields names")
	}
	if day != "" && hour != "" {
		b := append(append(append(arena.Grow(len(day)+1+len(hour)), day...), ' '), hour...)
		arena.Keep(b)
		if err := d.setter.Set(&d.date, len(d.opts.Columns), unsafe.String(unsafe.SliceData(b), len(b)), e); err != nil {
			return err
		}
	}
	if !d.setter.End(e, arena) {
		return fault(accesslog.ReasonWrongFormat, "a line with neither status nor method nor target")
	}
	if d.opts.Finish != nil {
		d.opts.Finish(e)
	}
	return nil
}

// cut takes the first column off; one in quotes may hold separators, and quotes twice.
func (d *Decoder) cut(s string) (v, rest string, ok bool) {
	if s[0] == '"' && d.opts.Separator == ' ' {
		for i := 1; i < len(s); i++ {
			if s[i] != '"' {
				continue
			}
			if i+1 < len(s) && s[i+1] == '"' {
				i++
				continue
			}
			return s[1:i], strings.TrimPrefix(s[i+1:], " "), true
		}
		return "", "", false
	}
	i := strings.IndexByte(s, d.opts.Separator)
	if i < 0 {
		return s, "", true
	}
	return s[:i], s[i+1:], true
}

func decode(s string, e Encoding, arena *accesslog.Arena) string {
	switch {
	case e == Plus && strings.IndexByte(s, '+') >= 0:
		b := append(arena.Grow(len(s)), s...)
		for i := range b {
			if b[i] == '+' {
				b[i] = ' '
			}
		}
		arena.Keep(b)
		s = unsafe.String(unsafe.SliceData(b), len(b))
	case e == Percent && strings.IndexByte(s, '%') >= 0:
		s = unpercent(s, arena)
	}
	return accesslog.Clean(s, arena)
}

// unpercent undoes RFC 3986 §2.1; what is no escape stays.
func unpercent(s string, arena *accesslog.Arena) string {
	b := arena.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := digit(s[i+1]), digit(s[i+2])
			if hi < 16 && lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

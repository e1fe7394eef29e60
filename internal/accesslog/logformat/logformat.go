package logformat

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
)

// Options is what formats differ in beyond their templates.
type Options struct {
	// Location of times without a zone; nil is UTC.
	Location *time.Location
	// UpstreamKnown is given to all entries; see accesslog.Entry.
	UpstreamKnown bool
	// Exclusive says that no line fits two templates: that of the last line is tried first.
	Exclusive bool
	// Finish, if set, completes each entry after its line was read.
	Finish func(e *accesslog.Entry)
}

// A Decoder reads one line a message.
type Decoder struct {
	templates []Template
	opts      Options
	setter    *field.Setter
	matcher   matcher
	last      int // template of the last line
}

// New returns a decoder for lines of any of the templates; the first that fits counts.
func New(opts Options, templates ...Template) (*Decoder, error) {
	d := &Decoder{opts: opts, setter: field.NewSetter(opts.Location)}
	if len(templates) == 0 {
		return nil, errors.New("no templates")
	}
	for _, t := range templates {
		t, err := compile(t)
		if err != nil {
			return nil, fmt.Errorf("log format: %w", err)
		}
		d.templates = append(d.templates, t)
	}
	return d, nil
}

// Decode implements accesslog.Decoder.
func (d *Decoder) Decode(msg []byte, out *accesslog.Entries) error {
	line := strings.Trim(unsafe.String(unsafe.SliceData(msg), len(msg)), " \t\r\n")
	if line == "" {
		return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
	}
	return d.Line(line, out.Next(), &out.Arena)
}

// Line reads one line without white space at its ends into e.
func (d *Decoder) Line(line string, e *accesslog.Entry, arena *accesslog.Arena) error {
	if strings.IndexByte(line, '\n') >= 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "more than one line"}
	}
	if d.opts.Exclusive && d.matcher.match(&d.templates[d.last], line) {
		return d.fill(&d.templates[d.last], line, e, arena)
	}
	far := 0
	for i := range d.templates {
		t := &d.templates[i]
		if d.matcher.match(t, line) {
			d.last = i
			return d.fill(t, line, e, arena)
		}
		if i == 0 {
			far = d.matcher.far
		}
	}
	return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: where(&d.templates[0], far)}
}

// where names the part at which a line stopped to fit.
func where(t *Template, i int) string {
	if t.Parts[i].Literal != "" {
		i = max(i-1, 0)
	}
	if i == 0 && t.Parts[0].Literal != "" {
		return "not the text that the format starts with"
	}
	return "does not fit the format at " + t.Parts[i].Name
}

func (d *Decoder) fill(t *Template, line string, e *accesslog.Entry, arena *accesslog.Arena) error {
	e.UpstreamKnown = d.opts.UpstreamKnown
	plain := strings.IndexByte(line, '\\') < 0 && utf8.ValidString(line) // nothing to rewrite
	d.setter.Begin()
	for i := range t.Parts {
		p := &t.Parts[i]
		if p.Rule == nil {
			continue
		}
		v := d.matcher.values[i]
		switch {
		case plain:
		case t.Verbatim, p.Rule.Field == field.RequestLine:
			v = accesslog.Clean(v, arena)
		default:
			v = accesslog.Unescape(v, arena)
		}
		if err := d.setter.Set(p.Rule, p.Rank, v, e); err != nil {
			return err
		}
	}
	d.setter.End(e, arena)
	if !plain && e.RequestLine == "" && !t.Verbatim && strings.IndexByte(e.Target, '\\') >= 0 {
		if target := accesslog.Unescape(e.Target, arena); target != e.Target {
			e.SetTarget(target)
		}
	}
	if d.opts.Finish != nil {
		d.opts.Finish(e)
	}
	return nil
}

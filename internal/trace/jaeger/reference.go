package jaeger

import (
	"gatewatch/internal/trace"
)

// references reads the parent, and what else the span refers to.
func (d *JSON) references(s *trace.Span) error {
	if entered, err := d.scan.Enter('['); err != nil || !entered {
		return err
	}
	refs := references{span: s}
	for {
		more, err := d.scan.More(']')
		if err != nil || !more {
			return err
		}
		if entered, err := d.scan.Enter('{'); err != nil {
			return err
		} else if !entered {
			continue
		}
		r, err := d.reference()
		if err != nil {
			return err
		}
		refs.add(r)
	}
}

func (d *JSON) reference() (r reference, err error) {
	for {
		key, ok, err := d.scan.Key()
		if err != nil || !ok {
			return r, err
		}
		v, err := d.scan.Value()
		if err != nil {
			return r, err
		}
		switch key {
		case "traceId", "traceID":
			r.trace, _ = traceID(v.Text)
		case "spanId", "spanID":
			r.span, _ = spanID(v.Text)
		case "refType":
			r.follows = v.Text == "FOLLOWS_FROM" || v.Text == "1"
		}
	}
}

// A reference is one that a span has to another.
type reference struct {
	trace   trace.TraceID
	span    trace.SpanID
	follows bool
}

// references sorts them: the first CHILD_OF is the parent, without any the
// first FOLLOWS_FROM of the same trace; the others are links.
type references struct {
	span   *trace.Span
	parent reference
}

func (rs *references) add(r reference) {
	if r.span.IsZero() {
		return
	}
	if same := r.trace == rs.span.TraceID || r.trace.IsZero() || rs.span.TraceID.IsZero(); same {
		if rs.parent.span.IsZero() || rs.parent.follows && !r.follows {
			if !rs.parent.span.IsZero() {
				rs.link(rs.parent)
			}
			rs.parent, rs.span.ParentID = r, r.span
			return
		}
	}
	rs.link(r)
}

func (rs *references) link(r reference) {
	l := rs.span.AddLink()
	l.TraceID, l.SpanID = r.trace, r.span
}

package jaeger

import (
	"gatewatch/internal/accesslog/jsonscan"
	"gatewatch/internal/trace"
)

// references reads the parent, and what else the span refers to.
func (d *JSON) references(s *trace.Span) error {
	refs := references{span: s}
	return d.scan.List(func() error {
		var r reference
		err := d.scan.Scalars(func(key string, v jsonscan.Value) {
			switch key {
			case "traceId", "traceID":
				r.trace, _ = traceID(v.Text)
			case "spanId", "spanID":
				r.span, _ = spanID(v.Text)
			case "refType":
				r.follows = v.Text == "FOLLOWS_FROM" || v.Text == "1"
			}
		})
		refs.add(r)
		return err
	})
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

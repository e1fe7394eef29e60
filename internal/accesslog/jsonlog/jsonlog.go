// Package jsonlog reads access logs in JSON by a table: which key, at whatever
// depth, fills which field of an entry, in which unit. All JSON formats share
// it, a user's own mapping included, so that all are equally strict and fast.
package jsonlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonscan"
)

// A Rule says that the value at a path fills a field. Where several rules feed
// one field, the earliest whose value is present wins.
type Rule struct {
	// Path is the keys from the outermost object inwards, joined by dots; \. is a dot inside a key.
	Path   string
	Field  field.Field
	Unit   field.Unit
	Layout string // of a time; see field.Rule
}

// Options is what formats differ in beyond their rules.
type Options struct {
	// Location of times without a zone; nil is UTC.
	Location *time.Location
	// UpstreamKnown is given to all entries; see accesslog.Entry.
	UpstreamKnown bool
	// Thin accepts objects with neither status nor method nor target that have an
	// address or a route: a user's own format may name no more.
	Thin bool
	// Finish, if set, completes each entry after its object was read.
	Finish func(e *accesslog.Entry)
}

// A Decoder reads messages that hold one object, or an array of objects.
type Decoder struct {
	rules  []field.Rule
	opts   Options
	root   node
	scan   jsonscan.Scanner
	setter *field.Setter
}

// node is one object of the tree of paths.
type node struct {
	index    map[string]int32
	children []child
	first    int32 // the known key that came first last time
}

type child struct {
	name   string
	member string // jsonscan.Member of name
	rule   int32  // index into rules, -1 if none
	sub    *node  // nil unless paths lead on
	next   int32  // the known key that followed last time
}

// New returns a decoder for rules.
func New(rules []Rule, opts Options) (*Decoder, error) {
	if len(rules) == 0 {
		return nil, errors.New("no rules")
	}
	d := &Decoder{opts: opts, setter: field.NewSetter(opts.Location)}
	for i, r := range rules {
		d.rules = append(d.rules, field.Rule{Field: r.Field, Unit: r.Unit, Layout: r.Layout})
		if r.Path == "" {
			return nil, fmt.Errorf("field %s: empty path", r.Field)
		}
		if err := d.root.add(splitPath(r.Path), int32(i)); err != nil {
			return nil, fmt.Errorf("field %s: path %q: %w", r.Field, r.Path, err)
		}
	}
	return d, nil
}

// Join returns base and those of more whose paths base doesn't have.
func Join(base, more []Rule) []Rule {
	rules := slices.Clone(base)
	for _, r := range more {
		if !slices.ContainsFunc(base, func(b Rule) bool { return b.Path == r.Path }) {
			rules = append(rules, r)
		}
	}
	return rules
}

func (n *node) add(keys []string, rule int32) error {
	if n.index == nil {
		n.index = map[string]int32{}
	}
	i, ok := n.index[keys[0]]
	if !ok {
		i = int32(len(n.children))
		n.index[keys[0]] = i
		n.children = append(n.children, child{name: keys[0], member: jsonscan.Member(keys[0]), rule: -1})
	}
	c := &n.children[i]
	if len(keys) == 1 {
		if c.rule >= 0 {
			return fmt.Errorf("named twice")
		}
		c.rule = rule
		return nil
	}
	if len(keys) > jsonscan.MaxDepth {
		return fmt.Errorf("deeper than %d", jsonscan.MaxDepth)
	}
	if c.sub == nil {
		c.sub = &node{}
	}
	return c.sub.add(keys[1:], rule)
}

// splitPath splits at dots that have no backslash before them.
func splitPath(path string) []string {
	var keys []string
	var key strings.Builder
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			key.WriteByte(path[i])
		case path[i] == '.':
			keys = append(keys, key.String())
			key.Reset()
		default:
			key.WriteByte(path[i])
		}
	}
	return append(keys, key.String())
}

// Decode implements accesslog.Decoder.
func (d *Decoder) Decode(msg []byte, out *accesslog.Entries) error {
	d.scan.Reset(msg, &out.Arena)
	if d.scan.Peek() == '[' {
		if err := d.list(out); err != nil {
			return err
		}
		return d.scan.End()
	}
	if err := d.record(out); err != nil {
		return err
	}
	return d.scan.End()
}

func (d *Decoder) list(out *accesslog.Entries) error {
	if err := d.scan.Open('['); err != nil {
		return err
	}
	for {
		more, err := d.scan.More(']')
		if err != nil || !more {
			return err
		}
		if err := d.record(out); err != nil {
			return err
		}
	}
}

var errNoRecord = &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "an object with neither status nor method nor target"}

func (d *Decoder) record(out *accesslog.Entries) error {
	e := out.Next()
	e.UpstreamKnown = d.opts.UpstreamKnown
	d.setter.Begin()
	if err := d.object(&d.root, e); err != nil {
		return err
	}
	if full := d.setter.End(e, &out.Arena); !full && (!d.opts.Thin || e.ClientIP == "" && e.Route == "") {
		return errNoRecord
	}
	if d.opts.Finish != nil {
		d.opts.Finish(e)
	}
	return nil
}

// elements reads the objects of an array into e: of several values the last
// counts. A rule for the number of tries takes the array's length.
func (d *Decoder) elements(c *child, e *accesslog.Entry) error {
	if err := d.scan.Open('['); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := d.scan.More(']')
		if err != nil {
			return err
		}
		if !more {
			if c.rule >= 0 && d.rules[c.rule].Field == field.Tries {
				e.Tries = n
			}
			return nil
		}
		if d.scan.Peek() == '{' {
			err = d.object(c.sub, e)
		} else {
			_, err = d.scan.Value()
		}
		if err != nil {
			return err
		}
	}
}

// object reads the members of the object at hand into e.
func (d *Decoder) object(n *node, e *accesslog.Entry) error {
	if err := d.scan.Open('{'); err != nil {
		return err
	}
	expected := &n.first
	for {
		i := *expected
		if guess := n.children[i].member; guess == "" || !d.scan.Follows(guess) {
			key, ok, err := d.scan.Key()
			if err != nil || !ok {
				return err
			}
			if i, ok = n.index[key]; !ok {
				if _, err := d.scan.Value(); err != nil {
					return err
				}
				continue
			}
			*expected = i
		}
		c := &n.children[i]
		expected = &c.next
		if c.sub != nil && d.scan.Peek() == '{' {
			if err := d.object(c.sub, e); err != nil {
				return err
			}
			continue
		}
		if c.sub != nil && d.scan.Peek() == '[' {
			if err := d.elements(c, e); err != nil {
				return err
			}
			continue
		}
		v, err := d.value()
		if err != nil {
			return err
		}
		if c.rule < 0 {
			continue
		}
		if s, ok := text(v); ok {
			if err := d.setter.Set(&d.rules[c.rule], int(c.rule), s, e); err != nil {
				return err
			}
		}
	}
}

package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"gatewatch/internal/devstack/panelcheck"
)

const (
	maxSeries   = 50
	slowest     = time.Second // that a query over 24 h may take
	queryLimit  = 30 * time.Second
	panelPixels = 800 // width for which Grafana asks points
)

// stretched returns the limit for a query, longer by how much slower this
// machine is at the moment than an idle one: a fixed sum tells.
func stretched(ctx context.Context, db *sql.DB) (time.Duration, error) {
	const idle = 150 * time.Millisecond
	begin := time.Now()
	var sum uint64
	if err := db.QueryRowContext(ctx, "SELECT sum(sipHash64(number)) FROM numbers(10000000)").Scan(&sum); err != nil {
		return 0, err
	}
	return time.Duration(float64(slowest) * max(1, float64(time.Since(begin))/float64(idle))), nil
}

// A checker runs queries of dashboards over one range.
type checker struct {
	db       *sql.DB
	from, to time.Time
	// slow bounds a query; 0 is no bound.
	slow time.Duration
	// points is how many a curve has at most; 0 is the usual number.
	points int
}

// An outcome is what became of one query.
type outcome struct {
	Board, Panel string
	Kind         string // panel, variable or annotation
	SQL          string // as it reached the database
	Frame        *data.Frame
	Took         time.Duration
	Err          error

	target panelcheck.Target
	vars   panelcheck.Vars
}

func (o *outcome) name() string { return o.Board + " " + o.Kind + " " + o.Panel }

// interval is the step that Grafana would ask for.
func (c *checker) interval() time.Duration {
	return max(time.Second, (c.to.Sub(c.from) / time.Duration(cmp.Or(c.points, panelPixels))).Round(time.Second))
}

// query runs one target.
func (c *checker) query(ctx context.Context, t panelcheck.Target, vars panelcheck.Vars) (o outcome) {
	ctx, cancel := context.WithTimeout(ctx, queryLimit)
	defer cancel()
	begin := time.Now()
	o.SQL, o.Frame, o.Err = panelcheck.Run(ctx, c.db, t, vars, backend.TimeRange{From: c.from, To: c.to}, c.interval())
	o.Took = time.Since(begin)
	o.target, o.vars = t, vars
	return o
}

// quickest runs a query again that took longer than it may: another process may
// have had the processors. The fastest of three counts.
func (c *checker) quickest(ctx context.Context, o *outcome) {
	for n := 0; n < 2 && c.slow > 0 && o.Err == nil && o.Took > c.slow; n++ {
		if again := c.query(ctx, o.target, o.vars); again.Err == nil {
			o.Took = min(o.Took, again.Took)
		}
	}
}

// selection returns the values that a board's variables have when it is opened:
// All, or the first of those that have exactly one.
func (c *checker) selection(ctx context.Context, b *board) (panelcheck.Vars, []outcome) {
	vars := panelcheck.Vars{}
	var list []outcome
	for i := range b.Templating.List {
		v := &b.Templating.List[i]
		switch v.Type {
		case "textbox":
			vars[v.Name] = []string{""}
		case "query":
			o := c.query(ctx, panelcheck.Target{RefID: "variable", RawSQL: v.sql(), Format: 1}, vars)
			o.Board, o.Panel, o.Kind = b.File, v.Name, "variable"
			list = append(list, o)
			if v.Multi || o.Err != nil {
				vars[v.Name] = nil
				continue
			}
			vars[v.Name] = []string{""}
			if o.Frame.Rows() > 0 {
				vars[v.Name] = []string{text(o.Frame, 0, 0)}
			}
		}
	}
	return vars, list
}

// text returns a cell as Grafana puts it into variables and links.
func text(f *data.Frame, column, row int) string {
	v, ok := f.Fields[column].ConcreteAt(row)
	if !ok {
		return ""
	}
	return fmt.Sprint(v)
}

// board runs all queries of a dashboard under a selection; of nil, what it opens
// with, those of its variables and annotations too.
func (c *checker) board(ctx context.Context, b *board, vars panelcheck.Vars) (list []outcome) {
	everything := vars == nil
	if everything {
		vars, list = c.selection(ctx, b)
	}
	add := func(kind, name string, t target) {
		if t.Datasource.Type != "grafana-clickhouse-datasource" {
			return
		}
		o := c.query(ctx, t.Target, vars)
		c.quickest(ctx, &o)
		o.Board, o.Panel, o.Kind = b.File, name, kind
		list = append(list, o)
	}
	for _, p := range b.all() {
		for _, t := range p.Targets {
			add("panel", p.Title, t)
		}
	}
	for i := 0; everything && i < len(b.Annotations.List); i++ {
		a := b.Annotations.List[i]
		add("annotation", a.Name, a.Target)
	}
	return list
}

// problem returns what is wrong with a query's answer, "" if nothing is.
func (c *checker) problem(o *outcome, kind string, format int) string {
	switch {
	case o.Err != nil:
		return o.Err.Error()
	case c.slow > 0 && o.Took > c.slow:
		return fmt.Sprintf("took %.2f s", o.Took.Seconds())
	case o.Frame.Rows() == 0:
		return ""
	case kind == "annotation" || format == 1:
		return shape(o.Frame, kind)
	}
	series := 0
	hasTime := false
	for _, f := range o.Frame.Fields {
		switch {
		case f.Type().Time():
			hasTime = true
		case f.Type().Numeric():
			series++
		default:
			return fmt.Sprintf("column %s is %s: a curve needs numbers", f.Name, f.Type().ItemTypeString())
		}
	}
	switch {
	case !hasTime:
		return "no column is a time"
	case series == 0:
		return "no column is a number"
	case series > maxSeries:
		return fmt.Sprintf("%d series, more than %d", series, maxSeries)
	}
	return ""
}

// shape returns what columns a table, a figure or an annotation lacks.
func shape(f *data.Frame, kind string) string {
	has := func(want func(data.FieldType) bool) bool {
		for _, x := range f.Fields {
			if want(x.Type()) {
				return true
			}
		}
		return false
	}
	switch kind {
	case "stat", "bargauge":
		if !has(data.FieldType.Numeric) {
			return "no column is a number"
		}
	case "annotation":
		if !f.Fields[0].Type().Time() || f.Fields[0].Name != "time" {
			return "the first column is not the time"
		}
		for _, name := range []string{"title", "text", "tags"} {
			if x, _ := f.FieldByName(name); x == nil {
				return "no column " + name
			}
		}
	}
	return ""
}

// first returns the beginning of a text for people.
func first(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

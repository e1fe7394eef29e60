package evaluate

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Table is counts from a file: time, good (or bad), total and perhaps group, at
// a regular step. It is a Counter that gives them to every feed. What is between
// two rows is spread evenly, so that judging at the step is exact.
type Table struct {
	Step     time.Duration
	From, To time.Time
	Gaps     int // steps without a row

	base   rollup.Grain
	points []Point // at the base, in the order of time
}

// maxTableRows bounds what is read.
const maxTableRows = 20_000_000

// ReadTable reads CSV with a header. Times are RFC 3339 or seconds since 1970.
// Its error names file and line.
func ReadTable(name string, r io.Reader) (*Table, error) {
	in := csv.NewReader(r)
	in.TrimLeadingSpace, in.ReuseRecord, in.Comment = true, true, '#'
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%s:1: %w", name, noEOF(err))
	}
	column := map[string]int{"time": -1, "good": -1, "bad": -1, "total": -1, "group": -1}
	for i, h := range header {
		h = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))
		if _, ok := column[h]; !ok {
			return nil, fmt.Errorf("%s:1: column %q is none of time, good, bad, total, group", name, h)
		}
		column[h] = i
	}
	if column["time"] < 0 || column["total"] < 0 || (column["good"] < 0) == (column["bad"] < 0) {
		return nil, fmt.Errorf("%s:1: the header must have time, total and one of good and bad, such as time,good,total", name)
	}
	var rows []Point
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		line, _ := in.FieldPos(0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p, err := tableRow(rec, column)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		if rows = append(rows, p); len(rows) > maxTableRows {
			return nil, fmt.Errorf("%s:%d: more than %d rows", name, line, maxTableRows)
		}
	}
	return newTable(name, rows)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	}
	return err
}

func tableRow(rec []string, column map[string]int) (p Point, err error) {
	at := strings.TrimSpace(rec[column["time"]])
	if seconds, e := strconv.ParseInt(at, 10, 64); e == nil {
		p.Time = time.Unix(seconds, 0).UTC()
	} else if p.Time, err = time.Parse(time.RFC3339, at); err != nil {
		return p, fmt.Errorf("time %q is neither RFC 3339 nor seconds since 1970", at)
	}
	p.Time = p.Time.UTC()
	number := func(name string) (int64, error) {
		text := strings.TrimSpace(rec[column[name]])
		n, err := strconv.ParseInt(text, 10, 64)
		if f, e := strconv.ParseFloat(text, 64); err != nil && e == nil && f >= 0 && f < 1<<53 {
			return int64(f), nil // of tools that write counts as 12.0
		}
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%s %q is no count", name, text)
		}
		return n, nil
	}
	if p.Valid, err = number("total"); err != nil {
		return p, err
	}
	if column["good"] >= 0 {
		good, err := number("good")
		if err != nil {
			return p, err
		}
		p.Bad = p.Valid - good
	} else if p.Bad, err = number("bad"); err != nil {
		return p, err
	}
	if p.Bad < 0 || p.Bad > p.Valid {
		return p, fmt.Errorf("good or bad is more than total %d", p.Valid)
	}
	if column["group"] >= 0 {
		p.Group = strings.TrimSpace(rec[column["group"]])
	}
	return p, nil
}

func newTable(name string, rows []Point) (*Table, error) {
	slices.SortStableFunc(rows, byTimeAndGroup)
	t := &Table{}
	var times []time.Time
	for i, p := range rows {
		if i > 0 && rows[i-1].Time.Equal(p.Time) && rows[i-1].Group == p.Group {
			return nil, fmt.Errorf("%s: time %s is there twice", name, p.Time.Format(time.RFC3339))
		}
		if n := len(times); n == 0 || !times[n-1].Equal(p.Time) {
			times = append(times, p.Time)
		}
	}
	if len(times) < 2 {
		return nil, fmt.Errorf("%s: at least two times are needed", name)
	}
	for i := 1; i < len(times); i++ {
		if d := times[i].Sub(times[i-1]); t.Step == 0 || d < t.Step {
			t.Step = d
		}
	}
	if t.Step > time.Hour || time.Hour%t.Step != 0 {
		return nil, fmt.Errorf("%s: the step of %s does not divide an hour", name, t.Step)
	}
	for i, at := range times {
		if !at.Truncate(t.Step).Equal(at) {
			return nil, fmt.Errorf("%s: time %s is no multiple of the step of %s", name, at.Format(time.RFC3339), t.Step)
		}
		if i > 0 {
			t.Gaps += int(at.Sub(times[i-1])/t.Step) - 1
		}
	}
	t.From, t.To = times[0], times[len(times)-1].Add(t.Step)
	t.base = rollup.Grain1m
	if t.Step%time.Minute != 0 {
		t.base = rollup.Grain10s
	}
	t.spread(rows)
	return t, nil
}

func byTimeAndGroup(a, b Point) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Group, b.Group))
}

// spread brings rows to the base: short steps are summed, long ones spread.
func (t *Table) spread(rows []Point) {
	width := time.Duration(t.base)
	n := max(1, int64(t.Step/width))
	for _, p := range rows {
		for i := range n {
			t.points = append(t.points, Point{
				Time: p.Time.Truncate(width).Add(time.Duration(i) * width), Group: p.Group,
				Count: slo.Count{Valid: share(p.Valid, i, n), Bad: share(p.Bad, i, n)},
			})
		}
	}
	slices.SortStableFunc(t.points, byTimeAndGroup)
	t.points = sumPoints(t.points, rollup.Grain(width))
}

// share returns the part i of n of a count; all parts add up to it.
func share(count, i, n int64) int64 { return count*(i+1)/n - count*i/n }

// Reach says since when a table has windows of each grain.
func (t *Table) Reach() Reach {
	if t.base == rollup.Grain10s {
		return Reach{}
	}
	return Reach{Fine: t.To.Add(time.Hour)}
}

// Counts implements Counter.
func (t *Table) Counts(_ context.Context, feeds []slo.Feed, g rollup.Grain, from, to time.Time) ([][]Point, error) {
	if g < t.base {
		return nil, fmt.Errorf("the step of %s is read in windows of %s", t.Step, time.Duration(g))
	}
	i, _ := slices.BinarySearchFunc(t.points, from, func(p Point, at time.Time) int { return p.Time.Compare(at) })
	k, _ := slices.BinarySearchFunc(t.points, to, func(p Point, at time.Time) int { return p.Time.Compare(at) })
	part := t.points[i:max(i, k)]
	apart := sumPoints(part, g)
	whole := make([]Point, len(part))
	for n, p := range part {
		whole[n] = Point{Time: p.Time, Count: p.Count}
	}
	whole = sumPoints(whole, g)
	list := make([][]Point, len(feeds))
	for n, f := range feeds {
		if list[n] = whole; f.Group != slo.Whole {
			list[n] = apart
		}
	}
	return list, nil
}

// sumPoints adds up points, which are in the order of time, in windows of a grain.
func sumPoints(points []Point, g rollup.Grain) []Point {
	type key struct {
		at    int64
		group string
	}
	sums := map[key]int{}
	var list []Point
	for _, p := range points {
		at := g.Window(p.Time).Start
		k := key{at.Unix(), p.Group}
		i, ok := sums[k]
		if !ok {
			i = len(list)
			sums[k] = i
			list = append(list, Point{Time: at, Group: p.Group})
		}
		list[i].Valid += p.Valid
		list[i].Bad += p.Bad
	}
	return list
}

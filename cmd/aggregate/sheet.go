package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

// sheetSchema names the form of a sheet's JSON.
const sheetSchema = "gatewatch/sheet/v1"

// A sheetQuestion is answered by a sheet: rows with columns of their own.
type sheetQuestion struct {
	name, summary string
	// by are the --by that it knows beside its own columns, where what --where knows.
	by, where []string
	ask       func(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error)
}

// sheetQuestions are asked about any window, as the others.
var sheetQuestions = explainQuestions

// A field is a column of a sheet. Text is shown at the left, other values at the
// right. Show formats a value for the table.
type field struct {
	name string // in JSON and CSV; with _ for a space in the table
	text bool
	show func(any) string
}

// A sheet is an answer in rows. Each row has a value for each field: a string,
// int64, float64, time.Time, []string or nil for "not known".
type sheet struct {
	source string
	fields []field
	rows   [][]any
	notes  []string
	// unknown says why there can't be an answer; empty: no rows are an answer.
	unknown string
	// from and to are the window that was answered for, whole windows of the source.
	from, to time.Time
}

// answerSheet answers q and writes it.
func (r *reporter) answerSheet(ctx context.Context, env *daemon.Env, q sheetQuestion) error {
	by, where, err := r.sheetDimensions(q)
	if err != nil {
		return err
	}
	r.by = by
	from, to, err := r.window(r.now.Add(-time.Hour), r.now)
	if err != nil {
		return err
	}
	s, err := q.ask(ctx, r, clickhouse.Scope{From: from, To: to, Where: where})
	if err != nil {
		return err
	}
	if s.from.IsZero() {
		s.from, s.to = from, to
	}
	if n := r.flags.limit; n > 0 && len(s.rows) > n {
		s.rows = s.rows[:n]
		s.notes = append(s.notes, fmt.Sprintf("the first %d; --limit 0 shows all", n))
	}
	c, err := r.completeness(ctx, to)
	if err != nil {
		return err
	}
	switch r.flags.output {
	case "json":
		err = s.writeJSON(env.Stdout, q.name, where, c)
	case "csv":
		err = s.writeCSV(env.Stdout)
	default:
		err = s.write(env.Stdout, q.name, c)
	}
	if err == nil && s.unknown != "" {
		return daemon.Unknown(nil)
	}
	return err
}

// sheetDimensions reads --by and --where against what q knows.
func (r *reporter) sheetDimensions(q sheetQuestion) (by []string, where []clickhouse.Condition, err error) {
	if r.flags.by != "" {
		by = strings.Split(r.flags.by, ",")
	}
	for i, d := range by {
		if !slices.Contains(q.by, d) {
			if len(q.by) == 0 {
				return nil, nil, daemon.Usagef("report %s has no --by", q.name)
			}
			return nil, nil, daemon.Usagef("unknown --by %q; %s has %s", d, q.name, strings.Join(q.by, ", "))
		}
		if slices.Contains(by[:i], d) {
			return nil, nil, daemon.Usagef("--by names %s twice", d)
		}
	}
	where, err = parseWhere(r.flags.where, q.where)
	return by, where, err
}

func (s *sheet) writeJSON(w io.Writer, question string, where []clickhouse.Condition, c completeness) error {
	rows := make([]json.RawMessage, 0, len(s.rows))
	for _, row := range s.rows {
		var b strings.Builder
		b.WriteByte('{')
		for i, f := range s.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			v, err := json.Marshal(row[i])
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%q:%s", f.name, v)
		}
		b.WriteByte('}')
		rows = append(rows, json.RawMessage(b.String()))
	}
	conditions := map[string]string{}
	for _, c := range where {
		conditions[c.Dimension] = c.Value
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema   string            `json:"schema"`
		Question string            `json:"question"`
		From     time.Time         `json:"from"`
		To       time.Time         `json:"to"`
		Source   string            `json:"source"`
		Where    map[string]string `json:"where,omitempty"`
		Rows     []json.RawMessage `json:"rows"`
		Notes    []string          `json:"notes,omitempty"`
		Unknown  string            `json:"unknown,omitempty"`
		completeness
	}{sheetSchema, question, s.from, s.to, s.source, conditions, rows, s.notes, s.unknown, c})
}

func (s *sheet) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	var header []string
	for _, f := range s.fields {
		header = append(header, f.name)
	}
	if err := c.Write(header); err != nil {
		return err
	}
	for _, row := range s.rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = plain(v)
		}
		if err := c.Write(cells); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// plain is a value for another program.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []string:
		return strings.Join(v, " ")
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(v)
}

func (s *sheet) write(w io.Writer, question string, c completeness) error {
	const layout = "2006-01-02 15:04:05"
	fmt.Fprintf(w, "%s %s to %s UTC, %s\n\n", question, s.from.Format(layout), s.to.Format(layout), s.source)
	switch {
	case s.unknown != "":
		fmt.Fprintln(w, s.unknown)
	case len(s.rows) == 0:
		fmt.Fprintln(w, "none")
	default:
		if err := s.writeTable(w); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	for _, n := range s.notes {
		fmt.Fprintln(w, n)
	}
	_, err := fmt.Fprintln(w, c.line())
	return err
}

// writeTable writes text columns first, then numbers, then what is too long for a column.
func (s *sheet) writeTable(w io.Writer) error {
	left := 0
	for left < len(s.fields) && s.fields[left].text {
		left++
	}
	var header []string
	for i, f := range s.fields {
		name := strings.ReplaceAll(f.name, "_", " ")
		if i >= left && f.text {
			name = ""
		}
		header = append(header, name)
	}
	var rows [][]string
	for _, row := range s.rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = shown(s.fields[i], v)
		}
		rows = append(rows, cells)
	}
	return writeAligned(w, header, rows, left)
}

func shown(f field, v any) string {
	if v == nil {
		return "-"
	}
	if f.show != nil {
		return f.show(v)
	}
	switch v := v.(type) {
	case string:
		return short(labelled{f.name, v})
	case []string:
		return strings.Join(v, " ")
	case int64:
		return grouped(v)
	case time.Time:
		return v.UTC().Format("01-02 15:04:05")
	case float64:
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return fmt.Sprint(v)
}

// Ways to show a number.
func showShare(v any) string { return fmt.Sprintf("%.1f %%", 100*v.(float64)) }
func showMS(v any) string    { return milliseconds(v.(float64)) }
func showAdded(v any) string {
	ms := v.(float64)
	if ms < 0 {
		return "-" + milliseconds(-ms)
	}
	return "+" + milliseconds(ms)
}
func showScore(v any) string { return fmt.Sprintf("%.1f", v.(float64)) }
func showLong(v any) string  { return v.(string) }

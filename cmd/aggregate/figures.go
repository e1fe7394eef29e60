package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/histogram"
	"gatewatch/internal/rollup"
)

// labelled is a dimension with a row's value.
type labelled struct{ name, value string }

// figures is one row of an answer.
type figures struct {
	Group        groupJSON        `json:"group,omitempty"`
	Requests     int64            `json:"requests"`
	RatePerS     *float64         `json:"rate_per_s"` // null where no time has passed yet
	ServerErrors int64            `json:"server_errors"`
	ClientErrors int64            `json:"client_errors"`
	Errors       map[string]int64 `json:"errors,omitempty"`
	BytesIn      int64            `json:"bytes_in"`
	BytesOut     int64            `json:"bytes_out"`
	Latency      *latency         `json:"latency_ms"` // null where no request states one
	Apdex        *float64         `json:"apdex"`      // null likewise
	FirstSeen    *time.Time       `json:"first_seen,omitempty"`
	LastSeen     *time.Time       `json:"last_seen,omitempty"`

	provisional bool
}

// latency is in milliseconds; quantiles are wrong by at most 0.55 %.
type latency struct {
	N    int64    `json:"n"`
	Mean float64  `json:"mean"`
	P50  float64  `json:"p50"`
	P90  float64  `json:"p90"`
	P95  float64  `json:"p95"`
	P99  float64  `json:"p99"`
	P999 float64  `json:"p99_9"`
	Max  *float64 `json:"max,omitempty"` // absent where the level has none
	// TooFew names the quantiles for which n is below 1/(1-q).
	TooFew []string `json:"too_few,omitempty"`
}

// groupJSON keeps the order of dimensions.
type groupJSON []labelled

// MarshalJSON writes an object in the order of --by.
func (g groupJSON) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, l := range g {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(l.name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(l.value)
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// newFigures makes a row for the window w, of which the time after known does
// not count yet.
func newFigures(g []labelled, row rollup.Row, w rollup.Window, known time.Time) *figures {
	f := &figures{Group: g, Requests: row.Requests, BytesIn: row.BytesIn, BytesOut: row.BytesOut, Errors: map[string]int64{}}
	end := w.End()
	if known.Before(end) {
		end = known
	}
	if s := end.Sub(w.Start).Seconds(); s >= 1 {
		rate := float64(row.Requests) / s
		f.RatePerS = &rate
	}
	for name, n := range row.Classes {
		class, ok := accesslog.ParseErrorClass(name)
		if !ok || class == accesslog.ErrorNone {
			continue
		}
		f.Errors[name] = n
		switch {
		case class.Server():
			f.ServerErrors += n
		case strings.HasPrefix(name, "client_"):
			f.ClientErrors += n
		}
	}
	if row.Timed > 0 {
		f.Latency = newLatency(row)
		if a, ok := row.Apdex(); ok {
			f.Apdex = &a
		}
	}
	if !row.FirstSeen.IsZero() && row.FirstSeen.Unix() > 0 {
		first, last := row.FirstSeen.UTC(), row.LastSeen.UTC()
		f.FirstSeen, f.LastSeen = &first, &last
	}
	return f
}

func newLatency(row rollup.Row) *latency {
	l := &latency{N: row.Timed, Mean: float64(row.LatencySum) / float64(row.Timed) / 1000}
	if row.LatencyMax > 0 {
		most := float64(row.LatencyMax) / 1000
		l.Max = &most
	}
	for _, q := range []struct {
		q    float64
		name string
		to   *float64
	}{{0.5, "p50", &l.P50}, {0.9, "p90", &l.P90}, {0.95, "p95", &l.P95}, {0.99, "p99", &l.P99}, {0.999, "p99_9", &l.P999}} {
		us, _ := row.Latency.Quantile(q.q)
		*q.to = us / 1000
		if l.Max != nil {
			*q.to = min(*q.to, *l.Max)
		}
		if !histogram.Resolves(q.q, row.Timed) {
			l.TooFew = append(l.TooFew, q.name)
		}
	}
	return l
}

// A column is one of a table's columns after the group's. Cell sees the row and the whole answer.
type column struct {
	title string
	cell  func(f *figures, a *answer) string
}

var (
	colRequests     = column{"requests", func(f *figures, _ *answer) string { return grouped(f.Requests) }}
	colRate         = column{"req/s", func(f *figures, _ *answer) string { return rate(f.RatePerS) }}
	colServerErrors = column{"5xx-like", func(f *figures, _ *answer) string { return share(f.ServerErrors, f.Requests) }}
	colClientErrors = column{"client err", func(f *figures, _ *answer) string { return share(f.ClientErrors, f.Requests) }}
	colBytesIn      = column{"in", func(f *figures, _ *answer) string { return size(f.BytesIn) }}
	colBytesOut     = column{"out", func(f *figures, _ *answer) string { return size(f.BytesOut) }}
	colShareOfAll   = column{"of all", func(f *figures, a *answer) string { return share(f.Requests, a.Total.Requests) }}
	colTimed        = column{"n", func(f *figures, _ *answer) string {
		if f.Latency == nil {
			return "0"
		}
		return grouped(f.Latency.N)
	}}
	colMean  = column{"mean", latencyCell("", func(l *latency) *float64 { return &l.Mean })}
	colP50   = column{"p50", latencyCell("p50", func(l *latency) *float64 { return &l.P50 })}
	colP90   = column{"p90", latencyCell("p90", func(l *latency) *float64 { return &l.P90 })}
	colP95   = column{"p95", latencyCell("p95", func(l *latency) *float64 { return &l.P95 })}
	colP99   = column{"p99", latencyCell("p99", func(l *latency) *float64 { return &l.P99 })}
	colP999  = column{"p99.9", latencyCell("p99_9", func(l *latency) *float64 { return &l.P999 })}
	colMax   = column{"max", latencyCell("", func(l *latency) *float64 { return l.Max })}
	colApdex = column{"apdex", func(f *figures, _ *answer) string {
		if f.Apdex == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f", *f.Apdex)
	}}
	colTopError  = column{"top error", topError}
	colFirstSeen = column{"first seen", func(f *figures, _ *answer) string { return moment(f.FirstSeen) }}
	colLastSeen  = column{"last seen", func(f *figures, _ *answer) string { return moment(f.LastSeen) }}
	colBar       = column{"", bar}
)

func latencyCell(name string, of func(*latency) *float64) func(*figures, *answer) string {
	return func(f *figures, _ *answer) string {
		if f.Latency == nil {
			return "-"
		}
		v := of(f.Latency)
		if v == nil {
			return "-"
		}
		if slices.Contains(f.Latency.TooFew, name) {
			return "~" + milliseconds(*v)
		}
		return milliseconds(*v)
	}
}

func topError(f *figures, _ *answer) string {
	best := ""
	for _, name := range slices.Sorted(maps.Keys(f.Errors)) {
		if best == "" || f.Errors[name] > f.Errors[best] {
			best = name
		}
	}
	if best == "" {
		return "-"
	}
	return best + " " + grouped(f.Errors[best])
}

// barWidth is the length of the longest bar in characters.
const barWidth = 24

func bar(f *figures, a *answer) string {
	var most int64
	for i := range a.Rows {
		most = max(most, a.Rows[i].Requests)
	}
	return strings.TrimRight(bars(float64(f.Requests)/float64(most), barWidth), " ")
}

// bars draws a share of width characters in eighths.
func bars(share float64, width int) string {
	eighths := int(math.Round(min(max(share, 0), 1) * float64(width) * 8))
	if eighths == 0 && share > 0 {
		eighths = 1
	}
	s := strings.Repeat("█", eighths/8)
	if e := eighths % 8; e > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[e-1])
	}
	return s
}

// grouped writes an integer with separators between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

func rate(r *float64) string {
	switch {
	case r == nil:
		return "-"
	case *r >= 100:
		return grouped(int64(math.Round(*r)))
	case *r >= 1 || *r == 0:
		return fmt.Sprintf("%.1f", *r)
	}
	return fmt.Sprintf("%.2g", *r)
}

func share(n, of int64) string {
	switch p := 100 * float64(n) / float64(max(of, 1)); {
	case n == 0:
		return "-"
	case p < 0.01:
		return "<0.01 %"
	case p < 1:
		return fmt.Sprintf("%.2f %%", p)
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

func size(n int64) string {
	v, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	if i == 0 || v >= 99.5 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

func milliseconds(ms float64) string {
	switch {
	case ms >= 9950:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 999.5:
		return fmt.Sprintf("%.2f s", ms/1000)
	case ms >= 99.5:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.2f ms", ms)
}

func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format("2006-01-02 15:04:05")
}

// short cuts long values for the table; JSON and CSV have them whole.
func short(l labelled) string {
	switch {
	case l.name == "time":
		t, err := time.Parse(time.RFC3339, l.value)
		if err != nil {
			return l.value
		}
		return t.Format("01-02 15:04:05")
	case l.value == "":
		return "(none)"
	case l.name == "key_id":
		return l.value[:min(8, len(l.value))]
	}
	if r := []rune(l.value); len(r) > 48 {
		return string(r[:47]) + "…"
	}
	return l.value
}

func (a *answer) writeTable(w io.Writer, columns []column) error {
	var header []string
	for _, d := range a.By {
		header = append(header, strings.ReplaceAll(d, "_", " "))
	}
	for _, c := range columns {
		header = append(header, c.title)
	}
	rows := make([][]string, 0, len(a.Rows)+1)
	for i := range a.Rows {
		f := &a.Rows[i]
		var cells []string
		for _, l := range f.Group {
			cells = append(cells, short(l))
		}
		for _, c := range columns {
			cells = append(cells, c.cell(f, a))
		}
		rows = append(rows, cells)
	}
	total := []string{"all requests"}
	for range a.By[1:] {
		total = append(total, "")
	}
	for _, c := range columns {
		if c.title == "" {
			total = append(total, "")
			continue
		}
		total = append(total, c.cell(a.Total, a))
	}
	return writeAligned(w, header, append(rows, total), len(a.By))
}

// writeAligned writes columns with two spaces between them; those after the
// first left ones are numbers and end at the right, except the last one if it has no title.
func writeAligned(w io.Writer, header []string, rows [][]string, left int) error {
	widths := make([]int, len(header))
	all := append([][]string{header}, rows...)
	for _, r := range all {
		for i, c := range r {
			widths[i] = max(widths[i], len([]rune(c)))
		}
	}
	for _, r := range all {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-len([]rune(c)))
			if i > 0 {
				b.WriteString("  ")
			}
			if i < left || header[i] == "" {
				b.WriteString(c + pad)
			} else {
				b.WriteString(pad + c)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func (a *answer) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	header := append(slices.Clone(a.By), "requests", "rate_per_s", "server_errors", "client_errors", "bytes_in", "bytes_out",
		"timed", "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms", "apdex", "first_seen", "last_seen", "provisional")
	if err := c.Write(header); err != nil {
		return err
	}
	number := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', 6, 64)
	}
	for _, f := range a.Rows {
		var cells []string
		for _, l := range f.Group {
			cells = append(cells, l.value)
		}
		cells = append(cells, strconv.FormatInt(f.Requests, 10), number(f.RatePerS))
		for _, n := range []int64{f.ServerErrors, f.ClientErrors, f.BytesIn, f.BytesOut} {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		if l := f.Latency; l != nil {
			cells = append(cells, strconv.FormatInt(l.N, 10), number(&l.Mean), number(&l.P50), number(&l.P90), number(&l.P95), number(&l.P99), number(&l.P999), number(l.Max), number(f.Apdex))
		} else {
			cells = append(cells, "0", "", "", "", "", "", "", "", "")
		}
		for _, t := range []*time.Time{f.FirstSeen, f.LastSeen} {
			if t == nil {
				cells = append(cells, "")
			} else {
				cells = append(cells, t.Format(time.RFC3339Nano))
			}
		}
		if err := c.Write(append(cells, strconv.FormatBool(f.provisional))); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"gatewatch/internal/alert"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
)

// Colours, as ANSI escape codes.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// A screen prints lines that stay and, on a terminal, a block below them that
// is drawn again and again.
type screen struct {
	out      io.Writer
	terminal bool
	colours  bool

	mu    sync.Mutex
	block int // lines of the block that is on the terminal
}

func newScreen(out io.Writer, terminal, colours bool) *screen {
	return &screen{out: out, terminal: terminal, colours: terminal && colours}
}

func (s *screen) paint(colour, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// printf prints lines that stay.
func (s *screen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.out, s.erase()+fmt.Sprintf(format, args...))
}

// draw replaces the block. Without a terminal it prints the lines as one.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		var parts []string
		for _, l := range lines {
			if l = strings.Join(strings.Fields(l), " "); l != "" {
				parts = append(parts, l)
			}
		}
		fmt.Fprintln(s.out, strings.Join(parts, " | "))
		return
	}
	var text strings.Builder
	text.WriteString(s.erase())
	for _, l := range lines {
		// A line that wraps would be two when the block is erased.
		text.WriteString(clip(l, s.width()) + "\n")
	}
	s.block = len(lines)
	fmt.Fprint(s.out, text.String())
}

// width returns how many characters fit into a line.
func (s *screen) width() int {
	if f, ok := s.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}

// clip shortens a line to width characters, not counting colours.
func clip(line string, width int) string {
	n := 0
	for i := 0; i < len(line); {
		if line[i] == 0x1b {
			if end := strings.IndexByte(line[i:], 'm'); end >= 0 {
				i += end + 1
				continue
			}
		}
		_, size := utf8.DecodeRuneInString(line[i:])
		if n++; n > width {
			return line[:i] + "\x1b[0m"
		}
		i += size
	}
	return line
}

// erase returns what removes the block.
func (s *screen) erase() string {
	if s.block == 0 {
		return ""
	}
	n := s.block
	s.block = 0
	return fmt.Sprintf("\x1b[%dA\x1b[J", n)
}

// interval is how often the block is drawn, or a line printed.
func (s *screen) interval() time.Duration {
	if s.terminal {
		return time.Second
	}
	return 5 * time.Second
}

const (
	shownRoutes  = 6
	shownClasses = 4
	shownBudgets = 4
	shownAlerts  = 4
)

// view lays a snapshot out; it fits 80 by 24 characters.
func (s *screen) view(snap devstack.Snapshot, note string) []string {
	lines := []string{"", fmt.Sprintf("%s  %s requests/s  p50 %s  p95 %s  p99 %s  errors %s",
		s.paint(dim, snap.At.Format(time.TimeOnly)+" UTC"), s.paint(bold, fmt.Sprintf("%.0f", snap.PerSecond)),
		short(snap.P50), short(snap.P95), short(snap.P99), s.paint(bold, fmt.Sprintf("%.2f %%", 100*snap.Errors)))}
	section := func(name string, rows ...string) {
		for i, r := range rows {
			if i > 0 {
				name = ""
			}
			lines = append(lines, fmt.Sprintf("  %-9s%s", name, r))
		}
	}
	var classes []string
	for _, c := range snap.Classes[:min(shownClasses, len(snap.Classes))] {
		classes = append(classes, fmt.Sprintf("%s %.2f %%", s.paint(classColour(c.Name), c.Name), 100*c.Share))
	}
	for name := "errors"; len(classes) > 0; name = "" { // two in a row
		n := min(2, len(classes))
		section(name, strings.Join(classes[:n], "   "))
		classes = classes[n:]
	}
	complete := "not known yet"
	if !snap.CompleteUntil.IsZero() {
		complete = fmt.Sprintf("complete until %s, %.0f s ago; %d messages on their way", snap.CompleteUntil.Format(time.TimeOnly), snap.At.Sub(snap.CompleteUntil).Seconds(), snap.Lag)
	}
	section("data", complete)
	var routes []string
	for _, r := range snap.Routes[:min(s.rows(shownRoutes), len(snap.Routes))] {
		errs := fmt.Sprintf("%5.1f %% errors", 100*r.Errors)
		if r.Errors > 0.1 {
			errs = s.paint(red, errs)
		}
		routes = append(routes, fmt.Sprintf("%-36s %4.0f/s  p99 %7s %s", r.Name, r.PerSecond, short(r.P99), errs))
	}
	section("routes", routes...)
	slices.SortStableFunc(snap.Budgets, func(a, b devstack.Budget) int { return cmp.Compare(a.Remaining, b.Remaining) })
	var budgets []string
	for _, b := range snap.Budgets[:min(s.rows(shownBudgets), len(snap.Budgets))] {
		budgets = append(budgets, s.budget(b))
	}
	section("budgets", budgets...)
	section("alerts", s.alerts(snap.Alerts)...)
	if note != "" {
		lines = append(lines, "  "+s.paint(yellow, note))
	}
	return lines
}

// rows is how many rows of a list are shown: one where all goes into one line.
func (s *screen) rows(n int) int {
	if s.terminal {
		return n
	}
	return 1
}

func (s *screen) alerts(list []clickhouse.AlertState) []string {
	var rows []string
	for _, a := range list[max(0, len(list)-shownAlerts):] {
		colour := red
		if a.State != string(alert.Firing) {
			colour = dim
		}
		name := a.SLO
		if !strings.HasPrefix(name, a.Service) {
			name += " " + a.Service
		}
		rows = append(rows, fmt.Sprintf("%s %s (%s) since %s", s.paint(colour, a.State), name, a.Severity, a.Since.UTC().Format(time.TimeOnly)))
	}
	if len(rows) == 0 {
		rows = append(rows, s.paint(dim, "none"))
	}
	return rows
}

func (s *screen) budget(b devstack.Budget) string {
	text := fmt.Sprintf("%s %.1f %% left", b.SLO, 100*b.Remaining)
	if !math.IsNaN(b.Burn) {
		text += fmt.Sprintf(", burning %.1fx", b.Burn)
	}
	if b.Remaining < 0.25 {
		return s.paint(red, text)
	}
	return text
}

// classColour tells the server's failures from the client's.
func classColour(class string) string {
	if strings.HasPrefix(class, "client_") {
		return cyan
	}
	return red
}

// short writes a latency with three digits at most.
func short(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.2f s", ms/1000)
	}
}

// bar draws how far something is, from 0 to 1.
func bar(share float64) string {
	const width = 30
	full := int(math.Round(width * min(1, max(0, share))))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

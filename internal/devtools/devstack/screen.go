package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

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

// draw replaces the block. Without a terminal it prints the first line only.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		fmt.Fprintln(s.out, lines[0])
		return
	}
	text := s.erase() + strings.Join(lines, "\n") + "\n"
	s.block = len(lines)
	fmt.Fprint(s.out, text)
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
	shownAlerts  = 5
)

// view lays a snapshot out. The first line says the most on its own.
func (s *screen) view(snap devstack.Snapshot, note string) []string {
	complete := "complete until: not known yet"
	if !snap.CompleteUntil.IsZero() {
		complete = fmt.Sprintf("complete until %s (%.0f s ago)", snap.CompleteUntil.Format(time.TimeOnly), snap.At.Sub(snap.CompleteUntil).Seconds())
	}
	var classes []string
	for _, c := range snap.Classes[:min(shownClasses, len(snap.Classes))] {
		classes = append(classes, fmt.Sprintf("%s %.2f %%", s.paint(classColour(c.Name), c.Name), 100*c.Share))
	}
	first := fmt.Sprintf("%s  %s/s  p50 %s  p95 %s  p99 %s  errors %.2f %%  lag %d  %s",
		s.paint(dim, snap.At.Format(time.TimeOnly)), s.paint(bold, fmt.Sprintf("%.0f", snap.PerSecond)),
		short(snap.P50), short(snap.P95), short(snap.P99), 100*snap.Errors, snap.Lag, complete)
	if !s.terminal {
		return []string{s.plain(first, snap, classes, note)}
	}
	lines := []string{"", first, "  errors   " + strings.Join(classes, "  ")}
	for i, r := range snap.Routes[:min(shownRoutes, len(snap.Routes))] {
		head := "           "
		if i == 0 {
			head = "  routes   "
		}
		errs := fmt.Sprintf("%5.2f %% errors", 100*r.Errors)
		if r.Errors > 0.1 {
			errs = s.paint(red, errs)
		}
		lines = append(lines, fmt.Sprintf("%s%-42s %5.1f/s  p99 %7s  %s", head, r.Name, r.PerSecond, short(r.P99), errs))
	}
	for i, b := range snap.Budgets {
		head := "           "
		if i == 0 {
			head = "  budgets  "
		}
		lines = append(lines, head+s.budget(b))
	}
	for i, a := range snap.Alerts[max(0, len(snap.Alerts)-shownAlerts):] {
		head := "           "
		if i == 0 {
			head = "  alerts   "
		}
		colour := red
		if a.State != "firing" {
			colour = dim
		}
		lines = append(lines, fmt.Sprintf("%s%s %s since %s", head, s.paint(colour, a.State), a.SLO+" ("+a.Severity+")", a.Since.UTC().Format(time.TimeOnly)))
	}
	if note != "" {
		lines = append(lines, "  "+s.paint(yellow, note))
	}
	return lines
}

// plain is the view in one line.
func (s *screen) plain(first string, snap devstack.Snapshot, classes []string, note string) string {
	parts := []string{first}
	if len(classes) > 0 {
		parts = append(parts, strings.Join(classes, ", "))
	}
	if len(snap.Routes) > 0 {
		parts = append(parts, fmt.Sprintf("busiest %s %.0f/s", snap.Routes[0].Name, snap.Routes[0].PerSecond))
	}
	worst := -1
	for i, b := range snap.Budgets {
		if worst < 0 || b.Remaining < snap.Budgets[worst].Remaining {
			worst = i
		}
	}
	if worst >= 0 {
		parts = append(parts, "lowest budget "+s.budget(snap.Budgets[worst]))
	}
	firing := 0
	for _, a := range snap.Alerts {
		if a.State == "firing" {
			firing++
		}
	}
	parts = append(parts, fmt.Sprintf("%d alerts firing", firing))
	if note != "" {
		parts = append(parts, note)
	}
	return strings.Join(parts, " | ")
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

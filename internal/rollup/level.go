package rollup

import "time"

// A Level is one stored series.
type Level struct {
	// Name of the table.
	Name  string
	Grain Grain
	// Keep is how long the level is kept; 0 is for ever.
	Keep time.Duration
}

// Kept reports whether the level still holds everything from from on.
func (l Level) Kept(from, now time.Time) bool {
	return l.Keep == 0 || !from.Before(now.Add(-l.Keep))
}

// maxWindows is how many windows of a grain a question reads at most while a
// coarser level could answer it: 6 h of 10 s, 36 h of 1 m.
const maxWindows = 2160

// Choose returns the finest of levels, which are in order from fine to coarse,
// that still holds the range and is not needlessly fine for its length. If none
// is kept that long it returns the coarsest and false.
func Choose(levels []Level, from, to, now time.Time) (Level, bool) {
	var best Level
	found := false
	for _, l := range levels {
		best = l
		if !l.Kept(from, now) {
			continue
		}
		found = true
		if to.Sub(from) <= maxWindows*time.Duration(l.Grain) {
			break
		}
	}
	return best, found
}

// Cover returns the smallest range of whole windows that holds [from, to).
func (g Grain) Cover(from, to time.Time) (start, end time.Time) {
	start, end = g.Window(from).Start, g.Window(to).Start
	if end.Before(to) {
		end = end.Add(time.Duration(g))
	}
	return start, end
}

// Inside returns the largest range of whole windows inside [from, to). It is
// empty (start = end) if none fits.
func (g Grain) Inside(from, to time.Time) (start, end time.Time) {
	start, end = g.Window(from).Start, g.Window(to).Start
	if start.Before(from) {
		start = start.Add(time.Duration(g))
	}
	if end.Before(start) {
		end = start
	}
	return start, end
}

// Windows returns the windows of grain g that make up [start, end), both of
// which are multiples of it.
func (g Grain) Windows(start, end time.Time) []Window {
	var ws []Window
	for w := g.Window(start); w.Start.Before(end); w = (Window{w.End(), w.Width}) {
		ws = append(ws, w)
	}
	return ws
}

// steps are the widths that a series is shown in.
var steps = [...]time.Duration{
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
}

// Step returns the width, at least g, in which [from, to) makes at most n steps.
func (g Grain) Step(from, to time.Time, n int) time.Duration {
	for _, s := range steps {
		if s >= time.Duration(g) && to.Sub(from) <= time.Duration(n)*s {
			return s
		}
	}
	return steps[len(steps)-1]
}

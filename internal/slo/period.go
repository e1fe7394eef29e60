package slo

import (
	"fmt"
	"strconv"
	"time"
)

// A Calendar is a period that begins at fixed times: every Every Units from Start on.
type Calendar struct {
	Every int
	Unit  byte // d, w, M or Q
	// Start is the beginning of one period, in the time zone that counts.
	Start time.Time
}

// nth returns the beginning of the period that is n after the one of Start.
func (c *Calendar) nth(n int) time.Time {
	n *= c.Every
	switch c.Unit {
	case 'w':
		return c.Start.AddDate(0, 0, 7*n)
	case 'M':
		return c.Start.AddDate(0, n, 0)
	case 'Q':
		return c.Start.AddDate(0, 3*n, 0)
	default:
		return c.Start.AddDate(0, 0, n)
	}
}

// At returns the period that t is in.
func (c *Calendar) At(t time.Time) (from, to time.Time) {
	days := map[byte]float64{'d': 1, 'w': 7, 'M': 30.436875, 'Q': 91.310625}[c.Unit] * float64(c.Every)
	n := int(t.Sub(c.Start).Hours() / 24 / days)
	for ; c.nth(n).After(t); n-- {
	}
	for ; !c.nth(n + 1).After(t); n++ {
	}
	return c.nth(n), c.nth(n + 1)
}

// longest returns the longest time that a period takes.
func (c *Calendar) longest() time.Duration {
	days := map[byte]int{'d': 1, 'w': 7, 'M': 31, 'Q': 92}[c.Unit] * c.Every
	return time.Duration(days) * 24 * time.Hour
}

// PeriodAt returns the period of an objective's budget that t is in.
func (s SLO) PeriodAt(t time.Time) (from, to time.Time) {
	if s.Calendar == nil {
		return t.Add(-s.Period), t
	}
	return s.Calendar.At(t)
}

// PeriodName writes the period for people: "30 d", or "calendar 1M".
func (s SLO) PeriodName() string {
	if s.Calendar == nil {
		return Span(s.Period)
	}
	return fmt.Sprintf("calendar %d%c", s.Calendar.Every, s.Calendar.Unit)
}

// startTimes are the ways of writing a calendar's startTime; OpenSLO's own is the first.
var startTimes = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04", "2006-01-02"}

// readCalendar reads a calendar-aligned time window.
func readCalendar(duration, start, zone string) (*Calendar, error) {
	n, unit, err := splitPeriod(duration)
	if err != nil {
		return nil, err
	}
	if longest := map[byte]int{'d': 92, 'w': 13, 'M': 3, 'Q': 1}[unit]; n > longest {
		return nil, fmt.Errorf("timeWindow.duration %q is longer than a quarter", duration)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("timeWindow.calendar.timeZone %q is no IANA name such as Europe/Berlin", zone)
	}
	for _, layout := range startTimes {
		t, err := time.ParseInLocation(layout, start, loc)
		if err != nil {
			continue
		}
		if t.Year() < 1971 || t.Year() > 2100 {
			return nil, fmt.Errorf("timeWindow.calendar.startTime %q is not from 1971 to 2100", start)
		}
		if day := t.Day(); day > 28 && (unit == 'M' || unit == 'Q') {
			return nil, fmt.Errorf("timeWindow.calendar.startTime: not every month has a day %d", day)
		}
		if t.Minute() != 0 || t.Second() != 0 {
			return nil, fmt.Errorf("timeWindow.calendar.startTime %q is no whole hour", start)
		}
		return &Calendar{n, unit, t.In(loc)}, nil
	}
	return nil, fmt.Errorf("timeWindow.calendar.startTime %q is not like 2026-01-01 00:00:00", start)
}

// splitPeriod reads an OpenSLO duration of days or more: a number and one of d, w, M, Q.
func splitPeriod(text string) (int, byte, error) {
	if text != "" {
		unit := text[len(text)-1]
		n, err := strconv.Atoi(text[:len(text)-1])
		if err == nil && n > 0 && n <= 92 && (unit == 'd' || unit == 'w' || unit == 'M' || unit == 'Q') {
			return n, unit, nil
		}
	}
	return 0, 0, fmt.Errorf("timeWindow.duration %q is not like 30d or 4w", text)
}

// parsePeriod reads the length of a rolling window; M is 28 days, Q is 90.
func parsePeriod(text string) (time.Duration, error) {
	n, unit, err := splitPeriod(text)
	if err != nil {
		return 0, err
	}
	return time.Duration(n*map[byte]int{'d': 1, 'w': 7, 'M': 28, 'Q': 90}[unit]) * 24 * time.Hour, nil
}

// ParseSpan reads a duration in Go's words, in days or in weeks: 90s, 5m, 6h, 3d, 4w.
func ParseSpan(text string) (time.Duration, error) {
	for unit, days := range map[byte]int{'d': 1, 'w': 7} {
		if text == "" || text[len(text)-1] != unit {
			continue
		}
		if n, err := strconv.Atoi(text[:len(text)-1]); err == nil && n > 0 && n*days <= 92 {
			return time.Duration(n*days) * 24 * time.Hour, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q is not like 5m, 6h or 3d", text)
}

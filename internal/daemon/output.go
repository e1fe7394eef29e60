package daemon

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// CheckOutput says whether format, the value of -o, is one of those that a command offers.
func CheckOutput(format string, offered ...string) error {
	if slices.Contains(offered, format) {
		return nil
	}
	return Usagef("-o %s: want %s", format, strings.Join(offered, ", "))
}

// WriteTable writes rows under header, aligned in columns, or as CSV.
func WriteTable(w io.Writer, asCSV bool, header []string, rows [][]string) error {
	if asCSV {
		c := csv.NewWriter(w)
		if err := c.Write(header); err != nil {
			return err
		}
		return c.WriteAll(rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// ParseTime reads the value of --from or --to: RFC 3339, "now", or a span
// before now such as -2h, 90m or 7d.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now.UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	d, err := ParseDuration(strings.TrimPrefix(s, "-"))
	if err != nil || d < 0 {
		return time.Time{}, Usagef("time %q: want RFC 3339 such as 2026-01-02T15:04:05Z, or a span before now such as -2h or 7d", s)
	}
	return now.Add(-d).UTC(), nil
}

// ParseDuration is time.ParseDuration that also knows d (24 h) and y (365 d) as
// leading terms, such as 14d, 2y or 1d12h.
func ParseDuration(s string) (time.Duration, error) {
	rest, sign := s, time.Duration(1)
	if strings.HasPrefix(rest, "-") {
		rest, sign = rest[1:], -1
	}
	var sum time.Duration
	for _, u := range []struct {
		unit byte
		size time.Duration
	}{{'y', 365 * 24 * time.Hour}, {'d', 24 * time.Hour}} {
		i := strings.IndexByte(rest, u.unit)
		if i < 0 {
			continue
		}
		n, err := strconv.ParseUint(rest[:i], 10, 16)
		if err != nil || time.Duration(n) > (1<<63-1-sum)/u.size {
			return 0, fmt.Errorf("duration %q: want for instance 90s, 1h30m, 14d or 2y", s)
		}
		sum += time.Duration(n) * u.size
		rest = rest[i+1:]
		if rest == "" {
			return sign * sum, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > 1<<63-1-sum {
		return 0, fmt.Errorf("duration %q: want for instance 90s, 1h30m, 14d or 2y", s)
	}
	return sign * (sum + d), nil
}

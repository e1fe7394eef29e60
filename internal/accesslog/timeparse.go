package accesslog

import (
	"strings"
	"time"
)

// A TimeReader reads times in the layouts that gateways use. It remembers the
// day and zone that it saw last, because nearly every line repeats them.
type TimeReader struct {
	loc *time.Location
	clf lastDay
	iso [2]lastDay // some lines have a time in UTC and the same in a local zone
}

// lastDay is the day that was read last.
type lastDay struct {
	head string // date and zone, as text
	day  time.Time
}

func (l *lastDay) is(date, zone string) bool {
	return len(l.head) == len(date)+len(zone) && l.head[:len(date)] == date && l.head[len(date):] == zone
}

// NewTimeReader returns a reader that takes times without a zone to be in loc; nil is UTC.
func NewTimeReader(loc *time.Location) TimeReader {
	if loc == nil {
		loc = time.UTC
	}
	return TimeReader{loc: loc}
}

// CLF reads the Common Log Format's 10/Oct/2000:13:55:36 -0700, also with a
// fraction after the seconds, or without zone.
func (r *TimeReader) CLF(s string) (time.Time, bool) {
	// 02/Jan/2006:15:04:05.000 -0700
	if len(s) < 20 || s[11] != ':' {
		return time.Time{}, false
	}
	d, ok := clock(s[12:20])
	if !ok {
		return time.Time{}, false
	}
	f, zone, ok := fraction(s[20:])
	if !ok || zone != "" && (len(zone) != 6 || zone[0] != ' ') {
		return time.Time{}, false
	}
	if !r.clf.is(s[:11], zone) {
		head := s[:11] + zone
		layout := "02/Jan/2006 -0700"[:11+len(zone)]
		day, err := time.ParseInLocation(layout, head, r.loc)
		if err != nil {
			return time.Time{}, false
		}
		r.clf.head, r.clf.day = head, day.UTC()
	}
	return r.at(r.clf.day, d+f, zone), true
}

// fraction cuts a fraction of a second off, after a point or comma.
func fraction(s string) (d time.Duration, rest string, ok bool) {
	if s == "" || s[0] != '.' && s[0] != ',' {
		return 0, s, true
	}
	n := 1
	for n < len(s) && s[n]-'0' <= 9 {
		n++
	}
	scale := time.Second
	for _, c := range []byte(s[1:min(n, 10)]) {
		scale /= 10
		d += scale * time.Duration(c-'0')
	}
	return d, s[n:], n > 1
}

// at returns the time d after midnight of day. Without a zone the day may have
// a change of clocks.
func (r *TimeReader) at(day time.Time, d time.Duration, zone string) time.Time {
	if zone != "" || r.loc == time.UTC {
		return day.Add(d)
	}
	y, m, n := day.In(r.loc).Date()
	return time.Date(y, m, n, 0, 0, int(d/time.Second), int(d%time.Second), r.loc).UTC()
}

// clock reads 15:04:05; second 60 is a leap second.
func clock(s string) (time.Duration, bool) {
	h, ok1 := two(s[0:2])
	m, ok2 := two(s[3:5])
	sec, ok3 := two(s[6:8])
	ok := ok1 && ok2 && ok3 && h < 24 && m < 60 && sec <= 60 && s[2] == ':' && s[5] == ':'
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(sec)*time.Second, ok
}

func two(s string) (int, bool) {
	a, b := s[0]-'0', s[1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

// ISO reads RFC 3339 and its usual kin: a space for the T, a comma for the
// point, a zone without colon, or no zone.
func (r *TimeReader) ISO(s string) (time.Time, bool) {
	if len(s) < 19 || s[10] != 'T' && s[10] != ' ' && s[10] != 't' {
		return time.Time{}, false
	}
	d, ok := clock(s[11:19])
	if !ok {
		return time.Time{}, false
	}
	f, rest, ok := fraction(s[19:])
	if !ok {
		return time.Time{}, false
	}
	last := &r.iso[0]
	if !last.is(s[:10], rest) {
		last = &r.iso[1]
	}
	if !last.is(s[:10], rest) {
		day, ok := r.isoDay(s[:10], strings.TrimSpace(rest))
		if !ok {
			return time.Time{}, false
		}
		*last = r.iso[0]
		last = &r.iso[0]
		last.head, last.day = s[:10]+rest, day
	}
	return r.at(last.day, d+f, rest), true
}

func (r *TimeReader) isoDay(date, zone string) (time.Time, bool) {
	var day time.Time
	var err error
	if date[4] == '/' && date[7] == '/' { // as Go's package log and Caddy's wall times have it
		date = date[:4] + "-" + date[5:7] + "-" + date[8:]
	}
	switch {
	case zone == "":
		day, err = time.ParseInLocation("2006-01-02", date, r.loc)
	case zone == "Z" || zone == "z":
		day, err = time.Parse("2006-01-02", date)
	case len(zone) == 6:
		day, err = time.Parse("2006-01-02-07:00", date+zone)
	case len(zone) == 5:
		day, err = time.Parse("2006-01-02-0700", date+zone)
	default:
		return day, false
	}
	return day.UTC(), err == nil
}

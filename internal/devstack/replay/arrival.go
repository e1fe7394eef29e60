package replay

import (
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/formats"
)

// shuffle is how far lines of a file may be out of order without having come
// late: gateways write a request when it ends, and some files are sorted by its
// beginning. A line that stands further behind the newest one arrived when it is
// its turn.
const shuffle = time.Minute

// arrivals merges files of messages by the time of their arrival, which follows
// from what they tell: a message arrives when what it tells of ends, but no
// earlier than the messages that stand a minute before it in its file.
type arrivals struct {
	files []*arriving
	now   time.Time // of the message before
	// Skipped counts lines without a time, which arrive with the line before.
	Skipped int64
}

// An arriving file holds the lines of a minute.
type arriving struct {
	topic  string
	lines  *lines
	when   func([]byte) (time.Time, bool)
	held   held
	newest time.Time // event
	serial int64
	ended  bool
}

type waiting struct {
	Message
	serial int64
}

// Open returns the folder's messages as a source.
func (f *Folder) Open() (Source, func(), error) {
	a := &arrivals{}
	stop := func() {
		for _, x := range a.files {
			x.lines.close()
		}
	}
	for _, x := range []struct {
		topic string
		files []string
		when  func() (func([]byte) (time.Time, bool), error)
	}{
		{TopicLog, f.Logs, func() (func([]byte) (time.Time, bool), error) { return logTimes(f.LogFormat) }},
		{TopicSpans, f.Spans, func() (func([]byte) (time.Time, bool), error) { return spanEnd, nil }},
		{TopicChanges, f.Changes, func() (func([]byte) (time.Time, bool), error) { return statedTime, nil }},
		{TopicKeys, f.Keys, func() (func([]byte) (time.Time, bool), error) { return statedTime, nil }},
	} {
		for _, path := range x.files {
			when, err := x.when()
			if err != nil {
				return nil, stop, err
			}
			l, err := openLines(path)
			if err != nil {
				return nil, stop, err
			}
			a.files = append(a.files, &arriving{topic: x.topic, lines: l, when: when})
		}
	}
	return a, stop, nil
}

// logTimes reads when requests of a format ended.
func logTimes(format string) (func([]byte) (time.Time, bool), error) {
	if format == "auto" {
		return anyTime, nil
	}
	f, ok := formats.Find(format)
	if !ok {
		return nil, fmt.Errorf("format %s is unknown", format)
	}
	d, err := f.New(accesslog.Options{Location: time.UTC})
	if err != nil {
		return nil, err
	}
	var list accesslog.Entries
	return func(line []byte) (time.Time, bool) {
		list.Reset()
		if err := d.Decode(line, &list); err != nil || list.Len() == 0 {
			return time.Time{}, false
		}
		e := &list.All()[0]
		t := e.Time
		if e.TimeIsStart {
			t = t.Add(e.Latency.Total.V)
		}
		return t, !t.IsZero()
	}, nil
}

// anyTime finds the first RFC 3339 time in a line.
func anyTime(line []byte) (time.Time, bool) {
	for part := range bytes.SplitSeq(line, []byte(`"`)) {
		if len(part) >= 20 && len(part) <= 35 && part[4] == '-' && part[7] == '-' {
			if t, err := time.Parse(time.RFC3339Nano, string(part)); err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// statedTime reads the field time of a JSON object.
func statedTime(line []byte) (time.Time, bool) {
	_, rest, ok := bytes.Cut(line, []byte(`"time"`))
	if !ok {
		return time.Time{}, false
	}
	return anyTime(rest)
}

// spanEnd returns when the last span of an export request ended.
func spanEnd(line []byte) (t time.Time, ok bool) {
	for _, key := range []string{`"endTimeUnixNano"`, `"end_time_unix_nano"`} {
		for rest := line; ; {
			if _, rest, ok = bytes.Cut(rest, []byte(key)); !ok {
				break
			}
			digits := bytes.TrimLeft(rest, `: "`)
			n := 0
			for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
				n++
			}
			if ns, err := strconv.ParseInt(string(digits[:n]), 10, 64); err == nil && time.Unix(0, ns).After(t) {
				t = time.Unix(0, ns).UTC()
			}
		}
	}
	return t, !t.IsZero()
}

// fill reads on until the file holds what is surely the next to arrive.
func (x *arriving) fill(skipped *int64) error {
	for !x.ended && (len(x.held) == 0 || x.newest.Sub(x.held[0].Event) <= shuffle) {
		line, err := x.lines.next()
		if errors.Is(err, io.EOF) {
			x.ended = true
			break
		}
		if err != nil {
			return err
		}
		t, ok := x.when(line)
		if !ok {
			if *skipped++; x.newest.IsZero() {
				continue
			}
			t = x.newest
		}
		if x.serial++; t.After(x.newest) {
			x.newest = t
		}
		heap.Push(&x.held, waiting{Message{Topic: x.topic, Event: t, Value: bytes.Clone(line)}, x.serial})
	}
	return nil
}

// Next implements Source.
func (a *arrivals) Next() (Message, error) {
	var first *arriving
	for _, x := range a.files {
		if err := x.fill(&a.Skipped); err != nil {
			return Message{}, err
		}
		if len(x.held) > 0 && (first == nil || x.held[0].Event.Before(first.held[0].Event)) {
			first = x
		}
	}
	if first == nil {
		return Message{}, io.EOF
	}
	m := heap.Pop(&first.held).(waiting).Message
	if m.Arrived = m.Event; m.Arrived.Before(a.now) {
		m.Arrived = a.now
	}
	a.now = m.Arrived
	return m, nil
}

// held is a heap of messages by event.
type held []waiting

func (h held) Len() int { return len(h) }
func (h held) Less(i, j int) bool {
	if h[i].Event.Equal(h[j].Event) {
		return h[i].serial < h[j].serial
	}
	return h[i].Event.Before(h[j].Event)
}
func (h held) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *held) Push(x any)   { *h = append(*h, x.(waiting)) }
func (h *held) Pop() any {
	old := *h
	m := old[len(old)-1]
	*h = old[:len(old)-1]
	return m
}

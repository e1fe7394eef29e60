package scenario

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/devstack/replay"
)

// A World is shops whose time passes together.
type World struct {
	Labels   []Label
	From, To time.Time
	Requests int64 // made so far

	shops   queue
	all     []*shop
	changes []change
	line    []byte
	waiting []replay.Message
}

// Options say what is made.
type Options struct {
	Seed      uint64
	Scenarios int      // in all
	Days      int      // of the long world; 0: none
	Kinds     []string // empty: all
	// Before, Spread and After are of the short world: how long it is calm before
	// the first incident may begin, how long they may begin after each other, and
	// for how long the world goes on then. Default: 130 m, 70 m, 110 m.
	Before, Spread, After time.Duration
}

func (o *Options) defaults() {
	if o.Before == 0 {
		o.Before, o.Spread, o.After = 130*time.Minute, 70*time.Minute, 110*time.Minute
	}
}

// origin is a Monday, from which all scenarios count.
var origin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// Short makes the world of incidents that need hours only: a shop each, side by
// side.
func Short(o Options) *World {
	o.defaults()
	w := &World{From: origin.Add(9 * time.Hour)}
	w.To = w.From.Add(o.Before + o.Spread + o.After)
	n := 0
	for _, c := range counts(o) {
		if c.kind.weeks {
			continue
		}
		for range c.n {
			n++
			s := newShop(o.Seed, n)
			from := w.From.Add(o.Before + time.Duration(s.rng.Int64N(int64(o.Spread))))
			w.incident(o, s, n, c.kind, from, from.Add(15*time.Minute+time.Duration(s.rng.IntN(30))*time.Minute))
			w.add(s)
		}
	}
	return w
}

// daysBefore is how much of the long world has no incident, for what is usual to
// be known.
const daysBefore = 15

// Long makes the world of many days: a shop without any incident, and shops with
// those that need weeks of history, one in a day and a half.
func Long(o Options) *World {
	w := &World{From: origin, To: origin.Add(time.Duration(o.Days) * 24 * time.Hour)}
	clean := newShop(o.Seed, 900)
	clean.services[0].rate, clean.services[1].rate, clean.shaped = 0.8, 0.2, true
	w.add(clean)
	w.Labels = append(w.Labels, Label{Name: clean.name, Kind: "clean", From: w.From, To: w.To, Note: fmt.Sprintf("%d days without any incident", o.Days)})
	var todo []kind
	for _, c := range counts(o) {
		for range c.n {
			if c.kind.weeks {
				todo = append(todo, c.kind)
			}
		}
	}
	rng := rand.New(rand.NewPCG(o.Seed, 0x10e6))
	rng.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	const every = 36 * time.Hour
	n := 900
	for len(todo) > 0 && o.Days > daysBefore+1 {
		n++
		s := newShop(o.Seed, n)
		s.services[0].rate, s.services[1].rate, s.shaped = 0.85, 0.15, true
		for at := w.From.Add(daysBefore * 24 * time.Hour); at.Add(every).Before(w.To) && len(todo) > 0; at = at.Add(every) {
			from := at.Truncate(24 * time.Hour).Add(time.Duration(10+s.rng.IntN(4))*time.Hour + time.Duration(s.rng.IntN(60))*time.Minute)
			w.incident(o, s, n*100+len(w.Labels), todo[0], from, from.Add(90*time.Minute))
			todo = todo[1:]
		}
		w.add(s)
	}
	return w
}

type kindCount struct {
	kind kind
	n    int
}

// counts shares the scenarios out among the kinds.
func counts(o Options) (list []kindCount) {
	all := slices.Concat(ofWeeks(false, o.Kinds), ofWeeks(true, o.Kinds))
	for i, k := range all {
		n := o.Scenarios / len(all)
		if i < o.Scenarios%len(all) {
			n++
		}
		list = append(list, kindCount{k, n})
	}
	return list
}

func (w *World) incident(o Options, s *shop, n int, k kind, from, to time.Time) {
	l := Label{Name: s.name, Kind: k.name}
	m := &maker{shop: s, rng: rand.New(rand.NewPCG(o.Seed, uint64(n)<<8|0x1d)), v: s.services[0], from: from, to: to, label: &l}
	k.make(m)
	l.From, l.To = m.from, m.to
	w.Labels = append(w.Labels, l)
	w.changes = append(w.changes, m.changes...)
}

func (w *World) add(s *shop) {
	s.at, s.end = float64(w.From.UnixMilli()), float64(w.To.UnixMilli())
	w.all = append(w.all, s)
	if s.advance() {
		heap.Push(&w.shops, s)
	}
	slices.SortFunc(w.changes, func(a, b change) int { return a.at.Compare(b.at) })
}

// Next implements replay.Source.
func (w *World) Next() (replay.Message, error) {
	for {
		if len(w.waiting) > 0 {
			m := w.waiting[0]
			w.waiting = w.waiting[1:]
			return m, nil
		}
		if len(w.shops) == 0 {
			return replay.Message{}, io.EOF
		}
		s := w.shops[0]
		w.messages(&s.q)
		if s.advance() {
			heap.Fix(&w.shops, 0)
		} else {
			heap.Pop(&w.shops)
		}
	}
}

// messages queues what tells of a request.
func (w *World) messages(q *request) {
	at := time.UnixMilli(q.end)
	w.waiting, w.line = w.waiting[:0], w.line[:0]
	for len(w.changes) > 0 && !w.changes[0].at.After(at) {
		c := w.changes[0]
		w.changes = w.changes[1:]
		value := fmt.Sprintf(`{"time":%q,"kind":"deploy","service":%q,"what":%q,"who":"ci"}`, c.at.Format(time.RFC3339), c.service, c.what)
		w.waiting = append(w.waiting, replay.Message{Topic: replay.TopicChanges, Arrived: at, Event: c.at, Value: []byte(value)})
	}
	w.Requests++
	if !q.unlogged {
		w.line = q.appendLog(w.line)
		w.waiting = append(w.waiting, replay.Message{Topic: replay.TopicLog, Arrived: at, Event: at, Value: w.line})
	}
	if q.sampled {
		n := len(w.line)
		w.line = q.appendSpans(w.line)
		w.waiting = append(w.waiting, replay.Message{Topic: replay.TopicSpans, Arrived: at, Event: at, Value: w.line[n:]})
	}
}

// A queue is a heap of shops by the end of their next request.
type queue []*shop

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].q.end < q[j].q.end }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*shop)) }
func (q *queue) Pop() any {
	old := *q
	s := old[len(old)-1]
	*q = old[:len(old)-1]
	return s
}

// WriteFiles writes objectives, owners and OpenAPI documents into the folders slo
// and catalog of dir.
func (w *World) WriteFiles(dir string) error {
	files := map[string]*strings.Builder{}
	file := func(name string) *strings.Builder {
		if files[name] == nil {
			files[name] = &strings.Builder{}
		}
		return files[name]
	}
	for _, s := range w.all {
		slos, teams := file("slo/"+s.name+".yaml"), file("catalog/"+s.name+".yaml")
		for i, v := range s.services {
			if i > 0 {
				slos.WriteString("---\n")
				teams.WriteString("---\n")
			}
			slos.WriteString(v.objectives())
			teams.WriteString(v.entities())
			file("catalog/" + v.name + ".openapi.yaml").WriteString(v.openAPI())
		}
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// objectives are availability and latency, as OpenSLO.
func (v *service) objectives() string {
	slo := func(name, spec, target string) string {
		return fmt.Sprintf(`apiVersion: openslo/v1
kind: SLO
metadata: {name: %[1]s}
spec:
  service: %[2]s
  indicator:
    metadata: {name: %[1]s}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: gatewatch, spec: %[3]s}}
        total: {metricSource: {type: gatewatch, spec: %[3]s}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: %[4]s}]
`, name, v.name, spec, target)
	}
	return slo(v.name+"-availability", "{kind: availability}", "0.999") + "---\n" + slo(v.name+"-latency", "{kind: latency, threshold: 500ms}", "0.99")
}

// entities are the Backstage entities of the service and its teams.
func (v *service) entities() string {
	var text strings.Builder
	fmt.Fprintf(&text, `apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: %s}
spec: {type: service, lifecycle: production, owner: group:default/%s}
`, v.name, v.team)
	teams := []string{v.team}
	for i := range v.routes {
		if t := v.routes[i].team; t != "" {
			teams = append(teams, t)
		}
	}
	for _, t := range teams {
		fmt.Fprintf(&text, `---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: %[1]s
  annotations: {gatewatch/on-call: "https://oncall.example.com/%[1]s", gatewatch/chat: "#%[1]s"}
spec: {type: team, profile: {displayName: %[1]s, email: %[1]s@example.com}, children: []}
`, t)
	}
	return text.String()
}

// openAPI is the service's document, with owners of operations of their own.
func (v *service) openAPI() string {
	var b strings.Builder
	fmt.Fprintf(&b, "openapi: 3.1.0\ninfo: {title: %s, version: \"1\"}\npaths:\n", v.name)
	seen := map[string]bool{}
	for _, r := range v.routes {
		if seen[r.template] {
			continue
		}
		seen[r.template] = true
		fmt.Fprintf(&b, "  %s:\n", r.template)
		for _, op := range v.routes {
			if op.template != r.template {
				continue
			}
			fmt.Fprintf(&b, "    %s:\n", strings.ToLower(op.method))
			if op.team != "" {
				fmt.Fprintf(&b, "      x-owner: %s\n", op.team)
			}
			b.WriteString("      responses: {\"200\": {description: OK}}\n")
		}
	}
	return b.String()
}

package loadgen

import (
	"fmt"
	"strings"
	"time"
)

// newcomerHistory is the length from which a history has newcomers.
const newcomerHistory = 14 * 24 * time.Hour

// A newcomer is a key that is first used within a history.
type newcomer struct {
	since int64 // milliseconds
	// blocked is the outcome of all of its calls; 0 is none: they go as others do.
	blocked int
}

// newcomers makes some rarely used keys begin within [from, to), most of them
// late, and every fourth of them never get through.
func (g *Generator) newcomers(from, to time.Time) {
	length := to.Sub(from)
	if length < newcomerHistory || g.joined != nil {
		return
	}
	keys := map[string]int{}
	for i := range g.shop.Keys {
		keys[g.shop.Keys[i].Consumer]++
	}
	g.joined = map[int]newcomer{}
	for rank, id := range g.order {
		if rank < 150 || rank%9 != 5 || keys[g.shop.Keys[id].Consumer] > 1 {
			continue
		}
		n := newcomer{since: to.Add(-length * time.Duration((rank*37)%90+3) / 100).UnixMilli()}
		if rank%4 == 1 {
			n.blocked = [...]int{auth401, forbidden403, bad422}[rank/36%3]
		}
		g.joined[id] = n
	}
}

// present replaces a key that nobody has yet, and keeps who is blocked from success.
func (g *Generator) present(q *Request) {
	n, ok := g.joined[q.Key.ID]
	switch {
	case !ok:
	case q.End < n.since:
		q.Key = &g.shop.Keys[g.order[q.Key.ID%100]]
	case n.blocked != 0:
		q.outcome = n.blocked
	}
}

// ConsumersCSV is what the shop's portal knows about its keys, as
// `gatewatch-ingest import consumers` reads it. Keys are older than the history
// that was sent, but for its newcomers.
func (f *Feed) ConsumersCSV(begin time.Time) string {
	var b strings.Builder
	b.WriteString("event,key,consumer,plan,tier,owner,time\n")
	for i := range f.shop.Keys {
		k := &f.shop.Keys[i]
		at := begin.Add(-time.Duration(1+i) * time.Hour)
		if n, ok := f.gen.joined[k.ID]; ok {
			at = time.UnixMilli(n.since).Add(-time.Duration(1+k.ID%50) * time.Minute)
		}
		tier := ""
		if k.Plan == "enterprise" {
			tier = "gold"
		}
		fmt.Fprintf(&b, "created,%s,%s,%s,%s,api@%s.example,%s\n", k.Secret, k.Consumer, k.Plan, tier, k.Consumer, at.UTC().Format(time.RFC3339))
	}
	return b.String()
}

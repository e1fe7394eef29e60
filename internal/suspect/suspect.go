// Package suspect tells where a failure comes from: which values of which
// dimensions hold the excess of bad requests over what is usual, and how far the
// failure goes. It is pure statistics over counts of the whole population.
package suspect

import (
	"cmp"
	"math"
	"slices"

	"gatewatch/internal/slo"
)

// The dimensions. Their names are stored and shown.
const (
	Consumer = "consumer"
	Key      = "key" // first 8 hexadecimal digits of its hash
	Plan     = "plan"
	Route    = "route" // METHOD template
	Method   = "method"
	Upstream = "upstream"
	Node     = "node"
	Region   = "region"
	Version  = "version"
)

// order says which dimension explains best where two explain the same.
var order = [...]string{Consumer, Key, Upstream, Node, Version, Region, Route, Plan, Method}

func rankOf(dimension string) int { return slices.Index(order[:], dimension) }

// A Term is one value of one dimension.
type Term struct{ Dimension, Value string }

// A Cell is the requests that share a value of a dimension, or of two. Before
// has no valid requests where nothing is known of the time before.
type Cell struct {
	Where       []Term
	Now, Before slo.Count
	New         bool   // the value had no requests before the failure
	TraceID     string // of one of the bad requests, as 32 hexadecimal digits; may be empty
}

// A Suspect is a cell that holds more of the excess than its share of requests.
type Suspect struct {
	Cell
	Share float64 // of the excess of bad requests, 0 to 1
	Lift  float64 // Share over the share of valid requests

	gain float64 // what knowing the cell tells about which requests are bad, in nats
}

// Value returns the value of a dimension, and false if the suspect has none of it.
func (s Suspect) Value(dimension string) (string, bool) {
	for _, t := range s.Where {
		if t.Dimension == dimension {
			return t.Value, true
		}
	}
	return "", false
}

const (
	minShare  = 0.1  // of the excess
	minLift   = 1.2  // below that a value is hit like all others
	chance    = 1e-4 // of so many bad requests at the mean ratio: the significance cut, small since hundreds of cells are tested
	concentre = 0.8  // share of the excess that makes it "one" of a dimension
	shrink    = 50   // requests by which a cell's own past is drawn to that of all
	maxPaired = 8    // suspects of one dimension whose pairs are looked at
	tie       = 0.98 // of the gain: less apart is alike
)

// A population is all requests of a failure, and what is usual.
type population struct {
	now    slo.Count
	usual  float64
	excess float64
}

func populationOf(now, before slo.Count) population {
	p := population{now: now, usual: before.Ratio()}
	p.excess = float64(now.Bad) - p.usual*float64(now.Valid)
	return p
}

// usualOf is the share of bad requests that is usual in a cell: its own past,
// drawn to that of all requests as far as it had few.
func (p population) usualOf(c *Cell) float64 {
	return (float64(c.Before.Bad) + shrink*p.usual) / (float64(c.Before.Valid) + shrink)
}

// judge returns the suspect that a cell is, and false if it is none.
func (p population) judge(c Cell) (Suspect, bool) {
	if c.Now.Valid == 0 || slices.ContainsFunc(c.Where, func(t Term) bool { return t.Value == "" }) {
		return Suspect{}, false
	}
	usual := p.usualOf(&c)
	bad := float64(c.Now.Bad) - usual*float64(c.Now.Valid)
	s := Suspect{Cell: c, Share: min(1, bad/p.excess)}
	s.Lift = s.Share * float64(p.now.Valid) / float64(c.Now.Valid)
	if s.Share < minShare || s.Lift < minLift || slo.AtLeast(c.Now.Bad, c.Now.Valid, max(p.now.Ratio(), usual)) > chance {
		return Suspect{}, false
	}
	s.gain = gain(min(bad, p.excess), float64(c.Now.Valid), p.excess, float64(p.now.Valid))
	return s, true
}

// gain is the log-likelihood ratio of "bad with another share inside than
// outside" over "bad with the same share everywhere".
func gain(badIn, in, bad, all float64) float64 {
	term := func(n, share float64) float64 {
		if n <= 0 || share <= 0 {
			return 0
		}
		return n * math.Log(share)
	}
	split := func(bad, n float64) float64 {
		if n <= 0 {
			return 0
		}
		r := min(1, bad/n)
		return term(bad, r) + term(n-bad, 1-r)
	}
	return split(badIn, in) + split(bad-badIn, all-in) - split(bad, all)
}

// Singles returns the suspects of one dimension whose pairs may explain better.
func Singles(cells []Cell, now, before slo.Count) []Suspect {
	list := Rank(cells, now, before)
	return list[:min(maxPaired, len(list))]
}

// Rank returns the suspects, strongest first: by how much of which requests are
// bad they explain. now and before are all requests. A cell of two terms is a
// suspect where neither of its terms explains as well: within each, the requests
// that have the other are worse by more than chance.
func Rank(cells []Cell, now, before slo.Count) []Suspect {
	p := populationOf(now, before)
	if p.excess <= 0 {
		return nil
	}
	single := map[Term]Suspect{}
	var list []Suspect
	for _, c := range cells {
		if s, ok := p.judge(c); ok && len(c.Where) == 1 {
			list = append(list, s)
			single[c.Where[0]] = s
		}
	}
	for _, c := range cells {
		if s, ok := p.judge(c); ok && len(c.Where) == 2 && s.refines(single[c.Where[0]]) && s.refines(single[c.Where[1]]) {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Suspect) int { return -cmp.Compare(a.gain, b.gain) })
	// Of those that explain alike, the dimension decides.
	for i := 0; i < len(list); {
		k := i + 1
		for k < len(list) && list[k].gain >= tie*list[i].gain {
			k++
		}
		slices.SortStableFunc(list[i:k], func(a, b Suspect) int { return cmp.Compare(a.preference(), b.preference()) })
		i = k
	}
	return list
}

// preference orders suspects that explain alike: a version that has just come
// is the cause of what its hosts do.
func (s Suspect) preference() int {
	if s.New && s.Where[0].Dimension == Version {
		return -1
	}
	return rankOf(s.Where[0].Dimension) + len(order)*(len(s.Where)-1)
}

// refines tells whether a pair explains more than one of its terms, whose
// suspect is whole (zero: the term is none).
func (s Suspect) refines(whole Suspect) bool {
	return len(whole.Where) > 0 && s.Share >= concentre*whole.Share && float64(s.Now.Valid) <= concentre*float64(whole.Now.Valid) &&
		slo.AtLeast(s.Now.Bad, s.Now.Valid, whole.Now.Ratio()) <= chance
}

// Pairs returns the pairs of values of different dimensions among suspects.
func Pairs(singles []Suspect) [][2]Term {
	var list [][2]Term
	for i, a := range singles {
		for _, b := range singles[i+1:] {
			x, y := a.Where[0], b.Where[0]
			if x.Dimension != y.Dimension {
				list = append(list, [2]Term{x, y})
			}
		}
	}
	return list
}

// Package suspect tells where a failure comes from: which values of which
// dimensions hold the excess of bad requests over what is usual. It is pure
// statistics over counts of the whole population.
package suspect

import (
	"cmp"
	"fmt"
	"slices"

	"gatewatch/internal/slo"
)

// A Cell is the requests that share one value of one dimension, in the failing
// window and in the time before it.
type Cell struct {
	Dimension, Value string
	Now, Before      slo.Count
}

// A Suspect is a value that holds more of the excess than its share of traffic.
type Suspect struct {
	Dimension, Value string
	Share            float64 // of the excess of bad requests
	Lift             float64 // Share over the value's share of valid requests
}

func (s Suspect) String() string {
	return fmt.Sprintf("%s %s (%.0f %% of the excess, %.1fx its share of traffic)", s.Dimension, s.Value, 100*s.Share, s.Lift)
}

const (
	minShare  = 0.1  // of the excess
	minLift   = 1.2  // below that a value is hit like all others
	chance    = 0.01 // of so many bad requests at the mean ratio: the significance cut
	concentre = 0.8  // share of the excess that makes it "one" of a dimension
)

// Rank returns the suspects, strongest first. now and before are all requests.
func Rank(cells []Cell, now, before slo.Count) []Suspect {
	usual := before.Ratio()
	excess := float64(now.Bad) - usual*float64(now.Valid)
	if excess <= 0 {
		return nil
	}
	var list []Suspect
	for _, c := range cells {
		if c.Value == "" || c.Now.Valid == 0 {
			continue
		}
		s := Suspect{Dimension: c.Dimension, Value: c.Value}
		s.Share = (float64(c.Now.Bad) - usual*float64(c.Now.Valid)) / excess
		s.Lift = s.Share * float64(now.Valid) / float64(c.Now.Valid)
		if s.Share < minShare || s.Lift < minLift || slo.AtLeast(c.Now.Bad, c.Now.Valid, now.Ratio()) > chance {
			continue
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Suspect) int {
		return cmp.Or(-cmp.Compare(a.Share*min(a.Lift, 10), b.Share*min(b.Lift, 10)),
			cmp.Compare(a.Dimension, b.Dimension), cmp.Compare(a.Value, b.Value))
	})
	return list
}

// A Reach is how far a failure goes.
type Reach struct {
	Name    string // one_client, one_upstream, one_node, one_region, one_route, gateway or everyone
	Suspect Suspect
}

// reaches lists dimensions in the order in which they explain a failure best.
var reaches = [...]struct{ dimension, name, phrase string }{
	{"consumer", "one_client", "one consumer"},
	{"upstream", "one_upstream", "one upstream"},
	{"node", "one_node", "one gateway node"},
	{"region", "one_region", "one region"},
	{"route", "one_route", "one route"},
}

// Reaches returns the names that a Reach can have.
func Reaches() []string {
	names := []string{"gateway", "everyone"}
	for _, r := range reaches {
		names = append(names, r.name)
	}
	return names
}

// ReachOf returns how far a failure goes by the concentration of the excess.
// gateway says that the gateway itself produced most of the bad responses
// without asking an upstream.
func ReachOf(suspects []Suspect, gateway bool) Reach {
	for _, r := range reaches {
		for _, s := range suspects {
			if s.Dimension == r.dimension && s.Share >= concentre {
				return Reach{r.name, s}
			}
		}
	}
	if gateway {
		return Reach{Name: "gateway"}
	}
	return Reach{Name: "everyone"}
}

func (r Reach) String() string {
	for _, known := range reaches {
		if known.name == r.Name {
			return fmt.Sprintf("%s, %s: %.0f %% of the excess", known.phrase, r.Suspect.Value, 100*min(1, r.Suspect.Share))
		}
	}
	if r.Name == "gateway" {
		return "the gateway itself, for everyone"
	}
	return "everyone: no upstream, node, region, route or consumer stands out"
}

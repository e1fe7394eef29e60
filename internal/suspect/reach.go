package suspect

import (
	"fmt"
	"slices"
	"strings"
)

// A Reach is how far a failure goes.
type Reach struct {
	Name    string // one_client, one_key, one_upstream, one_node, one_version, one_region, one_route, one_plan, gateway or everyone
	Suspect Suspect
}

// reaches lists dimensions by what a failure of one value is called.
var reaches = [...]struct{ dimension, name, phrase string }{
	{Consumer, "one_client", "one consumer"},
	{Key, "one_key", "one key"},
	{Upstream, "one_upstream", "one upstream"},
	{Node, "one_node", "one gateway node"},
	{Version, "one_version", "one version"},
	{Region, "one_region", "one region"},
	{Route, "one_route", "one route"},
	{Plan, "one_plan", "one plan"},
}

// The reaches that are no value of a dimension.
const (
	Gateway  = "gateway"
	Everyone = "everyone"
)

// One returns the name of the reach of a failure of one value of a dimension, ""
// if that has none.
func One(dimension string) string {
	for _, r := range reaches {
		if r.dimension == dimension {
			return r.name
		}
	}
	return ""
}

// Reaches returns the names that a Reach can have.
func Reaches() []string {
	names := []string{Gateway, Everyone}
	for _, r := range reaches {
		names = append(names, r.name)
	}
	return names
}

// ReachOf returns how far a failure goes by the concentration of the excess: the
// strongest suspect that holds most of it. gateway says that the gateway itself
// produced most of the bad responses without asking an upstream.
func ReachOf(suspects []Suspect, gateway bool) Reach {
	for _, s := range suspects {
		if s.Share < concentre {
			continue
		}
		for _, r := range reaches {
			if _, ok := s.Value(r.dimension); ok {
				return Reach{r.name, s}
			}
		}
	}
	if gateway {
		return Reach{Name: Gateway}
	}
	return Reach{Name: Everyone}
}

func (r Reach) String() string {
	for _, known := range reaches {
		if known.name == r.Name {
			value, _ := r.Suspect.Value(known.dimension)
			parts := []string{known.phrase + ", " + value}
			for _, t := range r.Suspect.Where {
				if t.Dimension != known.dimension {
					parts = append(parts, t.String())
				}
			}
			return fmt.Sprintf("%s: %.0f %% of the excess", strings.Join(parts, " with "), 100*r.Suspect.Share)
		}
	}
	if r.Name == Gateway {
		return "the gateway itself, for everyone"
	}
	return "everyone"
}

func (t Term) String() string {
	if t.Dimension == Route { // its value is method and template
		return t.Value
	}
	return t.Dimension + " " + t.Value
}

// Name names a suspect: "POST /v1/charges on upstream pay-2".
func (s Suspect) Name() string {
	parts := make([]string, len(s.Where))
	for i, t := range s.Where {
		parts[i] = t.String()
	}
	if _, ok := s.Value(Route); ok && s.Where[0].Dimension != Route && len(parts) == 2 {
		slices.Reverse(parts)
	}
	return strings.Join(parts, " on ")
}

// phrases say what requests of a dimension's value are.
var phrases = map[string]string{
	Route: "%s", Method: "%s requests", Consumer: "from consumer %s", Key: "with key %s", Plan: "of plan %s",
	Version: "in version %s", Upstream: "on upstream %s", Node: "through node %s", Region: "in region %s",
}

// spoken is the order in which terms are said.
var spoken = [...]string{Route, Method, Consumer, Key, Plan, Version, Upstream, Node, Region}

// Sentence says in words what stands out. what are the bad requests, such as
// "errors".
func Sentence(suspects []Suspect, what string) string {
	if len(suspects) == 0 {
		return "nothing stands out: no route, upstream, node, region, version, plan or consumer has more than its share of the " + what
	}
	s := suspects[0]
	var parts []string
	for _, d := range spoken {
		if v, ok := s.Value(d); ok {
			parts = append(parts, fmt.Sprintf(phrases[d], v))
		}
	}
	return fmt.Sprintf("%.0f %% of the excess %s are %s, %s their usual share", 100*s.Share, what, strings.Join(parts, " "), times(s.Lift))
}

func times(lift float64) string {
	if lift >= 10 {
		return fmt.Sprintf("%.0f times", lift)
	}
	return fmt.Sprintf("%.1f times", lift)
}

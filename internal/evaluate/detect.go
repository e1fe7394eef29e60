package evaluate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/baseline"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// When client errors are everyone's.
const (
	minHit      = 5    // consumers
	minHitShare = 0.3  // of those that are active
	chance      = 1e-3 // above which a rise may be one
)

// mostOfClass is the share of a service's errors of a class that makes them one
// route's.
const mostOfClass = 0.8

func findClientErrors(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for i := range r.Errors {
		if e := &r.Errors[i]; e.everyones() && !e.oneRoutes(r.Errors) && (e.Route == "" || e.isMost(r.Errors)) {
			list = append(list, e.signal())
		}
	}
	return list
}

func (e *ClassShare) usual() float64 {
	if e.UsualRequests == 0 {
		return 0
	}
	return float64(e.UsualErrors) / float64(e.UsualRequests)
}

// everyones tells whether many consumers get the error, more than is usual: twice
// that, and a hundredth at least, of one route half. A route without a past may
// never have answered otherwise.
func (e *ClassShare) everyones() bool {
	least := max(2*e.usual(), 0.01)
	if e.Route != "" {
		if least = max(2*e.usual(), 0.5); e.UsualRequests == 0 || e.usual() > 0.3 {
			return false
		}
	}
	return e.Hit >= minHit && float64(e.Hit) >= minHitShare*float64(e.Active) && slo.AtLeast(e.Errors, e.Requests, least) <= chance
}

// oneRoutes tells whether an error of a service is that of one of its routes.
func (e *ClassShare) oneRoutes(list []ClassShare) bool {
	return e.Route == "" && slices.ContainsFunc(list, func(o ClassShare) bool {
		return o.Service == e.Service && o.Class == e.Class && o.Route != "" && o.everyones() && o.isMost(list)
	})
}

// isMost tells whether a route has most of its service's errors of the class, and
// is not most of the service.
func (e *ClassShare) isMost(list []ClassShare) bool {
	for _, o := range list {
		if o.Service == e.Service && o.Class == e.Class && o.Route == "" {
			return float64(e.Errors) >= mostOfClass*float64(o.Errors) && float64(e.Requests) < mostOfClass*float64(o.Requests)
		}
	}
	return true // the service is not named where no route was found
}

func (e *ClassShare) signal() Signal {
	share := float64(e.Errors) / float64(e.Requests)
	s := Signal{
		Kind: alert.ClientErrors, Service: e.Service, Labels: map[string]string{"error_class": e.Class}, Severity: alert.Page, Since: e.Since, ErrorClass: e.Class,
		Headline: fmt.Sprintf("%s for %s of %s consumers (%s of requests, usual %s)", e.Class, thousands(e.Hit), thousands(e.Active), percent(share), percent(e.usual())),
		Lines: []Line{
			{"Impact", fmt.Sprintf("%s of %s requests in 5 m · %s of %s consumers", thousands(e.Errors), thousands(e.Requests), thousands(e.Hit), thousands(e.Active))},
			{"Reach", "everyone: not one client's mistake, but a certificate, an identity provider, a route or a limit of ours"},
		},
		Reach: &ReachFacts{
			Name: suspect.Everyone, Services: []Hit{{clean(e.Service), e.Errors, e.Requests}}, Consumers: &ConsumerFacts{Affected: e.Hit, Active: e.Active},
		},
		Evidence: map[string]any{"requests": e.Requests, "errors": e.Errors, "consumers_active": e.Active, "consumers_hit": e.Hit, "usual_share": e.usual()},
	}
	if e.Route != "" {
		s.Labels["route"] = e.Route
		s.Headline = clean(e.Route) + " " + s.Headline
		s.Lines[1].Text = "one route, " + clean(e.Route) + ", for all who call it: it was lost, moved or closed"
		one := only(suspect.Route, e.Route)
		s.Reach.Name, s.Reach.Where, s.Reach.Share = one.Name, one.Where, share
		s.Reach.Routes = []Hit{{clean(e.Route), e.Errors, e.Requests}}
	}
	return s
}

// When traffic is lost, or dips.
const (
	lostMinutes = 3
	lostShare   = 0.05
	lostRate    = 60 // requests a minute that must be usual
	dipMinutes  = 15
	dipShare    = 0.5
	riseShare   = 3
	farOff      = 6 // deviations
	needMinutes = 60
)

// usualRate returns how many requests a minute are usual: at this hour of the
// week, or else in the hour before the minutes that are judged.
func (t *Traffic) usualRate(at time.Time, judged int) (rate float64, why string) {
	if b := baseline.New(t.History, baseline.Counts); len(t.History) > 0 {
		if e, ok := b.Expected(at); ok {
			return e.Median / 60, "at this hour of the week"
		}
	}
	before := slices.Clone(t.Minutes[:max(0, len(t.Minutes)-judged)])
	if len(before) < needMinutes {
		return 0, ""
	}
	slices.Sort(before)
	return float64(before[len(before)/2]), "in the hour before"
}

// retired tells whether a service has had no requests for a day: whoever is to
// know has been told, and it is not usual any more that it has some.
func (t *Traffic) retired() bool {
	const day = 24
	n := len(t.History)
	return n >= day && !slices.ContainsFunc(t.History[n-day:], func(p baseline.Point) bool { return p.Value > 0 })
}

// last returns the sum of the newest n minutes.
func (t *Traffic) last(n int) (sum int64) {
	for _, v := range t.Minutes[max(0, len(t.Minutes)-n):] {
		sum += v
	}
	return sum
}

func findTrafficLost(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	apart := map[string]bool{}   // services whose nodes tell nothing more
	for _, s := range r.Silent { // what traces show to be served is not lost: it is not logged
		apart[s.Service] = s.Newest > 0
	}
	var parts []Traffic
	for _, t := range r.Traffic { // services come before their nodes
		if t.Node != "" {
			parts = append(parts, t)
		} else if s, ok := t.lost(r.At); ok && !apart[t.Service] {
			apart[t.Service] = true
			list = append(list, s)
		}
	}
	parts = slices.DeleteFunc(parts, func(t Traffic) bool { return apart[t.Service] })
	silent := map[string]bool{}
	for _, t := range slices.Concat(wholeNodes(parts), parts) {
		if s, ok := t.lost(r.At); ok && !silent[t.Node] {
			silent[t.Node] = t.Service == allServices
			list = append(list, s)
		}
	}
	return list
}

// lost returns the signal that traffic has gone, if it has.
func (t *Traffic) lost(at time.Time) (Signal, bool) {
	rate, why := t.usualRate(at, lostMinutes)
	if rate < lostRate || len(t.Minutes) < lostMinutes || t.retired() {
		return Signal{}, false
	}
	since := at
	for i := len(t.Minutes) - 1; i >= 0 && float64(t.Minutes[i]) < lostShare*rate; i-- {
		since = since.Add(-time.Minute)
	}
	if at.Sub(since) < lostMinutes*time.Minute {
		return Signal{}, false
	}
	sig := Signal{
		Kind: alert.TrafficLost, Service: t.Service, Severity: alert.Page, Since: since,
		Headline: fmt.Sprintf("traffic lost: %d a minute, %.0f requests are usual %s", t.last(lostMinutes)/lostMinutes, rate, why),
		Lines:    []Line{{"Impact", fmt.Sprintf("about %s requests are missing since %s UTC", thousands(int64(rate*at.Sub(since).Minutes())), since.UTC().Format("15:04"))}, {"Reach", "the whole service; Kafka is complete, so they were not logged or never came"}},
		Reach:    &ReachFacts{Name: suspect.Everyone, Services: []Hit{{Name: clean(t.Service)}}},
		Evidence: map[string]any{"usual_per_minute": rate, "usual": why, "minutes": t.Minutes[max(0, len(t.Minutes)-10):]},
	}
	if t.Node != "" {
		sig.Labels = map[string]string{"node": t.Node}
		sig.Reach = only(suspect.Node, t.Node)
		sig.Headline = strings.Replace(sig.Headline, "traffic lost", "node "+clean(t.Node)+" is silent", 1)
		sig.Lines[1].Text = "node " + clean(t.Node) + " alone"
	}
	return sig, true
}

// allServices is the name of what concerns a node whatever it serves: that under
// which gateways report their own spans.
const allServices = "gateway"

// wholeNodes returns the traffic of each node that serves several services, summed.
func wholeNodes(parts []Traffic) []Traffic {
	var nodes []Traffic
	count, at := map[string]int{}, map[string]int{}
	for _, t := range parts {
		count[t.Node]++
		i, ok := at[t.Node]
		if !ok {
			i = len(nodes)
			at[t.Node] = i
			nodes = append(nodes, Traffic{Service: allServices, Node: t.Node, Minutes: make([]int64, len(t.Minutes))})
		}
		for k := range min(len(t.Minutes), len(nodes[i].Minutes)) {
			nodes[i].Minutes[k] += t.Minutes[k]
		}
	}
	return slices.DeleteFunc(nodes, func(t Traffic) bool { return count[t.Node] < 2 })
}

func findTrafficDips(c SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, t := range r.Traffic {
		if t.Node != "" || len(t.Minutes) < dipMinutes {
			continue
		}
		e, ok := baseline.New(t.History, baseline.Counts).Expected(r.At)
		if !ok || e.Median/60 < lostRate {
			continue
		}
		now := float64(t.last(dipMinutes)) / dipMinutes
		if usual := e.Median / 60; now < dipShare*usual && now >= lostShare*usual && -e.Part(dipMinutes/60.0).Score(now*dipMinutes) > farOff {
			list = append(list, dip(c, &t, r.At, now, usual))
		}
	}
	return list
}

func dip(c SignalsConfig, t *Traffic, at time.Time, now, usual float64) Signal {
	s := Signal{
		Kind: alert.TrafficDip, Service: t.Service, Severity: alert.Ticket, Since: at.Add(-dipMinutes * time.Minute),
		Headline: fmt.Sprintf("traffic dip: %.0f requests a minute, %.0f are usual at this hour of the week", now, usual),
		Lines:    []Line{{"Impact", fmt.Sprintf("about %s requests an hour fewer than usual", thousands(int64(60*(usual-now))))}},
		Evidence: map[string]any{"per_minute": now, "usual_per_minute": usual},
	}
	if v, ok := c.RequestValue[t.Service]; ok {
		atRisk := v.Value * 60 * (usual - now)
		s.Lines[0].Text += fmt.Sprintf(" · about %s %s/h at risk", thousands(int64(atRisk)), v.Currency)
		s.Evidence["value_at_risk_per_hour"] = atRisk
	}
	return s
}

func findUnusualTraffic(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, t := range r.Traffic {
		if t.Node != "" || len(t.Minutes) < dipMinutes {
			continue
		}
		e, ok := baseline.New(t.History, baseline.Counts).Expected(r.At)
		now := float64(t.last(dipMinutes)) / dipMinutes
		if usual := e.Median / 60; ok && now > riseShare*usual && now >= lostRate && e.Part(dipMinutes/60.0).Score(now*dipMinutes) > farOff {
			list = append(list, Signal{
				Kind: alert.UnusualTraffic, Service: t.Service, Severity: alert.Ticket, Since: r.At.Add(-dipMinutes * time.Minute),
				Headline: fmt.Sprintf("unusual traffic: %.0f requests a minute, %.0f are usual at this hour of the week", now, usual),
				Evidence: map[string]any{"per_minute": now, "usual_per_minute": usual},
			})
		}
	}
	return list
}

// minRefused is how many requests a breaker must refuse in a minute.
const minRefused = 3

func findBreakers(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, b := range r.Breakers {
		if b.Refused < minRefused {
			continue
		}
		sig := Signal{
			Kind: alert.Breaker, Service: b.Service, Severity: alert.Ticket, Since: b.Since, ErrorClass: "breaker_open",
			Lines:    []Line{{"Impact", fmt.Sprintf("%s of %s requests of the last minute were refused without reaching the upstream", thousands(b.Refused), thousands(b.Requests))}},
			Evidence: map[string]any{"requests": b.Requests, "refused": b.Refused},
		}
		switch route := clean(b.Route); {
		case b.Route != "":
			sig.Labels, sig.Headline = map[string]string{"route": b.Route}, "circuit breaker open for "+route
			sig.Reach = only(suspect.Route, b.Route)
			sig.Reach.Routes = []Hit{{route, b.Refused, b.Requests}}
		case b.Upstream != "":
			sig.Labels, sig.Headline = map[string]string{"upstream": b.Upstream}, fmt.Sprintf("a circuit breaker seems open: quick failures followed those of %s", clean(b.Upstream))
			sig.Reach = only(suspect.Upstream, b.Upstream)
		default:
			sig.Headline = "a circuit breaker seems open: quick failures followed those of the upstream"
			sig.Reach = &ReachFacts{Name: suspect.Everyone}
		}
		if b.Route == "" {
			sig.Lines[0].Text = fmt.Sprintf("%s of %s requests since then were refused without reaching the upstream", thousands(b.Refused), thousands(b.Requests))
			sig.Evidence["inferred"] = true
		}
		list = append(list, sig)
	}
	return list
}

// When one consumer fails alone.
const (
	minUse      = 20
	failsMostly = 0.5
	othersFail  = 0.1
)

func findConsumersFailing(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, u := range r.Users {
		if u.Requests < minUse || float64(u.Failed) < failsMostly*float64(u.Requests) ||
			float64(u.OthersFails) > othersFail*float64(u.OthersRequests) || slo.AtLeast(u.Failed, u.Requests, othersFail) > chance {
			continue
		}
		who := clean(u.Consumer)
		if u.Plan != "" {
			who += " (" + clean(u.Plan) + ")"
		}
		list = append(list, Signal{
			Kind: alert.ConsumerFailing, Service: u.Service, Labels: map[string]string{"consumer": u.Consumer}, Severity: alert.Ticket, Since: u.Since, ErrorClass: u.Class,
			Owner: theirs(u.Class, r.Owners[u.Consumer]), Reach: only(suspect.Consumer, u.Consumer),
			Headline: fmt.Sprintf("%s fails: %s of its requests, mostly %s", who, percent(float64(u.Failed)/float64(u.Requests)), u.Class),
			Lines: []Line{
				{"Impact", fmt.Sprintf("%s of %s requests in 15 m", thousands(u.Failed), thousands(u.Requests))},
				{"Reach", fmt.Sprintf("one client; %s of the others' requests fail", percent(float64(u.OthersFails)/float64(max(1, u.OthersRequests))))},
			},
			Evidence: map[string]any{"requests": u.Requests, "failed": u.Failed, "others_requests": u.OthersRequests, "others_failed": u.OthersFails, "class": u.Class},
		})
	}
	return list
}

// theirs returns the consumer's owner for failures that are the client's doing;
// others stay with the service's.
func theirs(class, owner string) string {
	if strings.HasPrefix(class, "client_") {
		return owner
	}
	return ""
}

// minHourly is how many requests an hour a use must have to be unusual.
const minHourly = 100

func findUnusualUse(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, u := range r.Hours {
		e, ok := baseline.New(u.History, baseline.Counts).Expected(u.Hour)
		if !ok || max(float64(u.Now), e.Median) < minHourly || e.Score(float64(u.Now)) < farOff && -e.Score(float64(u.Now)) < farOff {
			continue
		}
		if now := float64(u.Now); now < riseShare*e.Median && now > e.Median/riseShare {
			continue
		}
		list = append(list, Signal{
			Kind: alert.UnusualUse, Labels: map[string]string{"consumer": u.Consumer}, Severity: alert.Ticket, Since: u.Hour, Owner: r.Owners[u.Consumer], Reach: only(suspect.Consumer, u.Consumer),
			Headline: fmt.Sprintf("unusual use by %s: %s requests an hour, %s are usual", clean(u.Consumer), thousands(u.Now), thousands(int64(e.Median))),
			Evidence: map[string]any{"hour": u.Hour.UTC(), "requests": u.Now, "usual": e.Median},
		})
	}
	return list
}

func findQuotas(c SignalsConfig, r *Readings) []Signal {
	var list []Signal
	month := time.Date(r.At.Year(), r.At.Month(), 1, 0, 0, 0, 0, time.UTC)
	end := month.AddDate(0, 1, 0)
	for _, u := range r.Periods {
		quota := cmp.Or(c.Quotas[u.Plan], u.Quota)
		if quota <= 0 || u.LastDay <= 0 {
			continue
		}
		gone := r.At.Add(time.Duration(float64(quota-u.Used) / float64(u.LastDay) * 24 * float64(time.Hour)))
		if !gone.Before(end) {
			continue
		}
		headline := fmt.Sprintf("%s will use up its quota on %s", clean(u.Consumer), gone.UTC().Format(time.DateOnly))
		if u.Used >= quota {
			headline = fmt.Sprintf("%s has used up its quota", clean(u.Consumer))
		}
		list = append(list, Signal{
			Kind: alert.QuotaForecast, Labels: map[string]string{"consumer": u.Consumer, "plan": u.Plan}, Severity: alert.Ticket, Since: r.At.Truncate(time.Hour),
			Headline: headline, Owner: r.Owners[u.Consumer], Reach: only(suspect.Consumer, u.Consumer),
			Lines:    []Line{{"Impact", fmt.Sprintf("%s of %s requests of plan %s are used, %s in the last day", thousands(u.Used), thousands(quota), clean(u.Plan), thousands(u.LastDay))}},
			Evidence: map[string]any{"used": u.Used, "quota": quota, "last_day": u.LastDay, "gone": gone.UTC()},
		})
	}
	return list
}

// only is the reach of what is about one value of a dimension.
func only(dimension, value string) *ReachFacts {
	return &ReachFacts{Name: suspect.One(dimension), Where: map[string]string{dimension: clean(value)}, Share: 1}
}

// nearSunset is how long before the end of a version its users are a signal.
const nearSunset = 30 * 24 * time.Hour

func findSunsets(c SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, v := range c.Sunsets {
		end, err := time.Parse(time.DateOnly, v.Date)
		if err != nil {
			continue
		}
		for _, u := range r.Versions {
			if u.Service == v.Service && u.Version == v.Version {
				list = append(list, sunset(r.At, end, u)...)
			}
		}
	}
	for _, u := range r.Deprecated {
		list = append(list, sunset(r.At, u.Sunset, u.VersionUse)...)
	}
	return list
}

// sunset is the signal of a version or route that is near its end and still used.
func sunset(at, end time.Time, u VersionUse) []Signal {
	if u.Keys == 0 || end.Sub(at) > nearSunset {
		return nil
	}
	labels, what := map[string]string{"version": u.Version}, "version "+clean(u.Version)
	if u.Version == "" {
		labels, what = map[string]string{"route": u.Route}, clean(u.Route)
	}
	when := fmt.Sprintf("ends in %d days", int(end.Sub(at).Hours()/24))
	if !end.After(at) {
		when = "ended on " + end.Format(time.DateOnly)
	}
	return []Signal{{
		Kind: alert.Sunset, Service: u.Service, Labels: labels, Severity: alert.Ticket, Since: at.Truncate(24 * time.Hour),
		Headline: fmt.Sprintf("%d keys still call %s, which %s", u.Keys, what, when),
		Lines:    []Line{{"Impact", fmt.Sprintf("%s requests in 7 d", thousands(u.Requests))}},
		Evidence: map[string]any{"keys": u.Keys, "requests": u.Requests, "sunset": end.Format(time.DateOnly)},
	}}
}

// When requests are served and not logged.
const (
	minSpans   = 20 // of served requests
	gapMinutes = 10
)

func findLoggingGaps(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, s := range r.Silent {
		if s.Spans < minSpans || r.At.Sub(s.Last) < gapMinutes*time.Minute {
			continue
		}
		list = append(list, Signal{
			Kind: alert.LoggingGap, Service: s.Service, Severity: alert.Ticket, Since: s.Last.Truncate(time.Minute),
			Headline: "traces come, the access log does not",
			Lines:    []Line{{"Impact", fmt.Sprintf("%s requests of the last 10 m are in traces and in no access log: objectives of %s are not judged", thousands(s.Spans), clean(s.Service))}},
			Evidence: map[string]any{"spans": s.Spans, "last_request": s.Last.UTC()},
		})
	}
	return list
}

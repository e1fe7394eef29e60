package evaluate

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatewatch/internal/layer"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

const (
	maxFirstLine = 110 // characters
	maxLines     = 25
	maxPage      = 4096 // bytes
	maxName      = 60   // characters of a name from outside
	maxLinked    = 100  // bytes of a value in a link
	shownParts   = 3
	minCell      = 20 // requests of a value that "all" speaks of
)

// A page is made line by line; what is not known is left out.
type page struct{ lines []string }

func (p *page) add(name, format string, args ...any) {
	p.lines = append(p.lines, strings.TrimRight(fmt.Sprintf("%-9s", name)+fmt.Sprintf(format, args...), " "))
}

func (p *page) text() string {
	return cut(strings.Join(p.lines[:min(maxLines, len(p.lines))], "\n"), maxPage)
}

func (p *page) steps(found runbook.Found, vars map[string]string) {
	for i, step := range found.Steps(vars) {
		name := ""
		if i == 0 {
			name = "DO NOW"
		}
		p.add(name, "%d %s", i+1, step)
	}
}

func (p *page) runbook(found runbook.Found, base string, vars map[string]string) {
	if found.Runbook != nil {
		p.add("Runbook", "%s § %s; %s %s", found.Runbook.Name, found.Section.Title, found.Reason, link(found, base, vars))
	}
}

// link leads to the runbook with the values of the alert, but for those that
// would make it longer than a page bears.
func link(found runbook.Found, base string, vars map[string]string) string {
	short := maps.Clone(vars)
	maps.DeleteFunc(short, func(_, v string) bool { return len(v) > maxLinked })
	return found.Link(base, short)
}

// text writes the page for people. Line 1 fits a lock screen; no line holds a
// client address, a raw path or a query.
func (f *finding) text(c Config) string {
	st, ev := &f.status, &f.evidence
	p := page{lines: []string{f.first()}}
	p.add("Impact", "%s", f.impact())
	if len(ev.Cells) > 0 {
		p.add("Reach", "%s", shorten(tidy(f.reach.String()), maxFirstLine)+f.breadth())
	}
	f.failing(&p)
	f.changed(&p)
	f.suspected(&p)
	vars := f.vars()
	p.steps(f.runbook, vars)
	p.runbook(f.runbook, c.RunbookBase(), vars)
	p.add("Owner", "%s", ownerLine(f.owner))
	if f.consumer.Team.Name != "" {
		who, _ := f.reach.Suspect.Value(suspect.Consumer)
		p.add("", "%s belongs to %s", clean("consumer "+who), ownerLine(owner.Answer{Team: f.consumer.Team}))
	}
	f.layers(&p)
	f.budget(&p)
	p.add("Data", "complete until %s, %s before sending%s", f.complete.UTC().Format(time.TimeOnly), age(max(0, f.now.Sub(f.complete))), f.effective())
	p.add("Links", "%s", strings.Join(c.links(st, f.runbook, vars, f.traces()), " · "))
	return p.text()
}

// links are where a page leads to.
func (c Config) links(st *Status, found runbook.Found, vars map[string]string, traces []string) []string {
	list := []string{fmt.Sprintf("`gatewatch-alert explain %s`", st.ID), "evidence " + c.alertURL(st.ID)}
	if c.Grafana != "" {
		list = append(list, c.dashboards(st, found, vars)...)
	}
	switch {
	case len(traces) > 0 && c.TraceURL != "":
		list = append(list, "trace "+strings.ReplaceAll(c.TraceURL, "{trace_id}", traces[0]))
	case len(traces) > 0:
		list = append(list, "trace "+traces[0])
	}
	if len(c.Alertmanagers) > 0 {
		list = append(list, "silence "+strings.TrimRight(c.Alertmanagers[0], "/")+"/#/silences/new?filter="+url.QueryEscape(silenced(st)))
	}
	return list
}

// Dashboards are the uids of those that gatewatch ships.
func Dashboards() []string {
	return []string{
		"gw-consumer", "gw-consumers", boardIncident, "gw-inventory", "gw-oncall", "gw-overview",
		"gw-pipeline", "gw-product", boardRequests, "gw-security", "gw-service", "gw-slo",
	}
}

// The dashboards that pages lead to.
const (
	boardIncident = "gw-incident"
	boardRequests = "gw-requests"
)

// shownBefore is how long before the onset a linked dashboard begins, to show
// what was usual.
const shownBefore = 30 * time.Minute

// dashboards are the incident's and that which the runbook names, else the
// failing requests. Their range ends now: who is paged looks at what goes on.
func (c Config) dashboards(st *Status, found runbook.Found, vars map[string]string) []string {
	board := func(uid string, values url.Values) string {
		values.Set("from", strconv.FormatInt(st.Since.Add(-shownBefore).UnixMilli(), 10))
		values.Set("to", "now")
		return strings.TrimRight(c.Grafana, "/") + "/d/" + uid + "?" + values.Encode()
	}
	list := []string{"dashboard " + board(boardIncident, url.Values{"var-alert": {st.ID}})}
	with := func(names ...string) url.Values {
		values := url.Values{}
		for _, name := range names {
			if v := vars[name]; v != "" && len(v) <= maxLinked {
				values.Set("var-"+name, v)
			}
		}
		return values
	}
	switch {
	case found.Runbook == nil || found.Runbook.Dashboard == "":
		return append(list, "failing requests "+board(boardRequests, with("service", "error_class")))
	case runbook.IsURL(found.Runbook.Dashboard):
		return append(list, found.Runbook.Dashboard)
	default:
		return append(list, board(found.Runbook.Dashboard, with("service", "consumer")))
	}
}

// impact says how much fails, for whom, and what it costs.
func (f *finding) impact() string {
	ev := &f.evidence
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s requests in %s", thousands(ev.Now.Bad), thousands(ev.Now.Valid), age(ev.To.Sub(ev.From)))
	if times, _ := f.times(); f.traffic() == "surge" {
		fmt.Fprintf(&b, ", %.1f times as many as in the hour before", times)
	}
	if ev.ActiveConsumers > 0 {
		fmt.Fprintf(&b, " · %s of %s consumers", thousands(ev.Consumers), thousands(ev.ActiveConsumers))
		for _, p := range ev.Plans[:min(1, len(ev.Plans))] {
			if p.Affected > 0 && p.Affected < ev.Consumers {
				fmt.Fprintf(&b, ", %s %s", thousands(p.Affected), clean(p.Name))
			}
		}
	}
	for _, v := range f.atRisk[:min(shownCurrencies, len(f.atRisk))] {
		fmt.Fprintf(&b, " · about %s %s/h at risk", thousands(int64(math.Round(v.PerHour))), v.Currency)
		if v.Low != nil {
			fmt.Fprintf(&b, " (%s-%s)", thousands(int64(math.Round(*v.Low))), thousands(int64(math.Round(*v.High))))
		}
	}
	if w := ev.WeekAgo; w.Valid > 0 && w.Ratio() > ev.Now.Ratio()/2 {
		fmt.Fprintf(&b, " · a week ago at this time %s", percent(w.Ratio()))
	}
	return b.String()
}

// shownCurrencies is how many amounts a page names.
const shownCurrencies = 2

// suspected names what stands out, or says that nothing does.
func (f *finding) suspected(p *page) {
	sentence := f.sentence()
	if len(f.suspects) == 0 {
		if sentence != "" {
			p.add("Suspects", "%s", sentence)
		}
		return
	}
	var parts []string
	for i, s := range named(f.suspects[:min(shownParts, len(f.suspects))]) {
		parts = append(parts, fmt.Sprintf("%d %s (%.0f %%, %s)", i+1, s.Name(), 100*s.Share, lift(s.Lift)))
	}
	p.add("Suspects", "%s", strings.Join(parts, "  "))
	p.add("", "%s", sentence)
}

// silenced are the matchers that a silence of an alert takes.
func silenced(st *Status) string {
	m := fmt.Sprintf("slo=%q", st.SLO.Name)
	switch {
	case st.Signal != nil:
		m += fmt.Sprintf(",service=%q", st.SLO.Service)
		var more strings.Builder
		for _, name := range slices.Sorted(maps.Keys(st.Signal.Labels)) {
			fmt.Fprintf(&more, ",%s=%q", name, st.Signal.Labels[name])
		}
		m += more.String()
	case st.Group != "":
		m += fmt.Sprintf(",%s=%q", st.SLO.Group, st.Group)
	}
	return "{" + m + "}"
}

// first is line 1: whatever it says fits, and only the name of what fails is
// shortened for that.
func (f *finding) first() string {
	st, ev := &f.status, &f.evidence
	what, how := fmt.Sprintf("%s %s", st.SLO.SLI.Kind, st.SLO.Percent()), "failing"
	if st.SLO.SLI.Kind == slo.Latency {
		what, how = fmt.Sprintf("latency %s under %s", st.SLO.Percent(), st.SLO.SLI.Threshold), "slower"
	}
	rest := fmt.Sprintf(" %s: %s %s", what, percent(ev.Now.Ratio()), how)
	if st.Usual.Valid > 0 {
		rest += fmt.Sprintf(" (usual %s)", percent(st.Usual.Ratio()))
	}
	rest += fmt.Sprintf(" since %s UTC, ongoing", st.Since.UTC().Format("15:04"))
	head := "[" + strings.ToUpper(st.Severity.String()) + "] "
	name := st.SLO.Service
	switch {
	case st.SLO.SLI.Route != "":
		name += " " + strings.TrimSpace(st.SLO.SLI.Method+" "+st.SLO.SLI.Route)
	case st.Group == slo.Other:
		name += fmt.Sprintf(" (other %ss)", st.SLO.Group)
	case st.SLO.Group == slo.ByRoute:
		name += " " + st.Group
	case st.Group != "":
		name += fmt.Sprintf(" for %s %s", st.SLO.Group, st.Group)
	}
	return head + shorten(tidy(name), maxFirstLine-utf8.RuneCountInString(head+rest)) + rest
}

// breadth says over which dimensions the failure is spread evenly.
func (f *finding) breadth() string {
	mean := f.evidence.Now.Ratio()
	var text strings.Builder
	for _, dim := range []struct{ name, plural string }{{"region", "all regions"}, {"node", "all nodes"}} {
		if _, one := f.reach.Suspect.Value(dim.name); one {
			continue
		}
		n, all := 0, true
		for _, c := range f.evidence.Cells {
			if len(c.Where) == 1 && c.Where[0].Dimension == dim.name && c.Where[0].Value != "" && c.Now.Valid >= minCell {
				n++
				all = all && c.Now.Ratio() > mean/2
			}
		}
		if n > 1 && all {
			text.WriteString(", " + dim.plural)
		}
	}
	if text.String() == "" {
		return ""
	}
	return ";" + text.String()[1:]
}

func (f *finding) failing(p *page) {
	ev := &f.evidence
	if f.status.SLO.SLI.Kind == slo.Latency || len(ev.Classes) == 0 {
		return
	}
	var parts []string
	for _, c := range ev.Classes[:min(shownParts, len(ev.Classes))] {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", c.Name, 100*c.Share))
	}
	how := "inferred from status and times"
	if ev.Stated > 0.9 {
		how = "stated by the gateway"
	} else if ev.Stated > 0.1 {
		how = fmt.Sprintf("%.0f %% stated by the gateway, else inferred", 100*ev.Stated)
	}
	line := fmt.Sprintf("%s (%s)", strings.Join(parts, ", "), how)
	if len(ev.Responders) > 0 && ev.Responders[0].Name == "upstream" && ev.Responders[0].Share > 0.95 {
		line += "; the gateway itself is fine"
	}
	p.add("Failing", "%s", line)
}

func (f *finding) changed(p *page) {
	var parts []string
	list := f.changes()
	for _, c := range list {
		if c.Kind == firstSeen && slices.ContainsFunc(list, func(o ChangeFacts) bool {
			return o.Kind == deploy && strings.Contains(o.What, strings.TrimPrefix(c.What, suspect.Version+" "))
		}) {
			continue // the release says so
		}
		when := age(time.Duration(c.BeforeS)*time.Second) + " before onset"
		if c.BeforeS < float64(evidenceGrain) {
			when = "at onset"
		}
		what := changeName(c.Kind) + " " + c.What
		if c.Kind == firstSeen {
			what = c.What + " first seen"
		}
		parts = append(parts, fmt.Sprintf("%s %s, %s", c.Time.Format("15:04"), what, when))
	}
	if len(parts) > 0 {
		p.add("Changed", "%s", strings.Join(parts[:min(shownParts, len(parts))], "  "))
	}
}

// evidenceGrain is the seconds to which an onset is known.
const evidenceGrain = 10

// changeName says a kind of change in words.
func changeName(kind string) string {
	switch kind {
	case deploy:
		return "release"
	case "key_policy":
		return "policy"
	}
	return strings.ReplaceAll(kind, "_", " ")
}

// layers says what the layers added, of those that a person can do something about.
func (f *finding) layers(p *page) {
	facts := f.layerFacts()
	if facts == nil {
		return
	}
	traced := slices.ContainsFunc(facts.Layers, func(l LayerTime) bool { return l.Name == layer.Service })
	var parts []string
	for _, l := range facts.Layers {
		// The upstream is service, database and others together.
		if l.Name == layer.Upstream && traced {
			continue
		}
		at := ""
		if len(parts) == 0 {
			at = " at p95"
		}
		parts = append(parts, fmt.Sprintf("%s %s%s", l.Name, rise(time.Duration((l.NowMS-l.BeforeMS)*float64(time.Millisecond))), at))
	}
	if f.verdict.Errors != "" && f.status.SLO.SLI.Kind != slo.Latency {
		parts = append(parts, "errors begin in the "+f.verdict.Errors)
	}
	if len(parts) == 0 {
		return
	}
	basis := "by the logs of all requests"
	if facts.Traces > 0 {
		basis = fmt.Sprintf("%s of requests have a trace, n = %s", percent(facts.Sampled), thousands(facts.Traces))
	}
	p.add("Layers", "%s (%s)", strings.Join(parts, ", "), basis)
}

// effective names the latency that is counted by, where it is not the stated one.
func (f *finding) effective() string {
	if f.status.SLO.SLI.Kind != slo.Latency {
		return ""
	}
	_, edge := f.status.SLO.SLI.Bucket()
	return fmt.Sprintf("; counted as slower than %s", edge.Round(10*time.Microsecond))
}

func (f *finding) budget(p *page) {
	st := &f.status
	line := fmt.Sprintf("burn %.0fx (%s), %.0fx (%s)", st.SLO.Burn(st.Long), slo.Span(st.Window.Long), st.SLO.Burn(st.Short), slo.Span(st.Window.Short))
	left := st.SLO.Remaining(st.Period)
	if left <= 0 {
		line += fmt.Sprintf("; spent: %.0f %% of %s", 100*(1-left), st.SLO.PeriodName())
	} else {
		line += fmt.Sprintf("; %.0f %% of %s left", 100*left, st.SLO.PeriodName())
		if perSecond := float64(f.evidence.Now.Bad) / max(1, f.evidence.To.Sub(f.evidence.From).Seconds()); perSecond > 0 {
			rest := left * st.SLO.Budget() * float64(st.Period.Valid/st.SLO.Unit())
			line += fmt.Sprintf(", gone in %s at this rate", age(time.Duration(rest/perSecond*float64(time.Second))))
		}
	}
	p.add("Budget", "%s", line)
}

func ownerLine(a owner.Answer) string {
	parts := []string{a.Team.Name}
	if a.Team.OnCall != "" {
		parts = append(parts, "on call "+a.Team.OnCall)
	}
	for _, s := range []string{a.Team.Chat, a.Team.Email} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if a.Team.Hours != "" {
		parts = append(parts, a.Team.Hours)
	}
	line := strings.Join(parts, ", ")
	if a.Source != "" {
		line += " (" + a.Source + ")"
	}
	if a.Then != "" {
		line += "; then " + a.Then
	}
	return tidy(line)
}

// resolvedText is the page of an end.
func resolvedText(t *Transition) string {
	st := &t.Status
	var p page
	rest := fmt.Sprintf(" %s %s: %s ended after %s", st.SLO.SLI.Kind, st.SLO.Percent(), t.FromSever, age(t.At.Sub(t.Since)))
	head := "[RESOLVED] "
	p.lines = append(p.lines, head+shorten(tidy(st.SLO.Service), maxFirstLine-utf8.RuneCountInString(head+rest))+rest)
	if t.Total.Valid > 0 {
		p.add("Failed", "%s of %s requests since %s UTC", thousands(t.Total.Bad), thousands(t.Total.Valid), t.Since.UTC().Format("15:04"))
		if st.Period.Valid > 0 {
			p.add("Budget", "%s spent by it; %.0f %% of %s left", percent(float64(t.Total.Bad)/(st.SLO.Budget()*float64(st.Period.Valid))), 100*st.SLO.Remaining(st.Period), st.SLO.PeriodName())
		}
	}
	p.add("Links", "`gatewatch-alert explain %s`", t.ResolvedID)
	return p.text()
}

func lift(x float64) string {
	if x >= 10 {
		return fmt.Sprintf("%.0fx its share", x)
	}
	return fmt.Sprintf("%.1fx its share", x)
}

// rise writes a change of latency for people.
func rise(d time.Duration) string {
	switch a := d.Abs(); {
	case a < time.Millisecond:
		return "0"
	case a < time.Second:
		return fmt.Sprintf("%+d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%+.1f s", d.Seconds())
	}
}

func percent(ratio float64) string {
	switch p := 100 * ratio; {
	case p == 0:
		return "0 %"
	case p < 0.01:
		return "< 0.01 %"
	case p < 1:
		return fmt.Sprintf("%.2f %%", p)
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// age writes a time for people, roughly.
func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f m", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f d", d.Hours()/24)
	}
}

// clean makes a name from outside fit to be a word of a page: short, on one
// line, with nothing that hides or turns text.
func clean(s string) string { return shorten(tidy(s), maxName) }

// tidy takes away what could forge a line of a page or hide text.
func tidy(s string) string {
	return strings.Join(strings.FieldsFunc(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, s), unicode.IsSpace), " ")
}

// shorten returns the beginning of s, at most n characters with a mark that
// something is missing.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:max(0, n-1)]) + "…"
}

// cut shortens s to at most n bytes, at a rune's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// external is where people reach this process.
func (c Config) external() string {
	if c.ExternalURL != "" {
		return strings.TrimRight(c.ExternalURL, "/")
	}
	return "http://" + c.Listen
}

// RunbookBase begins links to runbooks.
func (c Config) RunbookBase() string {
	if c.Runbooks.BaseURL != "" {
		return strings.TrimRight(c.Runbooks.BaseURL, "/")
	}
	return c.external() + "/runbooks"
}

// alertURL is where this process shows an alert.
func (c Config) alertURL(id string) string { return c.external() + "/alerts/" + id }

package evaluate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// A finding is all that a page tells.
type finding struct {
	status   Status
	evidence Evidence
	suspects []suspect.Suspect
	reach    suspect.Reach
	owner    owner.Answer
	runbook  runbook.Found
	complete time.Time // data is complete until
	now      time.Time
}

// signal puts a finding into the terms by which runbooks match.
func (f *finding) signal() runbook.Signal {
	s := runbook.Signal{
		Kind: "slo_burn", Service: f.status.SLO.Service, Route: f.status.SLO.SLI.Route,
		Severity: f.status.Severity.String(), Window: strings.ReplaceAll(slo.Span(f.status.Window.Long), " ", ""), Reach: f.reach.Name,
	}
	if f.reach.Name == "one_route" {
		_, s.Route, _ = strings.Cut(f.reach.Suspect.Value, " ")
	}
	if f.status.SLO.SLI.Kind == slo.Latency {
		s.Kind = "latency_burn"
		return s
	}
	if len(f.evidence.Classes) > 0 {
		s.ErrorClass = f.evidence.Classes[0].Name
	}
	if len(f.evidence.Responders) > 0 {
		s.Responder = f.evidence.Responders[0].Name
	}
	return s
}

const (
	maxFirstLine = 110
	maxLines     = 25
	maxPage      = 4096
	shownParts   = 3
)

// A page is made line by line; what is not known is left out.
type page struct{ lines []string }

func (p *page) add(name, format string, args ...any) {
	p.lines = append(p.lines, strings.TrimRight(fmt.Sprintf("%-9s", name)+fmt.Sprintf(format, args...), " "))
}

// text writes the page for people. Line 1 fits a lock screen; no line holds a
// client address, a raw path or a query.
func (f *finding) text(c Config) string {
	st, ev := &f.status, &f.evidence
	var p page
	first := fmt.Sprintf("[%s] %s %s %s: %s failing", strings.ToUpper(st.Severity.String()), st.SLO.Service, st.SLO.SLI.Kind, st.SLO.Percent(), percent(ev.Now.Ratio()))
	if st.SLO.SLI.Kind == slo.Latency {
		first = fmt.Sprintf("[%s] %s latency %s under %s: %s slower", strings.ToUpper(st.Severity.String()), st.SLO.Service, st.SLO.Percent(), st.SLO.SLI.Threshold, percent(ev.Now.Ratio()))
	}
	if ev.Before.Valid > 0 {
		first += fmt.Sprintf(" (usual %s)", percent(ev.Before.Ratio()))
	}
	first += fmt.Sprintf(" since %s UTC, ongoing", st.Since.Format("15:04"))
	p.lines = append(p.lines, cut(first, maxFirstLine))
	impact := fmt.Sprintf("%s of %s requests in %s", thousands(ev.Now.Bad), thousands(ev.Now.Valid), age(ev.To.Sub(ev.From)))
	if ev.ActiveConsumers > 0 {
		impact += fmt.Sprintf(" · %d of %d consumers", ev.Consumers, ev.ActiveConsumers)
	}
	p.add("Impact", "%s", impact)
	p.add("Reach", "%s", f.reach)
	f.failing(&p)
	if len(f.suspects) > 0 {
		var parts []string
		for i, s := range f.suspects[:min(shownParts, len(f.suspects))] {
			parts = append(parts, fmt.Sprintf("%d %s %s (%.0f %%, %.1fx its share)", i+1, s.Dimension, s.Value, 100*min(1, s.Share), s.Lift))
		}
		p.add("Suspects", "%s", strings.Join(parts, "  "))
	}
	for i, step := range f.runbook.Steps(f.vars()) {
		name := ""
		if i == 0 {
			name = "DO NOW"
		}
		p.add(name, "%d %s", i+1, step)
	}
	if f.runbook.Runbook != nil {
		p.add("Runbook", "%s § %s; %s %s", f.runbook.Runbook.Name, f.runbook.Section.Title, f.runbook.Reason, f.runbook.Link(c.runbookBase(), f.vars()))
	}
	p.add("Owner", "%s", ownerLine(f.owner))
	f.budget(&p)
	p.add("Data", "complete until %s, %s before sending", f.complete.UTC().Format(time.TimeOnly), age(f.now.Sub(f.complete)))
	p.add("Links", "%s", fmt.Sprintf("`gatewatch-alert explain %s` · silence: Alertmanager, slo=%s", st.ID, st.SLO.Name))
	return cut(strings.Join(p.lines[:min(maxLines, len(p.lines))], "\n"), maxPage)
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
	p.add("Failing", "%s (%s)", strings.Join(parts, ", "), how)
}

func (f *finding) budget(p *page) {
	st := &f.status
	line := fmt.Sprintf("burn %.0fx (%s), %.0fx (%s)", st.SLO.Burn(st.Long), slo.Span(st.Window.Long), st.SLO.Burn(st.Short), slo.Span(st.Window.Short))
	left := st.SLO.Remaining(st.Period)
	if left <= 0 {
		line += fmt.Sprintf("; spent: %.0f %% of %s", 100*(1-left), slo.Span(st.SLO.Period))
	} else {
		line += fmt.Sprintf("; %.0f %% of %s left", 100*left, slo.Span(st.SLO.Period))
		if perSecond := float64(f.evidence.Now.Bad) / max(1, f.evidence.To.Sub(f.evidence.From).Seconds()); perSecond > 0 {
			rest := left * st.SLO.Budget() * float64(st.Period.Valid)
			line += fmt.Sprintf(", gone in %s at this rate", age(time.Duration(rest/perSecond*float64(time.Second))))
		}
	}
	p.add("Budget", "%s", line)
}

// vars are what a runbook's steps may mention.
func (f *finding) vars() map[string]string {
	v := map[string]string{
		"service": f.status.SLO.Service, "slo": f.status.SLO.Name, "since": f.status.Since.UTC().Format(time.RFC3339), "alert": f.status.ID,
	}
	for _, s := range f.suspects {
		if v[s.Dimension] == "" {
			v[s.Dimension] = s.Value
		}
	}
	if len(f.evidence.Classes) > 0 {
		v["error_class"] = f.evidence.Classes[0].Name
	}
	return v
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
	line := strings.Join(parts, ", ")
	if a.Source != "" {
		line += " (" + a.Source + ")"
	}
	return line
}

// resolvedText is the page of an end.
func (f *finding) resolvedText(id string, since time.Time, severity alert.Severity) string {
	st := &f.status
	return fmt.Sprintf("[RESOLVED] %s %s %s: %s after %s\nFailed   %s of %s requests since %s UTC\nBudget   %.0f %% of %s left\nLinks    `gatewatch-alert explain %s`",
		st.SLO.Service, st.SLO.SLI.Kind, st.SLO.Percent(), severity, age(f.now.Sub(since)),
		thousands(f.evidence.Now.Bad), thousands(f.evidence.Now.Valid), since.UTC().Format("15:04"),
		100*st.SLO.Remaining(st.Period), slo.Span(st.SLO.Period), id)
}

// explanation is what `explain` shows and the store keeps.
func (f *finding) explanation() string {
	type window struct {
		Window    string  `json:"window"`
		Valid     int64   `json:"valid"`
		Bad       int64   `json:"bad"`
		Burn      float64 `json:"burn"`
		Threshold float64 `json:"threshold"`
	}
	st := &f.status
	b, err := json.Marshal(map[string]any{
		"reason": st.Reason, "onset": st.Since, "complete_until": f.complete.UTC(),
		"long":  window{slo.Span(st.Window.Long), st.Long.Valid, st.Long.Bad, st.SLO.Burn(st.Long), st.Window.Factor},
		"short": window{slo.Span(st.Window.Short), st.Short.Valid, st.Short.Bad, st.SLO.Burn(st.Short), st.Window.Factor},
		"now":   f.evidence.Now, "before": f.evidence.Before, "reach": f.reach.Name, "suspects": f.suspects,
		"classes": f.evidence.Classes, "responders": f.evidence.Responders, "runbook_reason": f.runbook.Reason, "runbook_others": f.runbook.Others,
	})
	if err != nil {
		return "{}"
	}
	return string(b)
}

func percent(ratio float64) string {
	switch p := 100 * ratio; {
	case p == 0:
		return "0 %"
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

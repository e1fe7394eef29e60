package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/histogram"
	"gatewatch/internal/kpi"
)

// digestRow is one movement that matters.
type digestRow struct {
	Service string `json:"service" title:"service"`
	What    string `json:"what" title:"what"`
	Text    string `json:"text" title:"movement"`
	Reason  string `json:"reason" title:"likely reason"`
}

// What has to move for a digest to mention it.
const (
	digestChange    = 0.2    // of calls, consumers and latency, as a share of the week before
	digestErrors    = 0.0005 // of the share of failed requests
	digestConsumers = 3      // consumers
	digestRows      = 6      // a section
)

func (p *product) digest(ctx context.Context) error {
	now, err := p.store.Services(ctx, p.window)
	if err != nil {
		return err
	}
	then, err := p.store.Services(ctx, p.window.Before())
	if err != nil {
		return err
	}
	failures, err := p.store.Failures(ctx, p.window)
	if err != nil {
		return err
	}
	d := &digest{p: p, failures: failures}
	for i := range now {
		s := &now[i]
		j := slices.IndexFunc(then, func(o clickhouse.ServiceWeek) bool { return o.Service == s.Service })
		if j < 0 {
			d.add(s.Service, "new", fmt.Sprintf("%s calls by %s; there were none in the week before", grouped(s.Calls), consumers(int64(s.Consumers))), "")
			continue
		}
		d.service(s, &then[j])
	}
	for _, s := range then {
		if !slices.ContainsFunc(now, func(o clickhouse.ServiceWeek) bool { return o.Service == s.Service }) {
			d.add(s.Service, "silent", fmt.Sprintf("no calls; %s in the week before", grouped(s.Calls)), "")
		}
	}
	if d.rows == nil {
		d.rows = []digestRow{}
	}
	p.add("movements", "What moved", "nothing moved", d.rows)
	text, err := p.markdown(ctx, d, now)
	if err != nil {
		return err
	}
	p.result.markdown = text
	return p.deliver(ctx)
}

// A digest collects movements.
type digest struct {
	p        *product
	failures []clickhouse.FailureRow
	rows     []digestRow
}

func (d *digest) add(service, what, text, reason string) {
	d.rows = append(d.rows, digestRow{service, what, text, reason})
}

// service compares a service's week with the one before.
func (d *digest) service(now, then *clickhouse.ServiceWeek) {
	if c := change(now.Calls, then.Calls); math.Abs(c) >= digestChange {
		d.add(now.Service, "calls", fmt.Sprintf("%s calls, %s", grouped(now.Calls), percent(c)), d.mover(now, then))
	}
	bad, before := ratio(now.Bad, now.Calls), ratio(then.Bad, then.Calls)
	if math.Abs(bad-before) >= digestErrors {
		d.add(now.Service, "failures on our side", fmt.Sprintf("%.2f %% of calls, after %.2f %%", 100*bad, 100*before), d.failing(now.Service, bad > before))
	}
	if p95, was, ok := p95s(now, then); ok && math.Abs(p95/was-1) >= digestChange {
		d.add(now.Service, "latency", fmt.Sprintf("p95 %s, after %s", milliseconds(p95), milliseconds(was)), "")
	}
	var gone, shrunk []string
	for consumer, n := range then.Users {
		switch m := now.Users[consumer]; {
		case n >= 20 && m == 0:
			gone = append(gone, consumer)
		case n >= 100 && m*2 <= n:
			shrunk = append(shrunk, consumer)
		}
	}
	if len(gone) > 0 {
		d.add(now.Service, "gone", consumers(int64(len(gone)))+" called last week and not this one", names(gone))
	}
	if len(shrunk) >= digestConsumers {
		d.add(now.Service, "shrinking", consumers(int64(len(shrunk)))+" called half as much or less", names(shrunk))
	}
}

// mover names the consumer whose calls changed most.
func (d *digest) mover(now, then *clickhouse.ServiceWeek) string {
	best, most := "", int64(0)
	for _, users := range []map[string]int64{now.Users, then.Users} {
		for consumer := range users {
			c := now.Users[consumer] - then.Users[consumer]
			if c*sign(now.Calls-then.Calls) > most*sign(now.Calls-then.Calls) || c == most && consumer < best {
				best, most = consumer, c
			}
		}
	}
	if share := ratio(most, now.Calls-then.Calls); best != "" && share >= 0.2 {
		return fmt.Sprintf("%s: %+d calls, %.0f %% of the change", best, most, 100*share)
	}
	return ""
}

func sign(n int64) int64 {
	if n < 0 {
		return -1
	}
	return 1
}

// failing names the route and class that changed most.
func (d *digest) failing(service string, more bool) string {
	best, most := "", int64(0)
	for _, f := range d.failures {
		if f.Service != service || strings.HasPrefix(f.Class, "client_") {
			continue
		}
		c := f.Calls - f.Before
		if !more {
			c = -c
		}
		if c > most {
			best, most = fmt.Sprintf("%s at %s %s, %s calls after %s", f.Class, f.Method, f.Route, grouped(f.Calls), grouped(f.Before)), c
		}
	}
	return best
}

func change(now, then int64) float64 {
	if then == 0 {
		return 1
	}
	return float64(now)/float64(then) - 1
}

func percent(c float64) string { return fmt.Sprintf("%+.0f %%", 100*c) }

func consumers(n int64) string { return daemon.Plural(n, "consumer") }

func names(list []string) string {
	slices.Sort(list)
	if len(list) > digestRows {
		return strings.Join(list[:digestRows], ", ") + fmt.Sprintf(" and %d more", len(list)-digestRows)
	}
	return strings.Join(list, ", ")
}

func p95s(now, then *clickhouse.ServiceWeek) (ms, before float64, ok bool) {
	a, okA := histogram.Histogram(now.Latency).Quantile(0.95)
	b, okB := histogram.Histogram(then.Latency).Quantile(0.95)
	return a / 1000, b / 1000, okA && okB && now.Timed >= 1000 && then.Timed >= 1000
}

// markdown writes the digest in the order of the product manager's questions.
func (p *product) markdown(ctx context.Context, d *digest, services []clickhouse.ServiceWeek) (string, error) {
	var b strings.Builder
	zone := p.window.Zone
	fmt.Fprintf(&b, "# The week of %s to %s\n\n", p.window.From.In(zone).Format("Monday 2 January"), p.window.To.Add(-time.Second).In(zone).Format("Monday 2 January 2006"))
	for _, section := range []func(context.Context, *strings.Builder) error{p.digestGrowth, p.digestFixes, p.digestValue, p.digestQuota, p.digestSunset} {
		if err := section(ctx, &b); err != nil {
			return "", err
		}
	}
	b.WriteString("## Each API\n\n")
	for i := range services {
		s := &services[i]
		p95, _ := histogram.Histogram(s.Latency).Quantile(0.95)
		fmt.Fprintf(&b, "**%s** %s calls by %s, %.2f %% failed on our side, p95 %s; owner %s\n\n", s.Service, grouped(s.Calls), consumers(int64(s.Consumers)),
			100*ratio(s.Bad, s.Calls), milliseconds(p95/1000), cmp.Or(p.ownerOf(s.Service, "", ""), "unknown"))
		p.movements(&b, d, s.Service)
	}
	for _, r := range d.rows {
		if !slices.ContainsFunc(services, func(s clickhouse.ServiceWeek) bool { return s.Service == r.Service }) {
			fmt.Fprintf(&b, "**%s** %s\n\n", r.Service, r.Text)
		}
	}
	fmt.Fprintf(&b, "Days in %s; %s.\n", zone, p.result.line())
	return b.String(), nil
}

func (p *product) movements(b *strings.Builder, d *digest, service string) {
	any := false
	for _, r := range d.rows {
		if r.Service != service {
			continue
		}
		any = true
		fmt.Fprintf(b, "- %s: %s", r.What, r.Text)
		if r.Reason != "" {
			fmt.Fprintf(b, " – %s", r.Reason)
		}
		b.WriteString("\n")
	}
	if any {
		b.WriteString("\n")
	}
}

func (p *product) digestGrowth(ctx context.Context, b *strings.Builder) error {
	active, _, err := p.repeat(ctx, p.window)
	if err != nil {
		return err
	}
	before, _, err := p.repeat(ctx, p.window.Before())
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "**%s** had success with a call, %s against the week before.", consumers(int64(active)), percent(change(int64(active), int64(before))))
	list, err := p.signUps(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		b.WriteString(" Nobody signed up.\n\n")
		return nil
	}
	succeeded, called := 0, 0
	var took []time.Duration
	for i := range list {
		if d, ok := untilSuccess(&list[i]); ok {
			succeeded++
			took = append(took, d)
		}
		if list[i].FirstCall != nil {
			called++
		}
	}
	fmt.Fprintf(b, " **%s signed up**: %d got to a first success", consumers(int64(len(list))), succeeded)
	if m := rank(took, 0.5); m != nil {
		fmt.Fprintf(b, " (half of them within %s)", showNumber(*m, "seconds"))
	}
	fmt.Fprintf(b, ", %d have only failed, %d have not called yet.\n\n", called-succeeded, len(list)-called)
	return nil
}

func (p *product) digestFixes(ctx context.Context, b *strings.Builder) error {
	rows, err := p.fixRows(ctx)
	if err != nil || len(rows) == 0 {
		return err
	}
	b.WriteString("## What to fix first\n\n")
	for i, r := range rows[:min(3, len(rows))] {
		fmt.Fprintf(b, "%d. **%s at %s %s**: ", i+1, r.Class, r.Service, r.Operation)
		if r.Lost != "" {
			fmt.Fprintf(b, "about %s lost, ", r.Lost)
		}
		fmt.Fprintf(b, "%s hit", consumers(int64(r.Consumers)))
		if r.Blocked > 0 {
			fmt.Fprintf(b, ", %d of them new and stuck on it", r.Blocked)
		}
		fmt.Fprintf(b, "; %s calls, %s; owner %s\n", grouped(r.Calls), r.Trend, cmp.Or(r.Owner, "unknown"))
	}
	b.WriteString("\n")
	return nil
}

func (p *product) digestValue(ctx context.Context, b *strings.Builder) error {
	if len(p.kpis.Workflows) == 0 {
		return nil
	}
	b.WriteString("## Workflows\n\n")
	for i := range p.kpis.Workflows {
		w := &p.kpis.Workflows[i]
		f, err := p.funnelOf(ctx, w, p.window)
		if err != nil {
			return err
		}
		v, err := p.valueOf(ctx, w)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "- **%s**: %s completed", w.Title, grouped(v.Completed))
		if w.Value != nil {
			fmt.Fprintf(b, ", worth %s %s (%s)", showNumber(v.Amount, "amount"), v.Currency, percent(change(int64(v.Amount), int64(v.Before))))
		}
		fmt.Fprintf(b, "; %.0f %% of runs get through", 100*f.conversion(1))
		rows := f.rows(nil, nil)
		worst := slices.MaxFunc(rows, func(a, b funnelRow) int { return cmp.Compare(a.Dropped, b.Dropped) })
		if worst.Dropped > 0 {
			fmt.Fprintf(b, ", most are lost before %s", worst.Step)
			if worst.TopError != "" {
				fmt.Fprintf(b, " (%s)", worst.TopError)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return nil
}

func (p *product) digestQuota(ctx context.Context, b *strings.Builder) error {
	var soon []quotaRow
	for i := range p.kpis.Plans {
		for _, q := range p.kpis.Plans[i].Quotas {
			if q.Per != kpi.PerMonth && q.Per != kpi.PerDay {
				continue
			}
			rows, err := p.quotaRows(ctx, p.kpis.Plans[i].Name, q)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if r.At != nil && q.Per == kpi.PerMonth || r.Outgrown {
					soon = append(soon, r)
				}
			}
		}
	}
	if len(soon) == 0 {
		return nil
	}
	slices.SortStableFunc(soon, func(a, b quotaRow) int { return cmp.Compare(b.Share, a.Share) })
	b.WriteString("## Quotas\n\n")
	for _, r := range soon[:min(digestRows, len(soon))] {
		fmt.Fprintf(b, "- **%s** (%s): %.0f %% of %s calls per %s used", r.Unit, r.Plan, 100*r.Share, grouped(r.Quota), r.Per)
		if r.At != nil && r.Earliest != nil {
			latest := "the window's end"
			if r.Latest != nil {
				latest = r.Latest.In(p.window.Zone).Format("Mon 2 Jan 15:04")
			}
			fmt.Fprintf(b, "; used up %s (%s to %s)", r.At.In(p.window.Zone).Format("Mon 2 Jan 15:04"), r.Earliest.In(p.window.Zone).Format("Mon 2 Jan 15:04"), latest)
		}
		if r.Outgrown {
			fmt.Fprintf(b, "; over it in %d of %d windows: the plan is too small", r.Over, r.Windows)
		}
		b.WriteString("\n")
	}
	if len(soon) > digestRows {
		fmt.Fprintf(b, "- and %d more: `report quota`\n", len(soon)-digestRows)
	}
	b.WriteString("\n")
	return nil
}

func (p *product) digestSunset(ctx context.Context, b *strings.Builder) error {
	found, err := p.store.Deprecated(ctx, p.window, p.kpis.Deprecations)
	if err != nil || len(p.kpis.Deprecations) == 0 {
		return err
	}
	b.WriteString("## What we retire\n\n")
	for i := range p.kpis.Deprecations {
		row, who := p.deprecation(&p.kpis.Deprecations[i], found)
		fmt.Fprintf(b, "- **%s** ends %s, in %s: %s, %s calls (%s)", row.What, row.Sunset, daemon.Plural(int64(row.DaysLeft), "day"), consumers(int64(row.Consumers)), grouped(row.Calls), row.Trend)
		if len(who) > 0 {
			fmt.Fprintf(b, "; most by %s", who[0].Consumer)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return nil
}

// digestTimeout bounds a delivery.
const digestTimeout = 30 * time.Second

// deliver writes the digest to --out: a file, .json for JSON, or a URL to which
// JSON with the Markdown in it is posted.
func (p *product) deliver(ctx context.Context) error {
	out := p.flags.out
	if out == "" {
		return nil
	}
	body, err := json.MarshalIndent(struct {
		*productAnswer
		Text string `json:"text"`
	}{&p.result, p.result.markdown}, "", "  ")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(out, "http://") && !strings.HasPrefix(out, "https://") {
		if !strings.HasSuffix(out, ".json") {
			body = []byte(p.result.markdown)
		}
		if err := os.WriteFile(out, body, 0o644); err != nil { //nolint:gosec // a report is there to be read
			return daemon.Usage(fmt.Errorf("--out: %w", err))
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, digestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, out, bytes.NewReader(body))
	if err != nil {
		return daemon.Usage(fmt.Errorf("--out: %w", err))
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return daemon.Unreachable(fmt.Errorf("--out: %w", err))
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return daemon.Unreachable(fmt.Errorf("--out: %s answered %s", request.URL.Host, answer.Status))
	}
	return nil
}

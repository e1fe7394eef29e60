package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is the last line. Missed, FalsePages, WrongOwner and PagedAgain are
// counts, the others shares of the pages that came.
type result struct {
	Scenarios    int     `json:"scenarios"`
	Pages        int     `json:"pages"` // that should come
	Missed       int     `json:"missed"`
	FalsePages   int     `json:"false_pages"`
	PagedAgain   int     `json:"paged_again"`
	WrongOwner   int     `json:"wrong_owner"`
	SuspectFirst float64 `json:"suspect_first"`
	SuspectTop3  float64 `json:"suspect_top3"`
	BlastRadius  float64 `json:"blast_radius"`
	Runbook      float64 `json:"runbook"`
	Tickets      float64 `json:"tickets"`        // of those asked for
	DelayS       float64 `json:"median_delay_s"` // from the incident to the page
}

// A tally sums verdicts.
type tally struct {
	scenarios, pages, got, missed, wrong, more, owner, first, top3, radius, runbook, tickets, asked int
	delays                                                                                          []time.Duration
}

func (t *tally) add(v *verdict) {
	if v.label.Kind != "clean" {
		t.scenarios++
	}
	t.wrong += len(v.wrong)
	if v.label.Ticket != "" {
		t.asked++
		t.tickets += btoi(v.ticket)
	}
	for i := range v.pages {
		p := &v.pages[i]
		t.pages++
		t.more += p.more
		if p.got == nil {
			t.missed++
			continue
		}
		t.got++
		t.owner, t.first, t.top3 = t.owner+btoi(p.owner), t.first+btoi(p.first), t.top3+btoi(p.top3)
		t.radius, t.runbook = t.radius+btoi(p.radius), t.runbook+btoi(p.runbook)
		t.delays = append(t.delays, p.got.at.Sub(v.label.From))
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (t *tally) delay() time.Duration {
	if len(t.delays) == 0 {
		return 0
	}
	slices.Sort(t.delays)
	return t.delays[len(t.delays)/2]
}

func share(n, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}

func (e *evaluation) print(out io.Writer) error {
	var order []string
	byKind := map[string]*tally{}
	all := &tally{}
	for i := range e.verdicts {
		v := &e.verdicts[i]
		if byKind[v.label.Kind] == nil {
			byKind[v.label.Kind] = &tally{}
			order = append(order, v.label.Kind)
		}
		byKind[v.label.Kind].add(v)
		all.add(v)
	}
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tSCENARIOS\tTO PAGE\tMISSED\tFALSE\tAGAIN\tOWNER\tFIRST\tTOP 3\tRADIUS\tRUNBOOK\tTICKETS\tDELAY")
	for _, k := range append(order, "all") {
		t := byKind[k]
		if k == "all" {
			t = all
		}
		of := func(n int) string { return fmt.Sprintf("%d/%d", n, t.got) }
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%d/%d\t%s\n", k, t.scenarios, t.pages, t.missed, t.wrong, t.more,
			of(t.owner), of(t.first), of(t.top3), of(t.radius), of(t.runbook), t.tickets, t.asked, t.delay().Round(time.Second))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i := range e.verdicts {
		e.verdicts[i].explain(out)
	}
	return json.NewEncoder(out).Encode(result{
		Scenarios: all.scenarios, Pages: all.pages, Missed: all.missed, FalsePages: all.wrong, PagedAgain: all.more, WrongOwner: all.got - all.owner,
		SuspectFirst: share(all.first, all.got), SuspectTop3: share(all.top3, all.got), BlastRadius: share(all.radius, all.got),
		Runbook: share(all.runbook, all.got), Tickets: share(all.tickets, all.asked), DelayS: all.delay().Seconds(),
	})
}

// explain lists what was wrong.
func (v *verdict) explain(out io.Writer) {
	var lines []string
	for _, p := range v.pages {
		for _, why := range p.why {
			lines = append(lines, p.want.Service+": "+why)
		}
	}
	for _, t := range v.wrong {
		lines = append(lines, fmt.Sprintf("false page at %s: %s", t.at.UTC().Format(time.DateTime), t.Annotations["summary"]))
	}
	if v.label.Ticket != "" && !v.ticket {
		lines = append(lines, "no ticket "+v.label.Ticket)
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(out, "%s %s %s (%s)\n", v.label.Kind, v.label.Name, v.label.From.UTC().Format(time.DateTime), cmp.Or(v.label.Note, "no note"))
	fmt.Fprintf(out, "    %s\n", strings.Join(lines, "\n    "))
}

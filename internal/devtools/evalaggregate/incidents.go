package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/loadgen"
)

// A label is an incident and what is to be said of it.
type label struct {
	loadgen.Scenario
	part string // layers, breakers or clients
	// want is the layer, the evidence of the breaker ("" where there is none), or whom it hits.
	want string
	// fails says that the layer fails and is not slower.
	fails bool
}

// slot is the time that a service has for an incident: the first half is calm.
const slot = 30 * time.Minute

// incidents evaluates layers, breakers and clients.
func incidents(ctx context.Context, stack *devstack.Stack, o options, r *result) error {
	load := stack.NewLoad(o.seed)
	rng := rand.New(rand.NewPCG(o.seed, 0x1abe1))
	labels := makeLabels(o, load, rng)
	services := load.Shop.Services
	slots := (len(labels) + len(services) - 1) / len(services)
	to := time.Now().UTC().Truncate(time.Hour)
	from := to.Add(-time.Duration(slots) * slot)
	for i := range labels {
		l := &labels[i]
		l.Service = services[i%len(services)]
		l.From = from.Add(time.Duration(i/len(services))*slot + slot/2)
		l.To = l.From.Add(slot / 2)
		if l.part == "breakers" {
			l.To = l.From.Add(4 * time.Minute)
		}
	}
	fmt.Fprintf(os.Stderr, "evalaggregate: %d incidents in %s of traffic …\n", len(labels), to.Sub(from))
	scenarios := make([]loadgen.Scenario, len(labels))
	for i, l := range labels {
		scenarios[i] = l.Scenario
	}
	if err := load.Send(ctx, from, to, o.rate, scenarios...); err != nil {
		return err
	}
	if err := store(ctx, stack, load, to.Add(-time.Minute), "layer_1m"); err != nil {
		return err
	}
	right, all := map[string]float64{}, map[string]float64{}
	for _, l := range labels {
		said, ok, err := l.judge(ctx, stack, load)
		if err != nil {
			return err
		}
		all[l.part]++
		if ok {
			right[l.part]++
		} else {
			fmt.Printf("wrong: %s of %s at %s is %q (kind %d, %d ms, share %.2f), said %s\n", l.part, l.Service, l.From.Format("15:04"), l.want, l.Kind, l.MS, l.Share, said)
		}
	}
	r.Layers, r.Breakers, r.Clients = right["layers"]/all["layers"], right["breakers"]/all["breakers"], right["clients"]/all["clients"]
	fmt.Printf("layers %.0f of %.0f, breakers %.0f of %.0f, clients %.0f of %.0f\n", right["layers"], all["layers"], right["breakers"], all["breakers"], right["clients"], all["clients"])
	return nil
}

func makeLabels(o options, load *devstack.Load, rng *rand.Rand) []label {
	var labels []label
	add := func(part, want string, fails bool, s loadgen.Scenario) {
		labels = append(labels, label{Scenario: s, part: part, want: want, fails: fails})
	}
	for i := range o.layers {
		for _, k := range []struct {
			name        string
			slow, fails loadgen.Kind
		}{
			{"gateway", loadgen.GatewaySlow, loadgen.GatewayFails},
			{"service", loadgen.ServiceSlow, loadgen.ServiceFails},
			{"database", loadgen.DatabaseSlow, loadgen.DatabaseFails},
		} {
			if i%2 == 0 {
				add("layers", k.name, false, loadgen.Scenario{Kind: k.slow, MS: 80 + rng.Int64N(400), Share: 0.3 + 0.7*rng.Float64()})
			} else {
				add("layers", k.name, true, loadgen.Scenario{Kind: k.fails, Share: 0.1 + 0.4*rng.Float64()})
			}
		}
	}
	busy := load.Busiest(10)
	for i := range o.others {
		if i%2 == 0 {
			add("breakers", "stated", false, loadgen.Scenario{Kind: loadgen.BreakerStated})
			add("breakers", "", false, loadgen.Scenario{Kind: loadgen.ServiceFails, Share: 0.5}) // no breaker
		} else {
			add("breakers", "inferred", false, loadgen.Scenario{Kind: loadgen.BreakerInferred})
			add("breakers", "", false, loadgen.Scenario{Kind: loadgen.Overload, Share: 0.5}) // nothing failed before
		}
		add("clients", "one_client", false, loadgen.Scenario{Kind: loadgen.KeyFails, Key: busy[rng.IntN(len(busy))], Share: 0.7 + 0.3*rng.Float64()})
		add("clients", "everybody", false, loadgen.Scenario{Kind: loadgen.EveryKeyFails, Share: 0.1 + 0.4*rng.Float64()})
	}
	rng.Shuffle(len(labels), func(i, j int) { labels[i], labels[j] = labels[j], labels[i] })
	return labels
}

// judge asks about the incident and says whether the answer is right.
func (l *label) judge(ctx context.Context, stack *devstack.Stack, load *devstack.Load) (said string, ok bool, err error) {
	where := []string{"--where", "service=" + l.Service}
	switch l.part {
	case "layers":
		rows, err := ask(ctx, stack, "layers", l.From, l.To, where...)
		if err != nil {
			return "", false, err
		}
		slower, fails := "", ""
		for _, row := range rows {
			blame := fmt.Sprint(row["blame"])
			if strings.Contains(blame, "slower") {
				slower = fmt.Sprint(row["layer"])
			}
			if strings.Contains(blame, "fails") {
				fails = fmt.Sprint(row["layer"])
			}
			said += fmt.Sprintf("[%v %v p95 %v before %v errors %v] ", row["layer"], blame, row["p95_ms"], row["before_ms"], row["errors"])
		}
		if l.fails {
			return said, fails == l.want && slower == "", nil
		}
		return said, slower == l.want && fails == "", nil
	case "breakers":
		rows, err := ask(ctx, stack, "breakers", l.From.Add(-slot/2), l.From.Add(slot/2), where...)
		if err != nil {
			return "", false, err
		}
		if l.want == "" || len(rows) != 1 {
			return fmt.Sprint(rows), l.want == "" && len(rows) == 0, nil
		}
		opened, _ := time.Parse(time.RFC3339, fmt.Sprint(rows[0]["opened"]))
		closed, _ := time.Parse(time.RFC3339, fmt.Sprint(rows[0]["closed"]))
		near := func(a, b time.Time) bool { return a.Sub(b).Abs() <= 15*time.Second }
		return fmt.Sprint(rows), rows[0]["evidence"] == l.want && near(opened, l.From.Add(15*time.Second)) && near(closed, l.To), nil
	}
	rows, err := ask(ctx, stack, "clients", l.From, l.To, where...)
	if err != nil {
		return "", false, err
	}
	for _, row := range rows {
		if row["error_class"] == "client_bad_request" && (row["finding"] == "one_client" || row["finding"] == "everybody" || row["finding"] == "few_clients") {
			said = fmt.Sprint(row["finding"], " ", row["caller"], " ", row["evidence"])
			consumer := load.Shop.Keys[l.Key].Consumer
			return said, row["finding"] == l.want && (l.want != "one_client" || strings.HasPrefix(fmt.Sprint(row["caller"]), consumer)), nil
		}
	}
	return "nothing", false, nil
}

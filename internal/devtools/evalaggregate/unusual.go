package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/loadgen"
)

// An oddity is an hour in which something is unusual on purpose.
type oddity struct {
	loadgen.Scenario
	kinds []string // any of these tells it
	extra float64  // requests besides the traffic; 0: the traffic itself changes
	// key says that it is told of the key; else of Service.
	key bool
}

const (
	history = 24 * 24 * time.Hour
	// judged is the end of the history in which oddities are.
	judged = 60 * time.Hour
	// perSecond of the history, on average.
	perSecond = 0.5
	// repeats of each kind of oddity.
	repeats = 4
)

// unusual evaluates what leaves its baseline, and abuse.
func unusual(ctx context.Context, stack *devstack.Stack, o options, r *result) error {
	load := stack.NewLoad(o.seed)
	rng := rand.New(rand.NewPCG(o.seed, 0x0dd))
	to := time.Now().UTC().Truncate(time.Hour)
	oddities := makeOddities(load, rng, to)
	fmt.Fprintf(os.Stderr, "evalaggregate: %d oddities at the end of %s of traffic …\n", len(oddities), history)
	var scenarios []loadgen.Scenario
	for _, x := range oddities {
		if x.extra == 0 {
			scenarios = append(scenarios, x.Scenario)
		}
	}
	if err := load.SendShaped(ctx, to.Add(-history), to, perSecond, scenarios...); err != nil {
		return err
	}
	for i, x := range oddities {
		if x.extra == 0 {
			continue
		}
		if err := load.Extra(ctx, o.seed+uint64(i)+1, x.From, x.To, x.extra, x.Scenario); err != nil {
			return err
		}
	}
	if err := store(ctx, stack, load, to, "unusual_1h"); err != nil {
		return err
	}
	rows, err := ask(ctx, stack, "unusual", to.Add(-judged), to)
	if err != nil {
		return err
	}
	names, err := keyNames(ctx, stack, load)
	if err != nil {
		return err
	}
	r.count(oddities, rows, names)
	return nil
}

// count holds the findings against the oddities.
func (r *result) count(oddities []oddity, rows []map[string]any, names map[int]string) {
	told := make([]bool, len(oddities))
	var matched float64
	for _, row := range rows {
		hit := false
		for i, x := range oddities {
			if x.explains(row, names) {
				hit = true
				told[i] = told[i] || slices.Contains(x.kinds, fmt.Sprint(row["kind"]))
			}
		}
		if hit {
			matched++
		} else {
			fmt.Printf("false: %v %v %v %v %v: %v\n", row["time"], row["kind"], row["subject"], row["service"], row["name"], row["evidence"])
		}
	}
	var found float64
	for i, x := range oddities {
		if told[i] {
			found++
		} else {
			fmt.Printf("missed: %s kind %d service %q key %d\n", x.From.Format(time.RFC3339), x.Kind, x.Service, x.Key)
		}
	}
	r.Recall = found / float64(len(oddities))
	if len(rows) > 0 {
		r.Precision = matched / float64(len(rows))
	}
	fmt.Printf("unusual: %.0f of %d findings are of an oddity, %.0f of %d oddities were found\n", matched, len(rows), found, len(oddities))
}

func makeOddities(load *devstack.Load, rng *rand.Rand, to time.Time) []oddity {
	busy := load.Busiest(6)
	services := []string{"catalog", "orders", "payments"}
	var list []oddity
	for i := range repeats {
		key, service := busy[i%len(busy)], services[i%len(services)]
		list = append(list,
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.Actor, Key: key}, kinds: []string{"rate_high"}, extra: 400, key: true},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.KeyFails, Key: busy[i%3], Share: 0.8}, kinds: []string{"errors"}, key: true},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.ServiceSlow, Service: service, MS: 300}, kinds: []string{"latency"}},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.ServiceFails, Service: service, Share: 0.25}, kinds: []string{"errors"}},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.Away, Service: service, Share: 0.9}, kinds: []string{"rate_low"}},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.Elsewhere, Key: busy[i%2], Share: 0.9}, kinds: []string{"region_mix", "client_mix"}, key: true},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.Stuffing, Key: key, Route: "POST /v1/sessions"}, kinds: []string{"credential_stuffing"}, extra: 200},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.Enumeration, Key: key, Route: "GET /v1/users/{id}"}, kinds: []string{"enumeration"}, extra: 300, key: true},
			oddity{Scenario: loadgen.Scenario{Kind: loadgen.Actor, Key: key, Route: "GET /v1/products/{id}"}, kinds: []string{"scraping"}, extra: 900, key: true},
		)
	}
	hours := rng.Perm(int(judged / time.Hour))
	for i := range list {
		x := &list[i]
		x.From = to.Add(-judged + time.Duration(hours[i])*time.Hour)
		x.To = x.From.Add(time.Hour)
		switch x.Route {
		case "POST /v1/sessions", "GET /v1/users/{id}":
			x.Service = ""
		}
	}
	return list
}

// explains reports whether a finding is of the oddity: in its hour, of its key or
// of the service that it happens at.
func (x *oddity) explains(row map[string]any, names map[int]string) bool {
	if row["time"] != x.From.Format(time.RFC3339) {
		return false
	}
	switch name := fmt.Sprint(row["name"]); row["subject"] {
	case "key":
		return x.Kind == loadgen.ServiceFails || x.Kind == loadgen.ServiceSlow || x.Kind == loadgen.Away || name == names[x.Key]
	case "client":
		return x.Kind == loadgen.Stuffing
	default:
		service := x.Service
		switch x.Route {
		case "POST /v1/sessions", "GET /v1/users/{id}":
			service = "users"
		case "GET /v1/products/{id}":
			service = "catalog"
		}
		return service == "" && x.extra > 0 || row["service"] == service && (x.Route == "" || strings.HasSuffix(name, strings.Fields(x.Route)[1]) || row["subject"] == "service")
	}
}

// keyNames returns the id that each key of the oddities is stored under.
func keyNames(ctx context.Context, stack *devstack.Stack, load *devstack.Load) (map[int]string, error) {
	out, err := stack.Command(ctx, "aggregate", "report", "keys", "-o", "json", "--from", "3d", "--limit", "0")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Rows []struct {
			Group    map[string]string
			Requests int64
		}
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, err
	}
	// A consumer can have several keys: of those the busiest one is meant.
	names, most := map[int]string{}, map[int]int64{}
	for _, row := range answer.Rows {
		for _, k := range load.Busiest(6) {
			if load.Shop.Keys[k].Consumer == row.Group["consumer"] && row.Requests > most[k] {
				names[k], most[k] = row.Group["key_id"], row.Requests
			}
		}
	}
	return names, nil
}

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
	"gatewatch/internal/daemon"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
)

// A covering is what a command about all services works on.
type covering struct {
	*knowledge
	services []string            // declared, and seen if the store was asked
	routes   map[string][]string // of services, as "METHOD template"
	output   string
}

// cover reads the flags of a command about all services.
func cover(ctx context.Context, env *daemon.Env, args []string, name, summary string) (*covering, error) {
	fs := daemon.Flags(env, name, summary, "gatewatch-alert "+name+" --connect")
	file := configFlag(fs)
	connect := fs.Bool("connect", false, "also ask ClickHouse which services and routes were seen in 7 days")
	output := fs.String("o", "table", "table, json or csv")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, daemon.Usagef("%s takes no arguments, got %q", name, fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "json", "csv"); err != nil {
		return nil, err
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return nil, err
	}
	c := &covering{knowledge: k, output: *output}
	if c.routes, err = k.declared(); err != nil {
		return nil, daemon.Usage(err)
	}
	if *connect {
		store, err := openStore(ctx, k.config)
		if err != nil {
			return nil, err
		}
		defer store.Close()
		seen, err := store.Operations(ctx, time.Now().Add(-7*24*time.Hour))
		if err != nil {
			return nil, daemon.Unreachable(err)
		}
		for service, ops := range seen {
			c.routes[service] = append(c.routes[service], ops...)
		}
	}
	c.services = slices.Sorted(maps.Keys(c.routes))
	for s, ops := range c.routes {
		slices.Sort(ops)
		c.routes[s] = slices.Compact(ops)
	}
	return c, nil
}

// declared returns the services that objectives and the catalogue name, with the
// operations of objectives and OpenAPI documents.
func (k *knowledge) declared() (map[string][]string, error) {
	routes := map[string][]string{}
	for _, s := range k.set.SLOs {
		for _, f := range s.Feeds() {
			routes[f.Service] = append(routes[f.Service], []string{}...)
			if f.SLI.Route != "" {
				routes[f.Service] = append(routes[f.Service], strings.TrimSpace(f.SLI.Method+" "+f.SLI.Route))
			}
		}
	}
	for _, s := range k.owners.Services() {
		routes[s] = append(routes[s], k.owners.Operations(s)...)
	}
	return routes, nil
}

// signalOf is a signal of which only the kind is known.
func signalOf(k alert.KindInfo) runbook.Signal {
	sig := runbook.Signal{Kind: string(k.Kind), Severity: k.Severity.String()}
	if k.Kind == alert.Breaker {
		sig.ErrorClass = accesslog.BreakerOpen.String()
	}
	return sig
}

// signalsOf are the signals that a service may have: each kind, and of burnt
// objectives each class that is bad by default.
func signalsOf(service string) []runbook.Signal {
	var list []runbook.Signal
	for _, k := range alert.Kinds() {
		sig := signalOf(k)
		sig.Service = service
		if k.Kind != alert.SLOBurn {
			list = append(list, sig)
			continue
		}
		for _, c := range accesslog.ErrorClasses() {
			if c.Server() {
				sig.ErrorClass = c.String()
				list = append(list, sig)
			}
		}
	}
	return list
}

func runRunbooks(ctx context.Context, env *daemon.Env, args []string) error {
	c, err := cover(ctx, env, args, "runbooks", "prints which runbook each signal of each service would get, and how many have one of their own.")
	if err != nil {
		return err
	}
	if err := c.runbookFaults(time.Now()); err != nil {
		return daemon.Usage(err)
	}
	type key struct{ signal, runbook string }
	got := map[key]int{}
	var order []key
	all, covered := 0, 0
	for _, service := range c.services {
		for _, sig := range signalsOf(service) {
			all++
			x := key{strings.TrimSpace(sig.Kind + " " + sig.ErrorClass), "none"}
			if found, ok := c.runbooks.Match(sig); ok {
				x.runbook = found.Runbook.Name
				if found.Runbook.Fallback() {
					x.runbook += " (for everything)"
				} else {
					covered++
				}
			}
			if got[x] == 0 {
				order = append(order, x)
			}
			got[x]++
		}
	}
	var rows [][]string
	for _, x := range order {
		rows = append(rows, []string{x.signal, x.runbook, fmt.Sprint(got[x])})
	}
	if err := writeRows(env, c.output, "gatewatch/runbooks/v1", []string{"SIGNAL", "RUNBOOK", "SERVICES"}, rows, map[string]any{"signals": all, "covered": covered}); err != nil {
		return err
	}
	return verdict(env, c.output, all, covered, "signals of services have a runbook of their own", "no service is declared or seen: write an objective, or ask with --connect")
}

func runOwners(ctx context.Context, env *daemon.Env, args []string) error {
	c, err := cover(ctx, env, args, "owners", "prints who answers for each service and route, why, and how many have an owner of their own whom one can reach.")
	if err != nil {
		return err
	}
	var rows [][]string
	all, covered := 0, 0
	for _, service := range c.services {
		whole := c.owners.Lookup(owner.Question{Service: service}, c.config.Alert.DefaultOwner)
		add := func(route string, a owner.Answer) {
			all++
			if a.Owned() && a.Team.Reachable() {
				covered++
			}
			rows = append(rows, []string{service, route, a.Team.Name, a.Source, strings.Join(a.Team.Contacts(), ", "), a.Team.Hours})
		}
		add("", whole)
		for _, op := range c.routes[service] {
			method, route, _ := strings.Cut(op, " ")
			if a := c.owners.Lookup(owner.Question{Service: service, Method: method, Route: route}, c.config.Alert.DefaultOwner); a.Team.Name != whole.Team.Name {
				add(op, a)
			}
		}
	}
	if err := writeRows(env, c.output, "gatewatch/owners/v1", []string{"SERVICE", "ROUTE", "OWNER", "WHY", "CONTACT", "HOURS"}, rows, map[string]any{"things": all, "covered": covered}); err != nil {
		return err
	}
	if c.output == "table" {
		for _, x := range c.owners.Conflicts() {
			fmt.Fprintf(env.Stdout, "warn  %s\n", x)
		}
	}
	return verdict(env, c.output, all, covered, "services and routes have an owner of their own with a contact", "no service is declared or seen: write an objective or a catalogue, or ask with --connect")
}

// verdict says the coverage; below 100 % the answer is no.
func verdict(env *daemon.Env, output string, all, covered int, what, nothing string) error {
	if all == 0 {
		return daemon.Unknown(fmt.Errorf("%s", nothing))
	}
	share := 100 * float64(covered) / float64(all)
	if output == "table" {
		fmt.Fprintf(env.Stdout, "%.1f %%: %d of %d %s\n", share, covered, all, what)
	}
	if covered < all {
		return daemon.No(fmt.Errorf("%d of %d have none", all-covered, all))
	}
	return nil
}

// writeRows writes a table, or the same as JSON or CSV.
func writeRows(env *daemon.Env, output, schema string, head []string, rows [][]string, more map[string]any) error {
	if output != "json" {
		return daemon.WriteTable(env.Stdout, output == "csv", head, rows)
	}
	list := make([]map[string]string, 0, len(rows))
	for _, r := range rows {
		m := map[string]string{}
		for i, h := range head {
			m[strings.ToLower(h)] = r[i]
		}
		list = append(list, m)
	}
	more["schema"], more["rows"] = schema, list
	return writeJSON(env.Stdout, more)
}

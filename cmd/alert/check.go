package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alertmanager"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
)

// connectTimeout bounds each check of --connect.
const connectTimeout = 10 * time.Second

func runCheck(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "check", "checks objectives, owners and runbooks; with --connect also ClickHouse and Alertmanager.", "gatewatch-alert check --connect")
	file := configFlag(fs)
	connect := fs.Bool("connect", false, "also try ClickHouse, its schema and the Alertmanagers")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("check takes no arguments, got %q", fs.Arg(0))
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	if err := errors.Join(k.faults(), k.runbookFaults(time.Now())); err != nil {
		return daemon.Usage(err)
	}
	fmt.Fprintf(env.Stdout, "ok    %s: %d objectives, %d runbooks\n", k.config.File(), len(k.set.SLOs), len(k.runbooks.Runbooks()))
	var rows [][]string
	for _, s := range k.set.SLOs {
		found, _ := k.runbooks.Match(signal(s))
		if s.Runbook != "" {
			found, _ = k.runbooks.Named(s.Runbook, signal(s))
		}
		a := k.lookup(s)
		rows = append(rows, []string{s.Name, s.Percent(), a.Team.Name, a.Source, found.Runbook.Name, found.Reason})
	}
	if err := daemon.WriteTable(env.Stdout, false, []string{"SLO", "TARGET", "OWNER", "WHY", "RUNBOOK", "WHY"}, rows); err != nil {
		return err
	}
	for _, n := range k.set.Notes {
		fmt.Fprintf(env.Stdout, "warn  %s\n", n)
	}
	for _, c := range k.owners.Conflicts() {
		fmt.Fprintf(env.Stdout, "warn  %s\n", c)
	}
	if !*connect {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	store, err := openStore(ctx, k.config)
	if err != nil {
		fmt.Fprintf(env.Stdout, "FAIL  ClickHouse: %v\n", err)
		return daemon.Unreachable(nil)
	}
	defer store.Close()
	fmt.Fprintf(env.Stdout, "ok    ClickHouse: %s, schema as needed\n", k.config.ClickHouse.Address)
	err = k.checkSeen(ctx, env, store)
	if exit, ok := errors.AsType[*daemon.Exit](err); ok {
		return exit
	}
	if err != nil {
		fmt.Fprintf(env.Stdout, "FAIL  ClickHouse: %v\n", err)
		return daemon.Unreachable(nil)
	}
	return checkAlertmanagers(ctx, env, k.config.Alert)
}

// checkSeen warns of objectives whose requests nobody has seen: an unknown
// service, or a route that is no template of it.
func (k *knowledge) checkSeen(ctx context.Context, env *daemon.Env, store *clickhouse.Conn) error {
	seen, err := store.Operations(ctx, time.Now().Add(-7*24*time.Hour))
	if err != nil {
		return err
	}
	for _, s := range k.set.SLOs {
		for _, f := range s.Feeds() {
			where := fmt.Sprintf("%s:%d: SLO %s", s.File, s.Line, s.Name)
			ops, ok := seen[f.Service]
			switch {
			case !ok:
				fmt.Fprintf(env.Stdout, "warn  %s: no request to service %q in 7 days%s\n", where, f.Service, nearest(f.Service, slices.Collect(maps.Keys(seen))))
			case f.SLI.Route != "" && !slices.ContainsFunc(ops, func(op string) bool { return matches(op, f.SLI) }):
				fmt.Fprintf(env.Stdout, "warn  %s: no request to route %q in 7 days%s\n", where, strings.TrimSpace(f.SLI.Method+" "+f.SLI.Route), nearest(strings.TrimSpace(f.SLI.Method+" "+f.SLI.Route), ops))
			}
		}
	}
	return k.checkMatches(env, seen)
}

// checkMatches fails for entries of runbooks that name services or routes which
// are neither declared nor seen: they can never match.
func (k *knowledge) checkMatches(env *daemon.Env, seen map[string][]string) error {
	all, err := k.declared()
	if err != nil {
		return err
	}
	for service, ops := range seen {
		all[service] = append(all[service], ops...)
	}
	values := map[string][]string{"service": slices.Sorted(maps.Keys(all))}
	for _, ops := range all {
		for _, op := range ops {
			if _, route, ok := strings.Cut(op, " "); ok {
				values["route"] = append(values["route"], route)
			}
		}
	}
	faults := k.runbooks.Check(runbook.Known{Values: values})
	for _, f := range faults {
		fmt.Fprintf(env.Stdout, "FAIL  runbook %s: neither declared nor seen in 7 days\n", f)
	}
	if len(faults) > 0 {
		return daemon.Usage(nil)
	}
	return nil
}

func matches(operation string, s slo.SLI) bool {
	method, route, _ := strings.Cut(operation, " ")
	return route == s.Route && (s.Method == "" || s.Method == method)
}

// nearest names what may have been meant.
func nearest(wrong string, known []string) string {
	slices.Sort(known)
	best, most := "", 0
	for _, k := range known {
		common := 0
		for common < min(len(k), len(wrong)) && k[common] == wrong[common] {
			common++
		}
		if common > most {
			best, most = k, common
		}
	}
	if most < 3 {
		return ""
	}
	return fmt.Sprintf("; the nearest is %q", best)
}

func checkAlertmanagers(ctx context.Context, env *daemon.Env, c evaluate.Config) error {
	client, err := alertmanager.New(c.Alertmanagers, c.AlertmanagerAuth)
	if err != nil {
		return daemon.Usage(err)
	}
	peers, err := client.Peers(ctx)
	for _, p := range peers {
		fmt.Fprintf(env.Stdout, "ok    Alertmanager %s: version %s, cluster %s\n", p.URL, cmp.Or(p.Version, "not stated"), p.Cluster)
	}
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(env.Stdout, "FAIL  %s\n", line)
		}
		return daemon.Unreachable(nil)
	}
	return nil
}

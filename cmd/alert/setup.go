package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/ingest"
	"gatewatch/internal/layer"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
	"gatewatch/runbooks"
)

// configFlag adds --config.
func configFlag(fs *flag.FlagSet) *string {
	return fs.String("config", "", "`file` to read (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
}

// knowledge is what is read from files: objectives, owners and runbooks.
type knowledge struct {
	config   *config.Config
	set      *slo.Set
	owners   *owner.Catalog
	runbooks *runbook.Set
}

// load reads the configuration and all that it points to. Its error holds all
// faults, each with file and line.
func load(file string, getenv func(string) string) (*knowledge, error) {
	c, err := config.Load(file, getenv)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	k := &knowledge{config: c, set: new(slo.Set), owners: new(owner.Catalog)}
	var errs []error
	if c.Alert.SLOs != "" {
		k.set, err = slo.Load(os.DirFS(c.Alert.SLOs))
		errs = append(errs, inFolder(c.Alert.SLOs, err))
	}
	if c.Alert.Catalog != "" {
		k.owners, err = owner.Load(os.DirFS(c.Alert.Catalog))
		errs = append(errs, inFolder(c.Alert.Catalog, err))
	}
	if dir := c.Alert.Runbooks.Dir; dir != "" {
		k.runbooks, err = runbook.Load(os.DirFS(dir))
		errs = append(errs, inFolder(dir, err))
	} else {
		k.runbooks, err = runbook.Load(runbooks.FS)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, daemon.Usage(err)
	}
	return k, nil
}

func inFolder(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("in %s: %w", dir, err)
}

// faults returns why the objectives can't be run: no page without owner and runbook.
func (k *knowledge) faults() error {
	var errs []error
	if k.config.Alert.DefaultOwner == "" {
		errs = append(errs, k.config.Fault("alert.default_owner", "missing: name who answers for what nobody else does"))
	}
	for _, s := range k.set.SLOs {
		where := fmt.Sprintf("%s:%d: SLO %s", s.File, s.Line, s.Name)
		if k.lookup(s).Team.Name == "" {
			errs = append(errs, fmt.Errorf("%s has no owner: annotate it with gatewatch/owner, name its service in the catalogue, or set alert.default_owner", where))
		}
		if s.Runbook != "" {
			if _, ok := k.runbooks.Find(s.Runbook); !ok {
				errs = append(errs, fmt.Errorf("%s names runbook %s, which doesn't exist", where, s.Runbook))
			}
			continue
		}
		if _, ok := k.runbooks.Match(signal(s)); !ok {
			errs = append(errs, fmt.Errorf("%s has no runbook: write one that matches kind %s, or one without match for everything", where, signal(s).Kind))
		}
	}
	for _, u := range k.owners.UnknownTeams() {
		errs = append(errs, fmt.Errorf("%s: describe it, or correct the name", u))
	}
	return errors.Join(errs...)
}

// runbookFaults returns what is wrong with the user's own runbooks. Those that
// are built in are checked when they are built.
func (k *knowledge) runbookFaults(now time.Time) error {
	c := k.config.Alert
	if c.Runbooks.Dir == "" {
		return nil
	}
	known := runbook.Known{Today: now, Values: k.values(), Dashboards: evaluate.Dashboards()}
	if c.Catalog != "" {
		known.Owner = func(name string) bool { return name == c.DefaultOwner || k.owners.Knows(name) }
	}
	return inFolder(c.Runbooks.Dir, errors.Join(k.runbooks.Check(known)...))
}

// values are what the fields can have by which runbooks match.
func (k *knowledge) values() map[string][]string {
	var classes []string
	for _, e := range accesslog.ErrorClasses() {
		classes = append(classes, e.String())
	}
	return map[string][]string{
		"kind": kinds(), "error_class": classes, "severity": {"page", "ticket"}, "traffic": {"surge", "drop"},
		"reach": suspect.Reaches(), "responder": {"gateway", "upstream", "client", "unknown"}, "layer": layer.Names(),
	}
}

// kinds returns the names of all kinds of signal.
func kinds() []string {
	var names []string
	for _, k := range alert.Kinds() {
		names = append(names, string(k.Kind))
	}
	return names
}

// lookup returns who owns an objective.
func (k *knowledge) lookup(s slo.SLO) owner.Answer {
	return k.owners.Lookup(owner.Question{Stated: s.Owner, Service: s.Service, Method: s.SLI.Method, Route: s.SLI.Route}, k.config.Alert.DefaultOwner)
}

// signal is what an objective raises as far as it is known beforehand.
func signal(s slo.SLO) runbook.Signal {
	sig := runbook.Signal{Kind: string(alert.SLOBurn), Service: s.Service, Route: s.SLI.Route, Severity: "page", Window: "1h"}
	if s.SLI.Kind == slo.Latency {
		sig.Kind = string(alert.LatencyBurn)
	}
	return sig
}

// accessLogTopics returns the topics whose completeness counts for objectives.
func accessLogTopics(topics []ingest.TopicConfig) []string {
	var names []string
	for _, t := range topics {
		if t.Format != "otlp_proto" && t.Format != "otlp_json" {
			names = append(names, t.Name)
		}
	}
	return names
}

// openStore connects and compares the schema.
func openStore(ctx context.Context, c *config.Config) (*clickhouse.Conn, error) {
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	if err := store.CheckSchema(ctx); err != nil {
		store.Close()
		return nil, daemon.Unreachable(clickhouse.Explain(c.ClickHouse, err))
	}
	return store, nil
}

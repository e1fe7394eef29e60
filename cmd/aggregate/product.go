package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/kpi"
	"gatewatch/internal/owner"
)

// A productQuestion is what report answers a product manager.
type productQuestion struct {
	name, summary string
	ask           func(p *product, ctx context.Context) error
}

// productQuestions are in the order of the product manager's first screen.
var productQuestions = []productQuestion{
	{"usage", "calls, errors by class and latency by consumer, plan, tier, service or key, as of the time of the call; concentration", (*product).usage},
	{"signups", "who signed up, called, succeeded, was activated", (*product).signups},
	{"first-call", "how long it takes from the sign-up to the first success", (*product).firstCall},
	{"blockers", "which error on which route keeps consumers from their first success", (*product).blockers},
	{"retention", "who comes back: active consumers, stickiness, cohorts", (*product).retention},
	{"funnel", "where runs of workflows stop, and on which error", (*product).funnel},
	{"value", "what completed workflows are worth, and what is at risk now", (*product).value},
	{"quota", "what of their quota consumers have used, and when it will be gone", (*product).quota},
	{"deprecated", "who still calls what will be switched off; versions", (*product).deprecated},
	{"sla", "what was promised for the month, and what was kept", (*product).sla},
	{"inventory", "routes that are documented, called, both or neither; owners", (*product).inventory},
	{"fixes", "what to fix first: route and error class by value at risk", (*product).fixes},
	{"digest", "the week of each API: what moved, and why", (*product).digest},
}

// productDays is the window of product reports unless --from says otherwise.
const productDays = 30

// A product answers one product question.
type product struct {
	*reporter
	window  clickhouse.ProductWindow
	kpis    *kpi.Definitions
	catalog *owner.Catalog
	result  productAnswer

	// Read once a report; nil: not yet.
	known  []clickhouse.ConsumerRow
	active map[consumerID]*clickhouse.ActiveDays
	used   map[string][]clickhouse.QuotaUse
}

// A productAnswer is a report's content, as its JSON has it.
type productAnswer struct {
	Schema   string    `json:"schema"`
	Question string    `json:"question"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	// TimeZone is where days, weeks and months begin.
	TimeZone string         `json:"time_zone"`
	Tables   []productTable `json:"tables"`
	Notes    []string       `json:"notes,omitempty"`
	completeness

	markdown string // of the digest
}

// productSchema names the form of a product report's JSON.
const productSchema = "gatewatch/product/v1"

// A productTable is a list of rows of one form.
type productTable struct {
	Name string `json:"name"`
	// Rows is a slice of structs; their tags json and title name columns.
	Rows any `json:"rows"`

	title string
	empty string // what to say without rows
}

func (p *product) add(name, title, empty string, rows any) {
	p.result.Tables = append(p.result.Tables, productTable{Name: name, Rows: rows, title: title, empty: empty})
}

func (p *product) note(format string, args ...any) {
	p.result.Notes = append(p.result.Notes, fmt.Sprintf(format, args...))
}

// product answers a product question and writes the answer.
func (r *reporter) product(ctx context.Context, env *daemon.Env, q productQuestion) error {
	p := &product{reporter: r}
	if err := p.load(ctx, q.name); err != nil {
		return err
	}
	if err := q.ask(p, ctx); err != nil {
		return err
	}
	return p.write(ctx, env)
}

// load reads the window and what files define.
func (p *product) load(ctx context.Context, question string) (err error) {
	days := time.Duration(productDays)
	if question == "digest" {
		days = 7
	}
	from, to, err := p.reporter.window(p.now.Add(-days*24*time.Hour), p.now)
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(p.conf.Aggregate.ReportingTimeZone)
	if err != nil {
		return daemon.Usage(err)
	}
	from, end := from.Truncate(time.Hour), to.Truncate(time.Hour)
	if end.Before(to) {
		end = end.Add(time.Hour)
	}
	if keep := p.conf.Retention.Key1h; keep != 0 && from.Before(p.now.Add(-keep)) {
		return daemon.Unknown(fmt.Errorf("calls by consumer are kept by the hour for %s only (retention.key_1h), --from %s is older", config.FormatDuration(keep), from.Format(time.RFC3339)))
	}
	p.window = clickhouse.ProductWindow{From: from.UTC(), To: end.UTC(), Zone: zone}
	if p.kpis, err = loadKPIs(p.conf); err != nil {
		return err
	}
	if p.catalog, err = loadCatalog(p.conf); err != nil {
		return err
	}
	p.result = productAnswer{Schema: productSchema, Question: question, From: p.window.From, To: p.window.To, TimeZone: zone.String(), Tables: []productTable{}}
	p.result.completeness, err = p.completeness(ctx, end)
	return err
}

// loadKPIs reads the folder of KPI files.
func loadKPIs(c *config.Config) (*kpi.Definitions, error) {
	if c.Aggregate.KPI == "" {
		return kpi.Default(), nil
	}
	d, err := kpi.Load(os.DirFS(c.Aggregate.KPI))
	if err != nil {
		return nil, daemon.Usage(fmt.Errorf("in %s (aggregate.kpi):\n%w", c.Aggregate.KPI, err))
	}
	return d, nil
}

// loadCatalog reads the folder of ownership files.
func loadCatalog(c *config.Config) (*owner.Catalog, error) {
	if c.Alert.Catalog == "" {
		return &owner.Catalog{}, nil
	}
	catalog, err := owner.Load(os.DirFS(c.Alert.Catalog))
	if err != nil {
		return nil, daemon.Usage(fmt.Errorf("in %s (alert.catalog):\n%w", c.Alert.Catalog, err))
	}
	return catalog, nil
}

// ownerOf names who answers for an operation.
func (p *product) ownerOf(service, method, route string) string {
	return p.catalog.Lookup(owner.Question{Service: service, Method: method, Route: route}, p.conf.Alert.DefaultOwner).Team.Name
}

// documented returns the operations that OpenAPI documents of the catalogue
// describe, by service.
func documented(c *config.Config) ([]kpi.Route, error) {
	if c.Alert.Catalog == "" {
		return nil, nil
	}
	docs, err := owner.Documents(os.DirFS(c.Alert.Catalog))
	if err != nil {
		return nil, daemon.Usage(fmt.Errorf("in %s (alert.catalog):\n%w", c.Alert.Catalog, err))
	}
	var routes []kpi.Route
	for _, d := range docs {
		list, err := normalise.OpenAPIRoutes(d.Text)
		if err != nil {
			return nil, daemon.Usage(fmt.Errorf("%s: %w", d.File, err))
		}
		for _, r := range list {
			method, template, _ := strings.Cut(r, " ")
			routes = append(routes, kpi.Route{Service: d.Service, Method: method, Template: template})
		}
	}
	return routes, nil
}

// limited cuts a list for people to --limit and says so.
func limited[T any](p *product, what string, rows []T) []T {
	if p.flags.output == "table" && p.flags.limit > 0 && len(rows) > p.flags.limit {
		p.note("%s: the first %d of %d; --limit 0 shows all", what, p.flags.limit, len(rows))
		return rows[:p.flags.limit]
	}
	return rows
}

// export returns the table that --table names, or the first.
func (p *product) export() (productTable, error) {
	if p.flags.table == "" {
		return p.result.Tables[0], nil
	}
	var names []string
	for _, t := range p.result.Tables {
		if t.Name == p.flags.table {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return productTable{}, daemon.Usagef("--table %q: this report has %s", p.flags.table, strings.Join(names, ", "))
}

// runKPI brings what files define and the runs of workflows up to date, once.
func runKPI(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "kpi", `publishes the KPI files and brings the runs of workflows up to date, once.

run does this at every aggregate.kpi_interval. Publish before you import a
history: calls to routes of workflows are collected by the insert, and of what
is there already only as far back as raw rows are kept.`, "gatewatch-aggregate kpi --config /etc/gatewatch/gatewatch.yaml")
	file := fs.String("config", "", "`file` to read (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("kpi takes no arguments, got %q", fs.Arg(0))
	}
	c, err := config.Load(*file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	defs, err := loadKPIs(c)
	if err != nil {
		return err
	}
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer store.Close()
	log, err := daemon.NewLogger(env.Stderr, "error")
	if err != nil {
		return err
	}
	w := workflower(c, defs, store, log, daemon.NewRegistry())
	if err := errors.Join(w.Publish(ctx), w.Pass(ctx)); err != nil {
		return storeError(c.ClickHouse, err)
	}
	fmt.Fprintf(env.Stdout, "%s published, runs are up to date\n", daemon.Plural(int64(len(defs.Workflows)), "workflow"))
	return nil
}

// questionNames are all names that report knows.
func questionNames() []string {
	names := []string{"summary"}
	for _, q := range questions {
		names = append(names, q.name)
	}
	for _, q := range sheetQuestions {
		names = append(names, q.name)
	}
	for _, q := range productQuestions {
		names = append(names, q.name)
	}
	slices.Sort(names)
	return names
}

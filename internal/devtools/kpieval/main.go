// Command kpieval holds every figure of the product reports against a
// brute-force computation over the list of what was generated, which shares no
// code with the product: 35 days of 2,000 consumers, delivered late, twice and
// out of order, across rotated keys, changed plans, renamed and merged
// consumers. It also measures how often a blocker is the true one and how often
// a forecast's interval holds the true moment. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/loadgen"
)

func main() {
	leash.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ok, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kpieval:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// result is the last line.
type result struct {
	Exact    bool    `json:"exact"` // every figure equals the brute-force one
	Figures  int     `json:"figures"`
	Wrong    int     `json:"wrong"`
	Blockers float64 `json:"blockers"` // share of labelled stuck consumers whose blocker is right
	Stuck    int     `json:"stuck"`
	Quota    float64 `json:"quota_coverage"` // share of forecasts whose interval holds the truth
	Quotas   int     `json:"forecasts"`
	Calls    int     `json:"calls"`
}

// zone is where the reports' days begin: not UTC, and its clocks change in October.
const zone = "Europe/Berlin"

// definitions is what the product manager of the generated API declares.
const definitions = `workflows:
  - name: checkout
    window: 30m
    steps:
      - {name: cart, service: orders, method: POST, route: /v1/carts}
      - {name: item, service: orders, method: POST, route: "/v1/carts/{id}/items"}
      - {name: order, service: orders, method: POST, route: /v1/orders}
      - {name: charge, service: payments, method: POST, route: /v1/charges}
    value: {amount: 12.5, currency: EUR}
  - name: label
    by: key
    window: 2h
    steps: [{name: rate, method: POST, route: /v1/rates}, {name: label, method: POST, route: /v1/labels, status: 201}]
    value: {field: amount, currency: USD}
plans:
  - name: metered
    quotas: [{calls: 600, per: month}]
  - {name: pro, sla: {availability: 0.99, latency: {under: 80ms, share: 0.8}}}
  - {name: enterprise, sla: {availability: 0.995, per_consumer: true}}
tiers: [{name: gold, sla: {availability: 0.99}}]
deprecations:
  - {service: catalog, version: v1, sunset: 2027-01-31, successor: v2}
  - {method: GET, route: "/v1/orders/{order}", sunset: 2027-03-31}
activation: {calls: 12, days: 2, within: 5d}
cohorts: {by: week, days: [1, 7, 30]}
`

func run(ctx context.Context, args []string) (bool, error) {
	fs := flag.NewFlagSet("kpieval", flag.ContinueOnError)
	consumers := fs.Int("consumers", 2000, "consumers to simulate")
	days := fs.Int("days", 35, "days to simulate")
	seed := fs.Uint64("seed", 1, "of the traffic")
	if err := fs.Parse(args); err != nil {
		return false, err
	}
	now := time.Now().UTC()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return false, err
	}
	// A month ends with the traffic, so that forecasts within it have their truth.
	end := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, loc).UTC()
	traffic := loadgen.NewProductTraffic(*seed, end.AddDate(0, 0, -*days), *days, *consumers)
	fmt.Printf("%d calls by %d consumers in %d days, %d key events\n", len(traffic.Calls), *consumers, *days, len(traffic.Events))
	dir, err := os.MkdirTemp("", "gatewatch-kpieval-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	e := &evaluation{dir: dir, traffic: traffic, seed: *seed}
	if err := e.start(ctx); err != nil {
		return false, err
	}
	defer e.stop()
	if err := e.deliver(ctx); err != nil {
		return false, err
	}
	r, err := e.compare(ctx)
	if err != nil {
		return false, err
	}
	r.Calls = len(traffic.Calls)
	r.Exact = r.Wrong == 0
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return false, err
	}
	return r.Exact && r.Blockers >= 0.95 && r.Quota >= 0.9, nil
}

// An evaluation is a store with the traffic in it, and the binary to be asked.
type evaluation struct {
	dir, bin, settings string
	seed               uint64
	engine             *engine.Server
	conn               *clickhouse.Conn
	traffic            *loadgen.ProductTraffic
}

func (e *evaluation) start(ctx context.Context) error {
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	e.bin = filepath.Join(e.dir, "aggregate")
	if err := devstack.Build(ctx, root, e.dir, "aggregate"); err != nil {
		return err
	}
	if e.engine, err = engine.Start(ctx, engine.Config{Dir: filepath.Join(e.dir, "engine"), Log: os.Stderr}); err != nil {
		return err
	}
	c := clickhouse.DefaultConfig()
	c.Address, c.Username, c.PasswordFile = e.engine.Addr, e.engine.Username, filepath.Join(e.dir, "password")
	if err := os.WriteFile(c.PasswordFile, []byte(e.engine.Password), 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(e.dir, "kpi"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(e.dir, "kpi", "api.yaml"), []byte(definitions), 0o600); err != nil {
		return err
	}
	e.settings = filepath.Join(e.dir, "gatewatch.yaml")
	text := fmt.Sprintf("kafka: {brokers: [127.0.0.1:1], topics: [{name: access, format: nginx_json}]}\nclickhouse: {address: %q, username: %q, password_file: password}\naggregate: {kpi: kpi, reporting_time_zone: %s}\nalert: {default_owner: platform}\nretention: {key_1h: 2y}\n",
		c.Address, c.Username, zone)
	if err := os.WriteFile(e.settings, []byte(text), 0o600); err != nil {
		return err
	}
	if e.conn, err = clickhouse.Open(c); err != nil {
		return err
	}
	_, err = e.conn.Migrate(ctx)
	return err
}

func (e *evaluation) stop() {
	if e.conn != nil {
		_ = e.conn.Close()
	}
	if e.engine != nil {
		_ = e.engine.Stop(5 * time.Second)
	}
}

// aggregate runs the binary.
func (e *evaluation) aggregate(ctx context.Context, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, e.bin, append(args, "--config", e.settings)...)
	out, err := c.Output()
	if err != nil {
		text := ""
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Output returns it bare
			text = string(exit.Stderr)
		}
		return nil, fmt.Errorf("aggregate %v: %w\n%s%s", args, err, out, text)
	}
	return out, nil
}

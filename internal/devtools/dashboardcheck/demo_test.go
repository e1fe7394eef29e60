package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/panelcheck"
	"gatewatch/internal/devstack/rollupfill"
)

// testDays is the demo's past: a check of everything over weeks is `make dashboards-check`.
const testDays = 2

// The demo goes through Kafka and the built binaries; all tests on it share it.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := devstack.Build(t.Context(), repository, dir); err != nil {
		t.Fatal(err)
	}
	d, err := startDemo(t.Context(), repository, dir, filepath.Join(dir, "stack"), testDays, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.stack.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	db, err := d.grafana()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	limit, err := stretched(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{db: db, from: d.From, to: d.To, slow: limit}
	boards := read(t)
	found := map[string][]outcome{}
	t.Run("Panels", func(t *testing.T) { testPanels(t, c, boards, found) })
	t.Run("Links", func(t *testing.T) { testLinks(t, boards, found) })
	t.Run("ThreeClicks", func(t *testing.T) { testThreeClicks(t, c, boards) })
	t.Run("Hostile", func(t *testing.T) { testHostile(t, c, boards) })
	t.Run("Levels", func(t *testing.T) { testLevels(t, c) })
	t.Run("Complete", func(t *testing.T) { testComplete(t, c, boards) })
	t.Run("Empty", func(t *testing.T) { testEmpty(t, d, boards) })
	t.Run("LogsOnly", func(t *testing.T) { testLogsOnly(t, d, boards) })
	t.Run("Metrics", func(t *testing.T) { testMetrics(t, d) })
	t.Run("Tenants", func(t *testing.T) { testTenants(t, d) })
}

// mayBeEmpty are the panels for which the demo has nothing, and why.
var mayBeEmpty = map[string]string{
	"consumer.json panel Use beside the quota":                 "the largest consumer's plan may have none",
	"product.json panel What keeps new consumers from success": "nobody new is stuck on a second day",
	"oncall.json panel Called useful":                          "nobody has noted anything",
	"oncall.json panel What people noted":                      "nobody has noted anything",
	"pipeline.json panel Gateways' own counters":               "the demo has no gateways",
	"slo.json panel In maintenance":                            "none is declared",
	"product.json panel Leaving, or shrinking by half":         "nobody leaves",
	"security.json panel Revoked keys that still call":         "none was revoked",
	"security.json panel Changes of keys":                      "all keys are older",
	"requests.json panel Spans of the trace":                   "no trace is chosen",
	"product.json panel Sign-ups, of these succeeded":          "nobody signs up in the last day",
	"product.json panel Time to first success, median":         "nobody signs up in the last day",
	"product.json panel Sign-ups a day":                        "nobody signs up in the last day",
	"product.json panel Active consumers and keys a day":       "no UTC day lies whole in the range and is complete",
}

func testPanels(t *testing.T, c *checker, boards []board, found map[string][]outcome) {
	for i := range boards {
		b := &boards[i]
		formats := b.formats()
		found[b.File] = c.board(t.Context(), b, nil)
		for _, o := range found[b.File] {
			f := formats[o.Kind+" "+o.Panel]
			if p := c.problem(&o, f.kind, f.format); p != "" {
				t.Errorf("%s: %s\n%s", o.name(), p, o.SQL)
			}
			if o.Err == nil && o.Frame.Rows() == 0 && o.Kind != "annotation" && mayBeEmpty[o.name()] == "" {
				t.Errorf("%s: no rows\n%s", o.name(), o.SQL)
			}
		}
	}
}

// hostile are values that would end a text or a list, if they could.
var hostile = []string{`'; DROP TABLE access_log; --`, `\`, `it's`, `a"b`, `%27%5C`, `x') OR 1=1 --`, `\' OR 1=1 --`, "a&var-service=payments", "$__all'", "{{x}}", "a,b", "ü €"}

// real are values that the demo has, by variable.
var real = map[string]string{
	"service": "payments", "consumer": "shop-072", "error_class": "upstream_timeout", "slo": "payments-availability", "workflow": "checkout", "plan": "pro", "region": "eu-west-1", "version": "v1",
}

// With hostile values, thousands of them, beside real ones, every panel shows what
// it shows with the real ones alone.
func testHostile(t *testing.T, c *checker, boards []board) {
	tables := count(t, c.db, "SELECT count() FROM system.tables WHERE database = currentDatabase()")
	rows := count(t, c.db, "SELECT count() FROM v_access_log")
	many := slices.Clone(hostile)
	for i := range 4000 {
		many = append(many, fmt.Sprintf("no such value %d", i))
	}
	for i := range boards {
		b := &boards[i]
		alone, _ := c.selection(t.Context(), b)
		among := panelcheck.Vars{}
		for name := range alone {
			if value, ok := real[name]; ok {
				alone[name], among[name] = []string{value}, append(slices.Clone(many), value)
			} else if len(alone[name]) == 1 {
				among[name] = alone[name]
			}
		}
		want, got := c.board(t.Context(), b, alone), c.board(t.Context(), b, among)
		for j := range got {
			switch {
			case got[j].Err != nil:
				t.Errorf("%s with hostile values: %v", got[j].name(), got[j].Err)
			case want[j].Err == nil && got[j].Frame.Rows() != want[j].Frame.Rows():
				t.Errorf("%s: %d rows with hostile values, %d without", got[j].name(), got[j].Frame.Rows(), want[j].Frame.Rows())
			}
		}
		// Where one value is chosen, a hostile one alone.
		for name := range alone {
			if v := alone[name]; len(v) == 1 && real[name] == "" {
				for _, o := range c.board(t.Context(), b, with(alone, name, hostile[6])) {
					if o.Err != nil {
						t.Errorf("%s with a hostile %s: %v", o.name(), name, o.Err)
					}
				}
			}
		}
	}
	if n := count(t, c.db, "SELECT count() FROM system.tables WHERE database = currentDatabase()"); n != tables {
		t.Errorf("%d tables, %d before", n, tables)
	}
	if n := count(t, c.db, "SELECT count() FROM v_access_log"); n != rows {
		t.Errorf("%d rows, %d before", n, rows)
	}
}

func with(vars panelcheck.Vars, name string, values ...string) panelcheck.Vars {
	next := maps.Clone(vars)
	next[name] = values
	return next
}

func count(t *testing.T, db *sql.DB, query string) (n uint64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func find(boards []board, uid string) *board {
	for i := range boards {
		if boards[i].UID == uid {
			return &boards[i]
		}
	}
	return nil
}

// Each link of a panel with rows opens a board that there is, with variables that it has.
func testLinks(t *testing.T, boards []board, found map[string][]outcome) {
	followed := 0
	for i := range boards {
		b := &boards[i]
		vars := panelcheck.Vars{}
		frames := map[string]*data.Frame{}
		for _, o := range found[b.File] {
			if o.Kind == "panel" {
				frames[o.Panel], vars = o.Frame, o.vars
			}
		}
		for _, p := range b.all() {
			f := frames[p.Title]
			if f == nil || f.Rows() == 0 {
				continue
			}
			for _, l := range p.links() {
				uid, next, err := follow(l, f, 0, vars)
				if err != nil {
					t.Errorf("%s %s: %v", b.File, p.Title, err)
					continue
				}
				if uid == "" {
					continue
				}
				followed++
				to := find(boards, uid)
				if to == nil {
					t.Errorf("%s %s: the link %q leads to %s, which is no board", b.File, p.Title, l.Title, uid)
					continue
				}
				for name := range next {
					if !slices.ContainsFunc(to.Templating.List, func(v variable) bool { return v.Name == name }) {
						t.Errorf("%s %s: the link %q sets %s, which %s does not have", b.File, p.Title, l.Title, name, uid)
					}
				}
			}
		}
	}
	if followed < 30 {
		t.Errorf("only %d links were followed", followed)
	}
}

// From the list of incidents to the failing key's raw requests it is three clicks:
// incident, key, and the trace of one of its requests.
func testThreeClicks(t *testing.T, c *checker, boards []board) {
	board, vars := find(boards, "gw-overview"), panelcheck.Vars{}
	clicks := []struct{ panel, link, where, is string }{
		{"Incidents, open ones first", "This incident", "service", "payments"},
		{"Affected consumers and keys", "Failing requests of this key", "", ""},
		{"Requests, the newest first", "Its spans", "", ""},
	}
	for _, click := range clicks {
		frame, p := c.panel(t, board, click.panel, vars)
		if frame.Rows() == 0 {
			t.Fatalf("%s: %s is empty under %v", board.File, click.panel, vars)
		}
		row := 0
		if click.where != "" {
			f, _ := frame.FieldByName(click.where)
			for row < frame.Rows()-1 && fmt.Sprint(f.At(row)) != click.is {
				row++
			}
		}
		i := slices.IndexFunc(p.links(), func(l link) bool { return l.Title == click.link })
		if i < 0 {
			t.Fatalf("%s: %s has no link %q", board.File, click.panel, click.link)
		}
		uid, next, err := follow(p.links()[i], frame, row, vars)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, %s, %s → %s %v", board.File, click.panel, click.link, uid, next)
		if board, vars = find(boards, uid), next; board == nil {
			t.Fatalf("%s is no board", uid)
		}
		if click.link == "Failing requests of this key" {
			frame, _ := c.panel(t, board, "Requests, the newest first", vars)
			keys, _ := frame.FieldByName("key")
			for r := range frame.Rows() {
				if got := fmt.Sprint(keys.At(r)); got != vars["key"][0] {
					t.Fatalf("row %d is of key %s, not of %v", r, got, vars["key"])
				}
			}
		}
	}
	frame, _ := c.panel(t, board, "Requests, the newest first", vars)
	if frame.Rows() == 0 {
		t.Errorf("no request with the trace %v", vars["trace"])
	}
}

// panel runs one panel of a board.
func (c *checker) panel(t *testing.T, b *board, title string, vars panelcheck.Vars) (*data.Frame, *panel) {
	t.Helper()
	for _, v := range b.Templating.List {
		if _, ok := vars[v.Name]; !ok && v.Type == "textbox" {
			vars = with(vars, v.Name, "")
		}
	}
	for _, p := range b.all() {
		if p.Title == title {
			o := c.query(t.Context(), p.Targets[0].Target, vars)
			if o.Err != nil {
				t.Fatalf("%s %s: %v", b.File, title, o.Err)
			}
			return o.Frame, &p
		}
	}
	t.Fatalf("%s has no panel %s", b.File, title)
	return nil, nil
}

// The same hours give the same p99 at every level, and so does a change of level.
func testLevels(t *testing.T, c *checker) {
	from, to := c.to.Truncate(time.Hour).Add(-4*time.Hour), c.to.Truncate(time.Hour)
	rows, err := c.db.QueryContext(t.Context(), `SELECT grain, n, exp2((mapKeys(h)[arrayFirstIndex(x -> x >= ceil(0.99 * arraySum(mapValues(h))), arrayCumSum(mapValues(h)))] + 0.5) / 64)
		FROM (SELECT r.grain AS grain, sum(r.requests) AS n, sumMap(r.latency_hist) AS h FROM v_request AS r WHERE r.time >= fromUnixTimestamp(?) AND r.time < fromUnixTimestamp(?) GROUP BY grain) ORDER BY grain`, from.Unix(), to.Unix())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var counts []int64
	var quantiles []float64
	for rows.Next() {
		var grain uint16
		var n int64
		var q float64
		if err := rows.Scan(&grain, &n, &q); err != nil {
			t.Fatal(err)
		}
		counts, quantiles = append(counts, n), append(quantiles, q)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(counts) != 3 || counts[0] != counts[1] || counts[1] != counts[2] || counts[0] < 100 {
		t.Errorf("requests by level: %v", counts)
	}
	for _, q := range quantiles {
		if math.Abs(q/quantiles[0]-1) > 0.01 {
			t.Errorf("p99 by level: %v", quantiles)
		}
	}
}

// No curve of requests has a point whose step is not complete.
func testComplete(t *testing.T, c *checker, boards []board) {
	for _, span := range []time.Duration{time.Hour, 12 * time.Hour, 4 * 24 * time.Hour} {
		narrow := &checker{db: c.db, from: c.to.Add(-span), to: time.Now().Add(time.Hour)}
		var complete time.Time
		if err := c.db.QueryRowContext(t.Context(), "SELECT complete_until FROM v_complete").Scan(&complete); err != nil {
			t.Fatal(err)
		}
		step := narrow.interval()
		switch {
		case span <= time.Hour:
			step = max(step, 10*time.Second)
		case span <= 24*time.Hour:
			step = max(step, time.Minute)
		default:
			step = max(step, time.Hour)
		}
		frame, _ := narrow.panel(t, find(boards, "gw-overview"), "Requests by service", panelcheck.Vars{})
		if frame.Rows() == 0 {
			t.Errorf("no points over %s", span)
			continue
		}
		last, _ := frame.Fields[0].ConcreteAt(frame.Rows() - 1)
		// The query ran after complete was read.
		if end := last.(time.Time).Add(step); end.After(complete.Add(time.Minute)) {
			t.Errorf("over %s the last step ends at %s, complete until %s", span, end.UTC(), complete)
		}
	}
}

// other makes another database on the demo's server, with its schema.
func (d *demo) other(t *testing.T, name string) (*clickhouse.Conn, *checker) {
	t.Helper()
	config := clickhouse.Config{Address: d.stack.Engine.Addr, Database: name, Username: d.stack.Engine.Username, PasswordFile: filepath.Join(filepath.Dir(d.stack.Settings), "clickhouse-password")}
	conn, err := clickhouse.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Drop(context.Background()); err != nil {
			t.Errorf("drop %s: %v", name, err)
		}
		conn.Close()
	})
	if _, err := conn.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := panelcheck.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return conn, &checker{db: db, from: d.From, to: d.To}
}

// capabilities returns v_setup: whether each is set up, by its next step.
func capabilities(t *testing.T, db *sql.DB) map[string]bool {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT next_step, configured = 'yes' AND last_seen IS NOT NULL OR configured = 'yes' AND capability IN ('objectives', 'routes', 'quotas', 'deprecations', 'maintenance') FROM v_setup")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]bool{}
	for rows.Next() {
		var step string
		var is bool
		if err := rows.Scan(&step, &is); err != nil {
			t.Fatal(err)
		}
		found[step] = is
	}
	return found
}

// blank reports whether a panel shows nothing.
func blank(f *data.Frame) bool {
	for _, x := range f.Fields {
		for i := range f.Rows() {
			if _, ok := x.ConcreteAt(i); ok && !x.Type().Time() {
				return false
			}
		}
	}
	return true
}

// causes checks that panels without data say why, and that it is so.
func causes(t *testing.T, c *checker, boards []board, all bool) {
	setup := capabilities(t, c.db)
	for i := range boards {
		b := &boards[i]
		panels := map[string]panel{}
		for _, p := range b.all() {
			panels[p.Title] = p
		}
		for _, o := range c.board(t.Context(), b, nil) {
			if o.Err != nil {
				t.Errorf("%s: %v\n%s", o.name(), o.Err, o.SQL)
				continue
			}
			p := panels[o.Panel]
			if o.Kind != "panel" || p.Title == "Set-up" {
				continue
			}
			if !blank(o.Frame) {
				if all {
					t.Errorf("%s shows %d rows of nothing: %s", o.name(), o.Frame.Rows(), first(fmt.Sprint(o.Frame.Fields[0].At(0)), 40))
				}
				continue
			}
			why, step := p.cause()
			known, ok := setup[step]
			switch {
			case !ok:
				t.Errorf("%s: v_setup does not know the step %q", o.name(), step)
			case known && (why == "Nothing in this range" || strings.HasSuffix(why, ": see Set-up")):
				t.Errorf("%s is empty and gives as its cause what is there: %q", o.name(), step)
			}
		}
	}
}

func testEmpty(t *testing.T, d *demo, boards []board) {
	_, c := d.other(t, "gatewatch_empty")
	causes(t, c, boards, true)
}

func testLogsOnly(t *testing.T, d *demo, boards []board) {
	conn, c := d.other(t, "gatewatch_logs")
	if err := conn.Exec(t.Context(), "INSERT INTO access_log SELECT * FROM gatewatch.access_log WHERE ts >= now() - INTERVAL 6 HOUR"); err != nil {
		t.Fatal(err)
	}
	if err := rollupfill.FillAll(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	causes(t, c, boards, false)
}

// Every metric that a dashboard or a rule reads is one that the binaries have.
func testMetrics(t *testing.T, d *demo) {
	have := map[string]bool{"up": true}
	for _, addr := range []string{d.stack.Ingest, d.stack.Aggregate, d.stack.Alert} {
		families, err := devstack.Scrape(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range families {
			have[name] = true
			if f.GetType().String() == "HISTOGRAM" {
				have[name+"_bucket"], have[name+"_sum"], have[name+"_count"] = true, true, true
			}
		}
	}
	for where, expr := range expressions(t) {
		names, err := metricNames(expr)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		if len(names) == 0 {
			t.Errorf("%s reads no metric: %s", where, expr)
		}
		for _, n := range names {
			if !have[n] {
				t.Errorf("%s reads %s, which no binary has", where, n)
			}
		}
	}
}

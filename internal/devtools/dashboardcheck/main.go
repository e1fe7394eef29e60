// Command dashboardcheck runs the queries of all dashboards as Grafana's data
// source does, on the demo's data (a past of days, a busier last day, an outage
// that goes on), and prints what each dashboard took; the last line is JSON.
// With --address it asks a server of yours instead.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/panelcheck"
)

func main() {
	leash.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	problems, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "dashboardcheck:", err)
		os.Exit(2)
	case problems > 0:
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	days       int
	address    string
	database   string
	user       string
	password   string // file
	span       time.Duration
	dashboards string
	draw       string // folder
	verbose    bool
	hold       bool
}

func run(ctx context.Context, args []string, out io.Writer) (problems int, err error) {
	fs := flag.NewFlagSet("dashboardcheck", flag.ContinueOnError)
	var o options
	fs.IntVar(&o.days, "days", 15, "of the demo's past")
	fs.StringVar(&o.address, "address", "", "`host:port` of a ClickHouse to ask instead of the demo's")
	fs.StringVar(&o.database, "database", "gatewatch", "on that server")
	fs.StringVar(&o.user, "user", "default", "of that server")
	fs.StringVar(&o.password, "password-file", "", "`file` with the user's password")
	fs.DurationVar(&o.span, "span", 24*time.Hour, "the range that is asked for")
	fs.StringVar(&o.dashboards, "dashboards", "", "`folder` of dashboards (default: the repository's)")
	fs.StringVar(&o.draw, "draw", "", "write what the panels show to this `folder`, for pictures, and check nothing")
	fs.BoolVar(&o.verbose, "v", false, "print each query with its rows and time")
	fs.BoolVar(&o.hold, "hold", false, "keep the demo's servers until Ctrl-C")
	if err := fs.Parse(args); err != nil {
		return 0, err
	}
	root, err := devstack.Root(".")
	if err != nil {
		return 0, err
	}
	if o.dashboards == "" {
		o.dashboards = filepath.Join(root, "dashboards")
	}
	boards, err := readBoards(o.dashboards)
	if err != nil {
		return 0, err
	}
	if o.address != "" {
		db, err := panelcheck.Open(clickhouse.Config{Address: o.address, Database: o.database, Username: o.user, PasswordFile: o.password})
		if err != nil {
			return 0, err
		}
		defer db.Close()
		now := time.Now()
		return o.ask(ctx, out, &checker{db: db, from: now.Add(-o.span), to: now, slow: slowest}, boards)
	}
	return onDemo(ctx, out, root, boards, o)
}

// onDemo builds the binaries and the demo, and checks on it as Grafana's user.
func onDemo(ctx context.Context, out io.Writer, root string, boards []board, o options) (int, error) {
	dir, err := os.MkdirTemp("", "gatewatch-dashboards-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := devstack.Build(ctx, root, dir); err != nil {
		return 0, err
	}
	begin := time.Now()
	d, err := startDemo(ctx, root, dir, filepath.Join(dir, "stack"), o.days, o.draw != "")
	if err != nil {
		return 0, err
	}
	defer d.stack.Stop() //nolint:errcheck // its data goes next
	fmt.Fprintf(os.Stderr, "dashboardcheck: the demo stands after %.0f s\n", time.Since(begin).Seconds())
	db, err := d.grafana()
	if err != nil {
		return 0, err
	}
	defer db.Close()
	limit, err := stretched(ctx, db)
	if err != nil {
		return 0, err
	}
	n, err := o.ask(ctx, out, &checker{db: db, from: d.To.Add(-o.span), to: d.To, slow: limit}, boards)
	if o.hold && err == nil {
		fmt.Fprintf(os.Stderr, "held: --address %s --user %s, password %s, %s\n", d.stack.Engine.Addr, grafanaUser, loginPassword, d.stack.Settings)
		<-ctx.Done()
	}
	return n, err
}

// ask draws or checks.
func (o *options) ask(ctx context.Context, out io.Writer, c *checker, boards []board) (int, error) {
	if o.draw != "" {
		return 0, c.draw(ctx, boards, o.dashboards, o.draw)
	}
	return report(ctx, out, c, boards, o.verbose)
}

// grafanaUser is the shipped users.xml's user for Grafana.
const grafanaUser = "gatewatch_grafana"

// grafana connects as the user that deploy/clickhouse makes for Grafana.
func (d *demo) grafana() (*sql.DB, error) {
	file := filepath.Join(filepath.Dir(d.stack.Settings), "grafana-password")
	if err := os.WriteFile(file, []byte(loginPassword), 0o600); err != nil {
		return nil, err
	}
	return panelcheck.Open(clickhouse.Config{Address: d.stack.Engine.Addr, Database: "gatewatch", Username: grafanaUser, PasswordFile: file})
}

// A result is the last line.
type result struct {
	Dashboards int     `json:"dashboards"`
	Panels     int     `json:"panels"`
	Queries    int     `json:"queries"`
	Problems   int     `json:"problems"`
	Slowest    float64 `json:"slowest_s"`
}

// report checks all dashboards and prints what was found.
func report(ctx context.Context, out io.Writer, c *checker, boards []board, verbose bool) (int, error) {
	var r result
	var found []string
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DASHBOARD\tPANELS\tQUERIES\tROWS\tSLOWEST\tOF\tPROBLEMS")
	for i := range boards {
		b := &boards[i]
		rows, slowest, of, problems := 0, time.Duration(0), "", 0
		outcomes := c.board(ctx, b, nil)
		formats := b.formats()
		for j := range outcomes {
			o := &outcomes[j]
			f := formats[o.Kind+" "+o.Panel]
			if p := c.problem(o, f.kind, f.format); p != "" {
				problems++
				found = append(found, o.name()+": "+p)
			}
			if o.Frame != nil {
				rows += o.Frame.Rows()
			}
			if o.Took > slowest {
				slowest, of = o.Took, o.Panel
			}
			if verbose {
				n := -1
				if o.Frame != nil {
					n = o.Frame.Rows()
				}
				found = append(found, fmt.Sprintf("  %s: %d rows, %.3f s", o.name(), n, o.Took.Seconds()))
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.2f s\t%s\t%d\n", b.File, len(b.all()), len(outcomes), rows, slowest.Seconds(), of, problems)
		r.Dashboards++
		r.Panels += len(b.all())
		r.Queries += len(outcomes)
		r.Problems += problems
		r.Slowest = max(r.Slowest, float64(slowest.Round(time.Millisecond))/float64(time.Second))
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	if len(found) > 0 {
		fmt.Fprintln(out, strings.Join(found, "\n"))
	}
	return r.Problems, json.NewEncoder(out).Encode(r)
}

// A form is how a query's answer is read.
type form struct {
	kind   string // the panel's type, or annotation
	format int
}

// formats returns how each query of a board is read, by kind and name.
func (b *board) formats() map[string]form {
	m := map[string]form{}
	for _, p := range b.all() {
		for _, t := range p.Targets {
			m["panel "+p.Title] = form{p.Type, t.Format}
		}
	}
	for _, v := range b.Templating.List {
		m["variable "+v.Name] = form{"variable", 1}
	}
	for _, a := range b.Annotations.List {
		m["annotation "+a.Name] = form{"annotation", 1}
	}
	return m
}

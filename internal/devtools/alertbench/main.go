// Command alertbench measures what evaluation costs: a tick of 10,000 series,
// read from a real ClickHouse and judged, and backtests of 100 objectives over 30
// and 90 days of minutes. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/slo"
)

func main() { leash.Command("alertbench", run) }

// result is the last line. CPU is that of this process and of the engine.
type result struct {
	Tick      float64 `json:"tick_10k_series_s"`
	TickCPU   float64 `json:"tick_10k_series_cpu_s"`
	Start     float64 `json:"start_10k_series_s"`
	Days30    float64 `json:"backtest_30d_100slo_s"`
	Days30CPU float64 `json:"backtest_30d_100slo_cpu_s"`
	Days90    float64 `json:"backtest_90d_100slo_s"`
	Days90CPU float64 `json:"backtest_90d_100slo_cpu_s"`
	Series    int     `json:"series"`
	Pages     int     `json:"pages_90d"`
}

type bench struct {
	conn   *clickhouse.Conn
	engine int // its process
	res    result
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("alertbench", flag.ContinueOnError)
	days := fs.Int("days", 90, "how long the longer backtest is")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewatch-alertbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := engine.Start(ctx, engine.Config{Dir: dir, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer server.Stop(10 * time.Second) //nolint:errcheck // its data goes next
	c := clickhouse.DefaultConfig()
	c.Address, c.Username, c.PasswordFile = server.Addr, server.Username, filepath.Join(dir, "password")
	if err := os.WriteFile(c.PasswordFile, []byte(server.Password), 0o600); err != nil {
		return err
	}
	b := &bench{engine: server.PID()}
	if b.conn, err = clickhouse.Open(c); err != nil {
		return err
	}
	defer b.conn.Close()
	if _, err := b.conn.Migrate(ctx); err != nil {
		return err
	}
	if err := b.ticks(ctx); err != nil {
		return err
	}
	if err := b.backtests(ctx, *days); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(b.res)
}

const (
	services = 100
	routes   = 100 // of each service: a series each
	ticks    = 12
)

// ticks measures a start and ticks of 100 objectives that are judged by route.
func (b *bench) ticks(ctx context.Context) error {
	end := time.Now().UTC().Truncate(time.Hour)
	// Half an hour of every route: a good and a failed row in each window of ten seconds.
	fmt.Fprintln(os.Stderr, "alertbench: filling half an hour of 10,000 routes …")
	for s := 0; s < services; s += 10 {
		err := b.conn.Exec(ctx, fmt.Sprintf(`INSERT INTO request_10s (time, service, route, method, error_class, responder, requests, timed)
			SELECT toDateTime(%d, 'UTC') - 10 * (intDiv(number, 2000) + 1), concat('s', toString(%d + intDiv(number, 100) %% 10)), concat('/r', toString(number %% 100)), 'GET',
				if(number %% 2000 < 1000, 'none', 'upstream_5xx') AS class, 'unknown', if(class = 'none', 50, 1), 50 FROM numbers(%d)`, end.Unix(), s, 2000*6*30))
		if err != nil {
			return err
		}
	}
	set := &slo.Set{}
	for i := range services {
		set.SLOs = append(set.SLOs, slo.SLO{
			Name: fmt.Sprint(i), Service: fmt.Sprintf("s%d", i), Target: 0.999, Period: 30 * 24 * time.Hour, Windows: slo.DefaultWindows(), MinBad: 3, Group: slo.ByRoute, MaxGroups: routes,
		})
	}
	e := evaluate.NewEvaluator(set)
	first := end.Add(-ticks * 10 * time.Second)
	begin, _ := b.clock()
	e.Begin(first)
	if err := evaluate.LoadPast(ctx, b.conn, e, evaluate.Reach{}); err != nil {
		return err
	}
	now, _ := b.clock()
	b.res.Start = (now - begin).Seconds()
	var walls, cpus []float64
	for tick := first.Add(10 * time.Second); !tick.After(end); tick = tick.Add(10 * time.Second) {
		wall, cpu := b.clock()
		e.Begin(tick)
		if err := evaluate.Advance(ctx, b.conn, e, tick.Add(-time.Minute), tick); err != nil {
			return err
		}
		e.Judge()
		w, c := b.clock()
		walls, cpus = append(walls, (w-wall).Seconds()), append(cpus, (c-cpu).Seconds())
	}
	b.res.Series = len(e.Statuses())
	slices.Sort(walls)
	slices.Sort(cpus)
	b.res.Tick, b.res.TickCPU = walls[len(walls)/2], cpus[len(cpus)/2]
	fmt.Printf("tick: %d series in %.2f s (worst %.2f s), %.2f s of CPU; at a start %.1f s\n", b.res.Series, b.res.Tick, walls[len(walls)-1], b.res.TickCPU, b.res.Start)
	return nil
}

// backtests measures 50 services with an objective on errors and one on latency.
func (b *bench) backtests(ctx context.Context, days int) error {
	const count = 50
	end := time.Now().UTC().Truncate(24 * time.Hour)
	fmt.Fprintf(os.Stderr, "alertbench: filling %d days of minutes of %d services …\n", days, count)
	for i := range count {
		err := b.conn.Exec(ctx, fmt.Sprintf(`INSERT INTO request_1m (time, service, route, method, error_class, responder, requests, timed, latency_hist)
			SELECT toDateTime(%d, 'UTC') - 60 * (intDiv(number, 2) + 1) AS t, 'b%d', '/', 'GET', if(number %% 2 = 0, 'none', 'upstream_5xx') AS class, 'unknown',
				if(class = 'none', 600, if(intDiv(toUnixTimestamp(t), 60) %% 20011 < 12 + %[2]d %% 20, 90, toInt64(cityHash64(number) %% 2))) AS n, if(class = 'none', n, 0),
				if(class = 'none', map(toUInt16(900), toInt64(500), toUInt16(1000), toInt64(90), toUInt16(1100), toInt64(9), toUInt16(1300), toInt64(1)), map())
			FROM numbers(%d)`, end.Unix(), i, 2*days*1440))
		if err != nil {
			return err
		}
	}
	set := &slo.Set{}
	for i := range count {
		base := slo.SLO{Name: fmt.Sprintf("b%d-availability", i), Service: fmt.Sprintf("b%d", i), Target: 0.999, Period: 30 * 24 * time.Hour, Windows: slo.DefaultWindows(), MinBad: 3}
		fast := base
		fast.Name, fast.Target, fast.SLI = fmt.Sprintf("b%d-latency", i), 0.99, slo.SLI{Kind: slo.Latency, Threshold: 300 * time.Millisecond}
		set.SLOs = append(set.SLOs, base, fast)
	}
	for _, c := range []struct {
		days      int
		wall, cpu *float64
	}{{min(30, days), &b.res.Days30, &b.res.Days30CPU}, {days, &b.res.Days90, &b.res.Days90CPU}} {
		wall, cpu := b.clock()
		past, err := evaluate.Backtest(ctx, b.conn, evaluate.Test{Set: set, From: end.AddDate(0, 0, -c.days), To: end, Reach: evaluate.Reach{Fine: end.Add(time.Hour)}})
		if err != nil {
			return err
		}
		w, u := b.clock()
		*c.wall, *c.cpu = (w - wall).Seconds(), (u - cpu).Seconds()
		b.res.Pages = 0
		for _, n := range evaluate.Notices(past.Changes) {
			if n.Severity.String() == "page" {
				b.res.Pages++
			}
		}
		fmt.Printf("backtest: 100 objectives over %d days in %.1f s, %.1f s of CPU, %d pages\n", c.days, *c.wall, *c.cpu, b.res.Pages)
	}
	return nil
}

var origin = time.Now()

// clock returns the time, and the CPU time of this process and the engine.
func (b *bench) clock() (wall, cpu time.Duration) {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err == nil {
		cpu = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.engine)); err == nil {
		_, after, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(after); len(f) > 13 {
			for _, i := range []int{11, 12} { // utime and stime, in hundredths of a second (proc(5))
				n, err := strconv.Atoi(f[i])
				if err == nil {
					cpu += time.Duration(n) * 10 * time.Millisecond
				}
			}
		}
	}
	return time.Since(origin), cpu
}

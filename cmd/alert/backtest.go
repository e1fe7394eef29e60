package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/slo"
)

func runBacktest(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "backtest", "says which pages and tickets the objectives would have raised in the past; nothing is sent.",
		"gatewatch-alert backtest --slo payments.yaml --from 7d")
	file := configFlag(fs)
	slos := fs.String("slo", "", "OpenSLO `file` or folder to try instead of the configured ones")
	from := fs.String("from", "7d", "first `time`: RFC 3339, -2h or 7d")
	to := fs.String("to", "", "last `time` (default now)")
	output := fs.String("o", "table", "table, csv or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("backtest takes no arguments, got %q; a file goes behind --slo", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "csv", "json"); err != nil {
		return err
	}
	now := time.Now()
	begin, end, err := parseRange(*from, *to, now)
	if err != nil {
		return err
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	if *slos != "" {
		if k.set, err = loadSLOs(*slos); err != nil {
			return daemon.Usage(err)
		}
	}
	if len(k.set.SLOs) == 0 {
		return daemon.Unknown(fmt.Errorf("there are no objectives: set alert.slos, or name a file with --slo"))
	}
	store, err := openStore(ctx, k.config)
	if err != nil {
		return err
	}
	defer store.Close()
	past, err := evaluate.Backtest(ctx, store, k.set, begin, end, reach(k.config, now), nil)
	if err != nil {
		return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err))
	}
	return printBacktest(env, *output, begin, end, len(k.set.SLOs), past.Changes)
}

func parseRange(from, to string, now time.Time) (begin, end time.Time, err error) {
	if begin, err = daemon.ParseTime(from, now); err != nil {
		return begin, end, daemon.Usage(err)
	}
	end = now
	if to != "" {
		if end, err = daemon.ParseTime(to, now); err != nil {
			return begin, end, daemon.Usage(err)
		}
	}
	if !begin.Before(end) {
		return begin, end, daemon.Usagef("--from %s is not before --to", from)
	}
	return begin, end, nil
}

// reach returns since when counts are kept.
func reach(c *config.Config, now time.Time) (r evaluate.Reach) {
	if d := c.Retention.Request10s; d > 0 {
		r.Fine = now.Add(-d)
	}
	if d := c.Retention.Request1m; d > 0 {
		r.Minutes = now.Add(-d)
	}
	return r
}

// loadSLOs reads one file or all of a folder.
func loadSLOs(name string) (*slo.Set, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		set, err := slo.Load(os.DirFS(name))
		return set, inFolder(name, err)
	}
	set, err := slo.LoadFile(os.DirFS(filepath.Dir(name)), filepath.Base(name))
	return set, inFolder(filepath.Dir(name), err)
}

type noticeJSON struct {
	SLO      string     `json:"slo"`
	Alert    string     `json:"alert"`
	Severity string     `json:"severity"`
	Onset    time.Time  `json:"onset"`
	Raised   time.Time  `json:"raised"`
	DelayS   float64    `json:"delay_s"`
	Ended    *time.Time `json:"ended,omitempty"`
	Requests int64      `json:"requests,omitempty"`
	Failed   int64      `json:"failed,omitempty"`
	Reason   string     `json:"reason"`
}

func printBacktest(env *daemon.Env, output string, begin, end time.Time, objectives int, changes []evaluate.Transition) error {
	list := []noticeJSON{}
	var table [][]string
	count := map[string]int{}
	for _, n := range evaluate.Notices(changes) {
		j := noticeJSON{
			n.SLO, n.ID, n.Severity.String(), n.Onset.UTC(), n.At.UTC(), n.At.Sub(n.Onset).Seconds(), nil, n.Total.Valid, n.Total.Bad, n.Reason,
		}
		lasted := "not ended"
		if !n.Until.IsZero() {
			until := n.Until.UTC()
			j.Ended, lasted = &until, until.Sub(n.At).String()
		}
		count[j.Severity]++
		list = append(list, j)
		table = append(table, []string{j.Raised.Format(time.RFC3339), j.Severity, j.SLO, time.Duration(j.DelayS * float64(time.Second)).String(), lasted, j.Reason})
	}
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{
			"schema": "gatewatch/backtest/v1", "from": begin.UTC(), "to": end.UTC(), "objectives": objectives,
			"pages": count["page"], "tickets": count["ticket"], "notices": list,
		})
	}
	if err := daemon.WriteTable(env.Stdout, output == "csv", []string{"RAISED", "SEVERITY", "SLO", "AFTER ONSET", "LASTED", "REASON"}, table); err != nil {
		return err
	}
	if output == "csv" {
		return nil
	}
	_, err := fmt.Fprintf(env.Stdout, "%s and %s of %s from %s to %s\n",
		plural(count["page"], "page"), plural(count["ticket"], "ticket"), plural(objectives, "objective"), begin.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
)

// diskFullIn is how soon a disk must be full to be a fault.
const diskFullIn = 7 * 24 * time.Hour

// retentionResult is the JSON of retention.
type retentionResult struct {
	Schema string            `json:"schema"`
	Tables []retentionTable  `json:"tables"`
	Disks  []retentionDisk   `json:"disks"`
	Drift  []string          `json:"drift"`
	Frees  int64             `json:"frees_bytes"`
	Change map[string]string `json:"change,omitempty"`
}

type retentionTable struct {
	Table  string     `json:"table"`
	Keep   string     `json:"keep"`
	Rows   int64      `json:"rows"`
	Bytes  int64      `json:"bytes"`
	Daily  int64      `json:"bytes_a_day"`
	Oldest *time.Time `json:"oldest"`
	Frees  int64      `json:"frees_bytes"`
}

type retentionDisk struct {
	Server string   `json:"server"`
	Name   string   `json:"name"`
	Free   int64    `json:"free_bytes"`
	Total  int64    `json:"total_bytes"`
	FullIn *float64 `json:"full_in_days"` // null: it isn't growing
}

func runRetention(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "retention", `shows what each level keeps, takes and adds a day, and when disks are full.

With --set it tells what a change of the configuration would free; it changes
nothing. Exit 1 if the server keeps rows for another time than configured, or a
disk is full in less than 7 days.`, `gatewatch-aggregate retention
gatewatch-aggregate retention --set access_log=7d,request_1m=30d`)
	file := fs.String("config", "", "`file` to read (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
	output := fs.String("o", "table", "table or json")
	set := fs.String("set", "", "`level=duration` to try, several with commas")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("retention takes no arguments, got %q", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "json"); err != nil {
		return err
	}
	c, err := config.Load(*file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	cuts, err := parseCuts(*set, c.Retention.TTLs(), time.Now())
	if err != nil {
		return err
	}
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer store.Close()
	result, err := measureRetention(ctx, store, c, cuts, time.Now())
	if err != nil {
		return storeError(c.ClickHouse, err)
	}
	return result.write(env, *output)
}

// parseCuts reads --set: the moment before which rows of a table would go.
func parseCuts(text string, ttls []clickhouse.TTL, now time.Time) (map[string]time.Time, error) {
	cuts := map[string]time.Time{}
	if text == "" {
		return cuts, nil
	}
	var names []string
	for _, t := range ttls {
		names = append(names, t.Table)
	}
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, daemon.Usagef("--set %q: want level=duration", part)
		}
		if !slices.Contains(names, name) {
			return nil, daemon.Usagef("unknown --set %q; there are %s", name, strings.Join(names, ", "))
		}
		keep, err := daemon.ParseDuration(value)
		if err != nil || keep < time.Hour {
			return nil, daemon.Usagef("--set %s=%s: want a duration of at least 1h, such as 7d", name, value)
		}
		cuts[name] = now.Add(-keep)
	}
	return cuts, nil
}

func measureRetention(ctx context.Context, store *clickhouse.Conn, c *config.Config, cuts map[string]time.Time, now time.Time) (*retentionResult, error) {
	sizes, err := store.Sizes(ctx, cuts)
	if err != nil {
		return nil, err
	}
	drift, err := store.RetentionDrift(ctx, c.Retention.TTLs())
	if err != nil {
		return nil, err
	}
	disks, err := store.Disks(ctx)
	if err != nil {
		return nil, err
	}
	r := &retentionResult{Schema: "gatewatch/retention/v1", Tables: []retentionTable{}, Disks: []retentionDisk{}, Drift: []string{}}
	growth := int64(0)
	for _, t := range c.Retention.TTLs() {
		row := retentionTable{Table: t.Table, Keep: config.FormatDuration(t.Keep)}
		if t.Keep == 0 {
			row.Keep = "for ever"
		}
		if n := len(t.Tenants) + len(t.Classes); n > 0 {
			row.Keep += fmt.Sprintf(", %s", daemon.Plural(int64(n), "exception"))
		}
		if i := slices.IndexFunc(sizes, func(s clickhouse.TableSize) bool { return s.Table == t.Table }); i >= 0 {
			s := sizes[i]
			row.Rows, row.Bytes, row.Daily, row.Frees = s.Rows, s.Bytes, s.DayBytes, s.ExpiredBytes
			if !s.Oldest.IsZero() {
				row.Oldest = &s.Oldest
			}
			// What has reached its retention does not grow any more.
			if t.Keep == 0 || s.Oldest.After(now.Add(-t.Keep)) {
				growth += s.DayBytes
			}
		}
		r.Frees += row.Frees
		r.Tables = append(r.Tables, row)
	}
	for _, d := range drift {
		r.Drift = append(r.Drift, d.String())
	}
	for _, d := range disks {
		row := retentionDisk{Server: d.Server, Name: d.Name, Free: d.Free, Total: d.Total}
		if growth > 0 {
			days := float64(d.Free) / float64(growth)
			row.FullIn = &days
		}
		r.Disks = append(r.Disks, row)
	}
	if len(cuts) > 0 {
		r.Change = map[string]string{}
		for name, at := range cuts {
			r.Change[name] = at.UTC().Format(time.RFC3339)
		}
	}
	return r, nil
}

// faults are what makes the answer a no.
func (r *retentionResult) faults() []string {
	faults := slices.Clone(r.Drift)
	for _, d := range r.Disks {
		if d.FullIn != nil && *d.FullIn*24*float64(time.Hour) < float64(diskFullIn) {
			faults = append(faults, fmt.Sprintf("disk %s of %s is full in %.1f days", d.Name, d.Server, *d.FullIn))
		}
	}
	return faults
}

func (r *retentionResult) write(env *daemon.Env, output string) error {
	if output == "json" {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		header := []string{"level", "keep", "oldest", "rows", "bytes", "a day"}
		if r.Change != nil {
			header = append(header, "frees")
		}
		var rows [][]string
		for _, t := range r.Tables {
			row := []string{t.Table, t.Keep, moment(t.Oldest), grouped(t.Rows), size(t.Bytes), size(t.Daily)}
			if r.Change != nil {
				row = append(row, size(t.Frees))
			}
			rows = append(rows, row)
		}
		if err := writeAligned(env.Stdout, header, rows, 3); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout)
		for _, d := range r.Disks {
			text := "not growing"
			if d.FullIn != nil {
				text = fmt.Sprintf("full in %.0f days", *d.FullIn)
			}
			fmt.Fprintf(env.Stdout, "disk %s of %s: %s of %s free, %s\n", d.Name, d.Server, size(d.Free), size(d.Total), text)
		}
		if r.Change != nil {
			fmt.Fprintf(env.Stdout, "the change would free %s\n", size(r.Frees))
		}
	}
	if faults := r.faults(); len(faults) > 0 {
		return daemon.No(errors.New(strings.Join(faults, "; ")))
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"gatewatch/internal/devstack/engine"
)

// scaleRounds is how often each size is measured, in turns.
const scaleRounds = 3

// A size is how many members of the group read and how many servers store.
type size struct{ members, shards int }

// scaleResult is the last line of --scale: CPU a row, client and engine, in
// units of one member and one shard, medians of the rounds.
type scaleResult struct {
	Members map[int]float64 `json:"members"`
	Shards  map[int]float64 `json:"shards"`
	Worst   float64         `json:"worst_deviation"` // of all from 1
	Rows    int             `json:"rows"`
}

// scale measures whether a row costs the same whoever shares the work.
func (b *bench) scale(ctx context.Context) error {
	sizes := []size{{1, 1}, {2, 1}, {4, 1}, {1, 2}, {1, 3}}
	costs := map[size][]float64{}
	for range scaleRounds {
		for _, s := range sizes {
			c, err := b.ofSize(ctx, s)
			if err != nil {
				return fmt.Errorf("%d members, %d shards: %w", s.members, s.shards, err)
			}
			costs[s] = append(costs[s], c.client+c.engine)
		}
	}
	r := scaleResult{Members: map[int]float64{}, Shards: map[int]float64{}, Rows: b.rows[topicJSON]}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "members\tshards\tµs of CPU a row: min\tmedian\tmax\tof one and one")
	for _, s := range sizes {
		list := slices.Sorted(slices.Values(costs[s]))
		base := slices.Sorted(slices.Values(costs[sizes[0]]))
		ratio := list[scaleRounds/2] / base[scaleRounds/2]
		fmt.Fprintf(table, "%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f×\n", s.members, s.shards, list[0], list[scaleRounds/2], list[scaleRounds-1], ratio)
		if s.shards == 1 {
			r.Members[s.members] = ratio
		}
		if s.members == 1 {
			r.Shards[s.shards] = ratio
		}
		r.Worst = max(r.Worst, math.Abs(ratio-1))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// ofSize measures one size, on servers of its own.
func (b *bench) ofSize(ctx context.Context, s size) (c cost, err error) {
	dir, err := os.MkdirTemp(b.dir, "size-")
	if err != nil {
		return c, err
	}
	one := *b
	one.dir, one.members = dir, s.members
	one.password = filepath.Join(dir, "password")
	if one.servers, err = engine.StartCluster(ctx, engine.Config{Dir: dir, Log: os.Stderr}, s.shards, 1); err != nil {
		return c, err
	}
	defer func() {
		for _, e := range one.servers {
			e.Kill()
		}
		_ = os.RemoveAll(dir)
	}()
	one.user = one.servers[0].Username
	if err := os.WriteFile(one.password, []byte(one.servers[0].Password), 0o600); err != nil {
		return c, err
	}
	c, err = one.gatewatch(ctx, topics[0], nil, nil)
	b.runs = one.runs
	return c, err
}

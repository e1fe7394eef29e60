package aggregate

import (
	"context"
	"fmt"
	"time"

	"gatewatch/internal/rollup"
)

// Rollups compares levels with the raw rows and corrects them.
type Rollups interface {
	// Difference is what a level lacks of the raw rows in [from, to).
	Difference(ctx context.Context, level rollup.Level, from, to time.Time) (rollup.Difference, error)
	// Correct adds a difference to its level. The same token counts once.
	Correct(ctx context.Context, d rollup.Difference, token string) error
	// Unsettled counts the raw rows of [from, to) whose batch is not in the ledger.
	Unsettled(ctx context.Context, from, to time.Time) (int64, error)
}

const (
	// settleTries is how often a range is read again until two answers agree,
	// with settlePause between them.
	settleTries = 50
	settlePause = 100 * time.Millisecond
	// maxAttempts bounds corrections of one range, should tokens of an earlier
	// backfill swallow them.
	maxAttempts = 5
)

// A Backfill recomputes windows from the raw rows and adds what the rollups
// lack. It may be repeated and run beside live traffic and beside itself: a
// range is corrected only when two readings agree and every raw row in it is in
// the ledger, and a correction's token is made of its range and content.
//
// Each level is put right by itself, against the raw rows.
type Backfill struct {
	Rollups Rollups
	// Levels of each family in order from fine to coarse.
	Families [][]rollup.Level
	// RawFrom is the oldest moment from which all raw rows are kept; FinalUntil
	// the first that may still change.
	RawFrom, FinalUntil time.Time
	Now                 time.Time
	// DryRun only compares.
	DryRun bool
	// Progress is told after each range.
	Progress func(Progress)
}

// Progress is the state of a backfill.
type Progress struct {
	Done, Ranges int
	// Corrected counts ranges that were corrected (or would be), Lacked and Extra
	// the requests that their levels had too few or too many.
	Corrected     int
	Lacked, Extra int64
	// Unsettled are ranges that kept changing and were left alone.
	Unsettled []string
}

// A job is one range of one level.
type job struct {
	level    rollup.Level
	from, to time.Time
}

// chunk is the range that is compared at once.
func chunk(l rollup.Level) rollup.Grain { return max(l.Grain, rollup.Grain1h) }

// plan cuts [from, to) into jobs, fine levels before coarse ones.
func (b *Backfill) plan(from, to time.Time) []job {
	var jobs []job
	for _, levels := range b.Families {
		for _, l := range levels {
			g := chunk(l)
			start, end := g.Cover(from, to)
			lowest := b.RawFrom
			if l.Keep > 0 && b.Now.Add(-l.Keep).After(lowest) {
				lowest = b.Now.Add(-l.Keep)
			}
			first, _ := g.Inside(lowest, b.Now.Add(time.Duration(g)))
			if start.Before(first) {
				start = first
			}
			// A day that is not over is compared as far as it has come, as
			// its hours are.
			_, last := chunk(levels[0]).Inside(b.RawFrom, b.FinalUntil)
			if end.After(last) {
				_, end = g.Cover(start, last)
			}
			for _, w := range g.Windows(start, end) {
				jobs = append(jobs, job{l, w.Start, w.End()})
			}
		}
	}
	return jobs
}

// A Range is a part of a level that is compared at once.
type Range struct {
	Level    rollup.Level
	From, To time.Time
}

// Ranges returns what Run would compare.
func (b *Backfill) Ranges(from, to time.Time) []Range {
	var list []Range
	for _, j := range b.plan(from, to) {
		list = append(list, Range{j.level, j.from, j.to})
	}
	return list
}

// Run backfills [from, to), as far as raw rows are kept and windows are final.
func (b *Backfill) Run(ctx context.Context, from, to time.Time) (Progress, error) {
	jobs := b.plan(from, to)
	p := Progress{Ranges: len(jobs)}
	corrected := map[time.Time]bool{} // days with a correction of a finer level
	for _, j := range jobs {
		if err := b.work(ctx, j, &p, corrected); err != nil {
			return p, fmt.Errorf("%s from %s: %w", j.level.Name, j.from.Format(time.RFC3339), err)
		}
		p.Done++
		if b.Progress != nil {
			b.Progress(p)
		}
	}
	return p, nil
}

func (b *Backfill) work(ctx context.Context, j job, p *Progress, corrected map[time.Time]bool) error {
	day := rollup.Grain1d.Window(j.from).Start
	for attempt := 1; attempt <= maxAttempts; attempt++ {
		d, settled, err := b.settle(ctx, j)
		if err != nil {
			return err
		}
		if !settled {
			// What is still being written differs for a moment; that matters only
			// where it hides what a correction has done.
			if j.to.After(b.FinalUntil) && !corrected[day] {
				return nil
			}
			p.Unsettled = append(p.Unsettled, fmt.Sprintf("%s %s to %s", j.level.Name, j.from.Format(time.RFC3339), j.to.Format(time.RFC3339)))
			return nil
		}
		if len(d.Rows) == 0 {
			return nil
		}
		if attempt == 1 {
			lacks, extra := d.Requests()
			p.Corrected, p.Lacked, p.Extra = p.Corrected+1, p.Lacked+lacks, p.Extra+extra
			corrected[day] = true
		}
		if b.DryRun {
			return nil
		}
		token := fmt.Sprintf("backfill:%s:%d:%s:%d", j.level.Name, j.from.Unix(), d.Hash(), attempt)
		if err := b.Rollups.Correct(ctx, d, token); err != nil {
			return err
		}
	}
	return fmt.Errorf("still differs after %d corrections", maxAttempts)
}

// settle reads j's difference until two readings agree while all raw rows are in
// the ledger, or until one finds none.
func (b *Backfill) settle(ctx context.Context, j job) (d rollup.Difference, ok bool, err error) {
	var last rollup.Difference
	for try := range settleTries {
		if d, err = b.Rollups.Difference(ctx, j.level, j.from, j.to); err != nil || len(d.Rows) == 0 {
			return d, err == nil, err
		}
		n, err := b.Rollups.Unsettled(ctx, j.from, j.to)
		if err != nil {
			return d, false, err
		}
		switch {
		case n > 0:
			last = rollup.Difference{}
		case try > 0 && d.Equal(last):
			return d, true, nil
		default:
			last = d
		}
		select {
		case <-ctx.Done():
			return d, false, ctx.Err()
		case <-time.After(settlePause):
		}
	}
	return d, false, nil
}

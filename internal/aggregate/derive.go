package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"gatewatch/internal/rollup"
)

// A Derivation is a table that is computed from stored rows, whole windows at a
// time. The newest computation of a window replaces those before, so it may be
// repeated, and by several instances.
type Derivation struct {
	Name  string
	Grain rollup.Grain
	// Chunk is how much is computed at once, a multiple of Grain.
	Chunk time.Duration
	// Back is how much of the past is computed at the first start, 0 is all that is kept.
	Back time.Duration
	// Sources are the raw tables whose late rows open windows again.
	Sources []string
}

// Derivations returns all of them, in the order in which they are computed.
func Derivations() []Derivation {
	return []Derivation{
		{Name: "layer_1m", Grain: rollup.Grain1m, Chunk: time.Hour, Sources: []string{"access_log", "span"}},
		{Name: "layer_1h", Grain: rollup.Grain1h, Chunk: 6 * time.Hour, Sources: []string{"access_log", "span"}}, // from layer_1m
		{Name: "dimension_1h", Grain: rollup.Grain1h, Chunk: 6 * time.Hour, Sources: []string{"access_log"}},
		{Name: "unusual_1h", Grain: rollup.Grain1h, Chunk: 6 * time.Hour, Back: 3 * 24 * time.Hour, Sources: []string{"access_log"}},
	}
}

// Reached is how far a derivation has come: windows before Until are computed, and ledger rows
// that were written before Seen have been looked at for late data.
type Reached struct{ Until, Seen time.Time }

// A Deriver computes windows and finds those that late rows have touched.
type Deriver interface {
	Derive(ctx context.Context, name string, from, to time.Time) error
	// Touched returns the windows before before that hold rows of batches whose
	// ledger rows were written in [since, until).
	Touched(ctx context.Context, source string, since, until, before time.Time, g rollup.Grain) ([]time.Time, error)
	// Began returns the event time of the oldest raw row, and false if there is none.
	Began(ctx context.Context, sources []string) (time.Time, bool, error)
	Reached(ctx context.Context, name string) (Reached, error)
	SetReached(ctx context.Context, name string, r Reached) error
	Watermarks(ctx context.Context) ([]rollup.Watermark, error)
}

const (
	// deriveEvery is the pause between two looks for windows that are due.
	deriveEvery = 10 * time.Second
	// deriveGrace is how long events take to Kafka at most, normally (DESIGN D4).
	deriveGrace = 5 * time.Second
	// ledgerOverlap is how far ledger rows can become visible out of order.
	ledgerOverlap = 30 * time.Second
	// deriveTimeout bounds one chunk.
	deriveTimeout = 10 * time.Minute
)

// A Windows keeps derived tables up to date. It is used by one goroutine.
type Windows struct {
	Store       Deriver
	Derivations []Derivation
	// Keep is for how long the raw rows of each source are kept; 0 is for ever.
	Keep map[string]time.Duration
	Now  func() time.Time
	Log  *slog.Logger

	reached  map[string]Reached
	loggedAt time.Time
}

// Run computes what is due until ctx ends. What fails is logged and tried again.
func (w *Windows) Run(ctx context.Context) error {
	tick := time.NewTicker(deriveEvery)
	defer tick.Stop()
	for {
		if err := w.Step(ctx); err != nil && ctx.Err() == nil && w.Now().Sub(w.loggedAt) >= logEvery {
			w.loggedAt = w.Now()
			w.Log.Error("windows not computed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Step computes all windows that are complete by now and those that late rows
// have touched. One table's failure does not keep the others from it.
func (w *Windows) Step(ctx context.Context) error {
	ws, err := w.Store.Watermarks(ctx)
	if err != nil {
		return err
	}
	oldest, ok := rollup.Oldest(ws)
	if !ok {
		return nil // nothing is known to be complete
	}
	var errs []error
	for _, d := range w.Derivations {
		if err := w.step(ctx, d, oldest.CompleteUntil.Add(-deriveGrace)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (w *Windows) step(ctx context.Context, d Derivation, complete time.Time) error {
	r, err := w.progress(ctx, d)
	if err != nil || r.Until.IsZero() {
		return err
	}
	now := w.Now()
	var touched []time.Time
	for _, source := range d.Sources {
		windows, err := w.Store.Touched(ctx, source, r.Seen.Add(-ledgerOverlap), now, r.Until, d.Grain)
		if err != nil {
			return err
		}
		touched = append(touched, windows...)
	}
	for _, r := range d.runs(touched) {
		if err := w.derive(ctx, d, r.Start, r.End()); err != nil {
			return err
		}
	}
	r.Seen = now
	end := d.Grain.Window(complete).Start
	for from := r.Until; from.Before(end); {
		to := rollup.Grain(d.Chunk).Window(from).End()
		if to.After(end) {
			to = end
		}
		if err := w.derive(ctx, d, from, to); err != nil {
			return err
		}
		from, r.Until = to, to
		if err := w.save(ctx, d, r); err != nil {
			return err
		}
	}
	return w.save(ctx, d, r)
}

// together is how many windows between two touched ones are computed with them,
// since a computation costs more by itself than by window.
const together = 5

// runs joins the windows that begin at starts to ranges.
func (d Derivation) runs(starts []time.Time) (list []rollup.Window) {
	slices.SortFunc(starts, time.Time.Compare)
	for _, t := range starts {
		end := t.Add(time.Duration(d.Grain))
		if n := len(list); n > 0 && t.Sub(list[n-1].End()) <= together*time.Duration(d.Grain) && end.Sub(list[n-1].Start) <= d.Chunk {
			list[n-1].Width = max(list[n-1].Width, end.Sub(list[n-1].Start))
			continue
		}
		list = append(list, rollup.Window{Start: t, Width: time.Duration(d.Grain)})
	}
	return list
}

// progress returns how far d has come, from the store at first. Without any it
// begins with the oldest raw row that is kept.
func (w *Windows) progress(ctx context.Context, d Derivation) (Reached, error) {
	if r, ok := w.reached[d.Name]; ok {
		return r, nil
	}
	r, err := w.Store.Reached(ctx, d.Name)
	if err != nil {
		return r, err
	}
	if r.Until.IsZero() {
		began, ok, err := w.Store.Began(ctx, d.Sources)
		if err != nil || !ok {
			return Reached{}, err
		}
		if keep := w.Keep[d.Sources[0]]; keep > 0 && began.Before(w.Now().Add(-keep)) {
			began = w.Now().Add(-keep) // older rows are only not removed yet
		}
		if d.Back > 0 && began.Before(w.Now().Add(-d.Back)) {
			began = w.Now().Add(-d.Back)
		}
		r = Reached{Until: d.Grain.Window(began).Start, Seen: w.Now()}
	}
	if w.reached == nil {
		w.reached = map[string]Reached{}
	}
	w.reached[d.Name] = r
	return r, nil
}

func (w *Windows) save(ctx context.Context, d Derivation, r Reached) error {
	w.reached[d.Name] = r
	return w.Store.SetReached(ctx, d.Name, r)
}

func (w *Windows) derive(ctx context.Context, d Derivation, from, to time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, deriveTimeout)
	defer cancel()
	if err := w.Store.Derive(ctx, d.Name, from, to); err != nil {
		return fmt.Errorf("%s to %s: %w", from.Format(time.RFC3339), to.Format(time.RFC3339), err)
	}
	return nil
}

// Recompute computes the windows of [from, to) again, as far as they had been
// computed, and tells after each chunk how many of how many are done.
func (w *Windows) Recompute(ctx context.Context, from, to time.Time, progress func(done, all int)) error {
	type job struct {
		d        Derivation
		from, to time.Time
	}
	var jobs []job
	for _, d := range w.Derivations {
		r, err := w.Store.Reached(ctx, d.Name)
		if err != nil {
			return err
		}
		start, end := d.Grain.Cover(from, to)
		if keep := w.Keep[d.Sources[0]]; keep > 0 {
			if first, _ := d.Grain.Inside(w.Now().Add(-keep), w.Now()); start.Before(first) {
				start = first
			}
		}
		if end.After(r.Until) {
			end = r.Until
		}
		for start.Before(end) {
			next := rollup.Grain(d.Chunk).Window(start).End()
			if next.After(end) {
				next = end
			}
			jobs = append(jobs, job{d, start, next})
			start = next
		}
	}
	for i, j := range jobs {
		if err := w.derive(ctx, j.d, j.from, j.to); err != nil {
			return fmt.Errorf("%s: %w", j.d.Name, err)
		}
		progress(i+1, len(jobs))
	}
	return nil
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Stage is a part of a daemon that runs until its context ends.
type Stage struct {
	Name string
	Run  func(ctx context.Context) error
}

// RunStages runs all stages at once until ctx ends or one of them returns. Then
// it ends them in the order given, each one after the one before has returned,
// so that a stage may rely on those behind it while it drains; the admin server
// comes last. Timeout bounds the whole shutdown: when it has passed all
// remaining stages are ended at once and given a second.
//
// It returns what the stages returned, without the errors that their own
// context's end gave.
func RunStages(ctx context.Context, log *slog.Logger, timeout time.Duration, stages ...Stage) error {
	all := make([]*runningStage, len(stages))
	first := make(chan struct{})
	var once sync.Once
	for i, s := range stages {
		all[i] = startStage(ctx, s, func() { once.Do(func() { close(first) }) })
		defer all[i].cancel()
	}
	select {
	case <-ctx.Done():
		log.Info("stopping", "timeout", timeout)
	case <-first:
	}

	errs := stopStages(all, timeout)
	for _, r := range all {
		select {
		case <-r.done:
			errs = append(errs, r.err)
		default:
		}
	}
	return errors.Join(errs...)
}

// A runningStage is a stage that has been started. err is valid once done is closed.
type runningStage struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func startStage(ctx context.Context, s Stage, returned func()) *runningStage {
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &runningStage{name: s.Name, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer returned()
		defer close(r.done)
		err := s.Run(sctx)
		if err != nil && (sctx.Err() == nil || !errors.Is(err, context.Canceled)) {
			r.err = fmt.Errorf("%s: %w", s.Name, err)
		}
	}()
	return r
}

// stopStages ends stages one after the other and returns an error for each that stays.
func stopStages(all []*runningStage, timeout time.Duration) (errs []error) {
	late := time.NewTimer(timeout)
	defer late.Stop()
	for i, r := range all {
		r.cancel()
		select {
		case <-r.done:
			continue
		case <-late.C:
		}
		for _, rest := range all[i:] {
			rest.cancel()
		}
		late.Reset(time.Second)
		for _, rest := range all[i:] {
			select {
			case <-rest.done:
			case <-late.C:
				late.Reset(0)
				errs = append(errs, fmt.Errorf("%s did not stop within %s", rest.name, timeout))
			}
		}
		return errs
	}
	return nil
}

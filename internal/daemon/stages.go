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
	type running struct {
		cancel context.CancelFunc
		done   chan struct{}
		err    error
	}
	all := make([]*running, len(stages))
	first := make(chan struct{})
	var once sync.Once
	for i, s := range stages {
		sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		r := &running{cancel: cancel, done: make(chan struct{})}
		all[i] = r
		go func() {
			defer close(r.done)
			err := s.Run(sctx)
			if err != nil && !(sctx.Err() != nil && errors.Is(err, context.Canceled)) {
				r.err = fmt.Errorf("%s: %w", s.Name, err)
			}
			once.Do(func() { close(first) })
		}()
	}

	select {
	case <-ctx.Done():
		log.Info("stopping", "timeout", timeout)
	case <-first:
	}

	late := time.NewTimer(timeout)
	defer late.Stop()
	var errs []error
	expired := false
	for i, r := range all {
		r.cancel()
		if !expired {
			select {
			case <-r.done:
				continue
			case <-late.C:
				expired = true
				for _, rest := range all[i:] {
					rest.cancel()
				}
				late.Reset(time.Second)
			}
		}
		select {
		case <-r.done:
		case <-late.C:
			late.Reset(0)
			errs = append(errs, fmt.Errorf("%s did not stop within %s", stages[i].Name, timeout))
		}
	}
	for _, r := range all {
		select {
		case <-r.done:
			errs = append(errs, r.err)
		default:
		}
	}
	return errors.Join(errs...)
}

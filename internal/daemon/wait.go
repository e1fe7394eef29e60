package daemon

import (
	"context"
	"log/slog"
	"time"
)

// waitStep is the pause between two tries of Await.
const waitStep = 500 * time.Millisecond

// Await calls f until it succeeds, ctx ends, or final says that waiting can't
// mend its error; such an error is one of the exit code "unreachable". What is
// waited for is logged whenever the reason changes.
func Await(ctx context.Context, log *slog.Logger, what string, f func(context.Context) error, final func(error) bool) error {
	last := ""
	for {
		err := f(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return ctx.Err()
		case final(err):
			return Unreachable(err)
		}
		if err.Error() != last {
			last = err.Error()
			log.Warn("waiting", "for", what, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(waitStep):
		}
	}
}

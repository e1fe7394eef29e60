package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"gatewatch/internal/devstack/proxy"
)

// engineKilled kills ClickHouse while a block is on its way.
func engineKilled(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		after := 1 + r.rnd.IntN(60_000)
		release := make(chan struct{})
		err = m.inserts.arm(ctx, "access_log", proxy.ToServer, after, func() proxy.Verdict {
			<-release
			return proxy.Cut
		})
		if err != nil {
			break
		}
		r.stack.Engine.Kill()
		close(release)
		if err = r.stack.RestartEngine(ctx); err == nil {
			err = r.progress(ctx, time.Now())
		}
	}
	return runs, err
}

// engineDown stops ClickHouse for a minute under load.
func engineDown(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		r.stack.Engine.Kill()
		if err = pause(ctx, time.Minute); err != nil {
			break
		}
		if err = m.complains("can't be reached", "connection refused", "EOF"); err != nil {
			break
		}
		if err = r.stack.RestartEngine(ctx); err == nil {
			err = r.catchUp(ctx)
		}
	}
	return runs, err
}

// engineDownSimulated stops ClickHouse while half an hour of traffic arrives.
func engineDownSimulated(ctx context.Context, r *rig, times int) (runs int, err error) {
	const length = 30 * time.Minute
	if err := r.past(ctx, time.Minute, 1000); err != nil {
		return 0, err
	}
	if _, err := r.join(); err != nil {
		return 0, err
	}
	if err := r.load.Settle(ctx, nil); err != nil {
		return 0, err
	}
	for ; runs < times && err == nil; runs++ {
		r.stack.Engine.Kill()
		if err = r.past(ctx, length, int(length.Seconds())*100); err != nil {
			break
		}
		if err = r.stack.RestartEngine(ctx); err == nil {
			err = r.catchUp(ctx)
		}
	}
	return runs, err
}

// catchUp waits until all that is sent by now is stored and notes how long that took.
func (r *rig) catchUp(ctx context.Context) error {
	since := time.Now()
	err := r.load.Settle(ctx, nil)
	r.recovery = append(r.recovery, time.Since(since))
	return err
}

// engineSlow delays every chunk in both directions.
func engineSlow(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		m.store.Judge(func(c proxy.Chunk) proxy.Verdict {
			time.Sleep(time.Duration(c.N%5) * 15 * time.Millisecond)
			return proxy.Pass
		})
		err = pause(ctx, 15*time.Second)
		m.store.Judge(nil)
		if err == nil {
			err = r.catchUp(ctx)
		}
	}
	return runs, err
}

// engineCut cuts connections at their first, second, third … chunk in one
// direction: the greeting, the query, each part of the block, the answers.
func engineCut(d proxy.Direction) func(ctx context.Context, r *rig, times int) (int, error) {
	return func(ctx context.Context, r *rig, times int) (runs int, err error) {
		m, err := begin(ctx, r)
		for n := 0; n < times && err == nil; n++ {
			var done atomic.Bool
			cut := make(chan struct{})
			m.store.Judge(func(c proxy.Chunk) proxy.Verdict {
				if c.Direction != d || c.N != n || done.Swap(true) {
					return proxy.Pass
				}
				close(cut)
				return proxy.Cut
			})
			m.store.Reset() // connections count from their beginning
			select {
			case <-cut:
			case <-ctx.Done():
				return runs, ctx.Err()
			case <-time.After(5 * time.Second):
				return runs, fmt.Errorf("no connection had a chunk %d", n)
			}
			runs++
			err = r.progress(ctx, time.Now())
		}
		return runs, err
	}
}

// insertAnswerLost lets a block arrive and its answer not, at each table.
func insertAnswerLost(ctx context.Context, r *rig, times int) (runs int, err error) {
	m, err := begin(ctx, r)
	for ; runs < times && err == nil; runs++ {
		table := []string{"access_log", "span", "ledger"}[runs%3]
		err = m.inserts.arm(ctx, table, proxy.ToClient, blockBegun, func() proxy.Verdict {
			time.Sleep(300 * time.Millisecond) // the engine finishes
			return proxy.Cut
		})
		if err == nil {
			err = r.progress(ctx, time.Now())
		}
	}
	return runs, err
}

// refused makes ClickHouse refuse blocks by a limit of its own for some seconds.
func refused(settings, code string) func(ctx context.Context, r *rig, times int) (int, error) {
	return func(ctx context.Context, r *rig, times int) (runs int, err error) {
		m, err := begin(ctx, r)
		for ; runs < times && err == nil; runs++ {
			if err = r.stack.Store.Exec(ctx, "ALTER TABLE access_log MODIFY SETTING "+settings); err != nil {
				break
			}
			if err = pause(ctx, 5*time.Second); err != nil {
				break
			}
			if err = m.complains(code); err != nil {
				break
			}
			var names []string
			for s := range strings.SplitSeq(settings, ", ") {
				name, _, _ := strings.Cut(s, " ")
				names = append(names, name)
			}
			if err = r.stack.Store.Exec(ctx, "ALTER TABLE access_log RESET SETTING "+strings.Join(names, ", ")); err == nil {
				err = r.catchUp(ctx)
			}
		}
		return runs, err
	}
}

// complains checks that the member's log names the trouble with one of words.
func (m *member) complains(words ...string) error {
	b, err := os.ReadFile(m.log())
	if err != nil {
		return err
	}
	for _, w := range words {
		if strings.Contains(string(b), w) {
			return nil
		}
	}
	return errors.New("the log does not name the trouble: " + strings.Join(words, ", "))
}

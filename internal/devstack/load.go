package devstack

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gatewatch/internal/loadgen"
)

// A Load is the shop's traffic on a stack, with its account.
type Load struct {
	Shop    *loadgen.Shop
	Account *loadgen.Account

	stack *Stack
	feed  *loadgen.Feed
	until time.Time // what has been made ends here
}

// NewLoad returns the traffic of that seed, with nothing sent yet.
func (s *Stack) NewLoad(seed uint64) *Load {
	shop := loadgen.NewShop(seed)
	account := loadgen.NewAccount(shop)
	return &Load{Shop: shop, Account: account, stack: s, feed: loadgen.NewFeed(shop, seed, account, s.Broker.Addr, Partitions)}
}

// History describes the past that a Load sends first.
type History struct {
	Length   time.Duration // ends now
	Requests int           // on average
	// Spans is how much of the end of the history has spans: no more than is
	// kept of them is worth sending.
	Spans time.Duration
}

// DemoHistory is the past of the demo: the 30 days of an SLO and some more.
func DemoHistory() History {
	return History{Length: 35 * 24 * time.Hour, Requests: 2_000_000, Spans: 7 * 24 * time.Hour}
}

// Progress is how far a history has come.
type Progress struct {
	Made          int64 // requests made and sent
	Sent, Stored  int64 // messages: in Kafka, and in the store by its ledger
	Until         time.Time
	SendingTook   time.Duration // 0 while sending
	HistoryLength time.Duration
}

// SendHistory sends a history and returns when the store has it. report is
// called from time to time.
func (l *Load) SendHistory(ctx context.Context, h History, report func(Progress)) error {
	begin := time.Now()
	l.until = begin.Truncate(time.Millisecond)
	from := l.until.Add(-h.Length)
	var made, until, took atomic.Int64
	until.Store(from.UnixMilli())
	progress := func(n int64, t time.Time) { made.Store(n); until.Store(t.UnixMilli()) }
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := l.feed.History(ctx, from, l.until, l.until.Add(-h.Spans), float64(h.Requests)/h.Length.Seconds(), progress)
		took.Store(int64(time.Since(begin)))
		return err
	})
	group.Go(func() error {
		for {
			sent := l.sent()
			stored, err := l.stored(ctx)
			if err != nil {
				return err
			}
			report(Progress{made.Load(), sent, stored, time.UnixMilli(until.Load()).UTC(), time.Duration(took.Load()), h.Length})
			if took.Load() > 0 && stored >= l.sent() {
				return nil
			}
			if err := l.pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
		}
	})
	return group.Wait()
}

// Live sends live traffic until ctx is done, beginning where the history
// ended. Scenarios begin in the future.
func (l *Load) Live(ctx context.Context, perSecond float64, scenarios ...loadgen.Scenario) error {
	for _, s := range scenarios {
		l.feed.Add(s)
	}
	if l.until.IsZero() {
		l.until = time.Now().Truncate(time.Millisecond)
	}
	// The traffic of the time that loading the history took.
	for now := time.Now(); now.Sub(l.until) > time.Second; now = time.Now() {
		now = now.Truncate(time.Millisecond)
		if err := l.feed.History(ctx, l.until, now, l.until, perSecond/loadgen.Shape(now), nil); err != nil {
			return err
		}
		l.until = now
	}
	return l.feed.Live(ctx, l.until, perSecond)
}

func (l *Load) sent() int64 {
	var n int64
	for _, t := range loadgen.Topics() {
		n += l.Account.Messages(t)
	}
	return n
}

func (l *Load) stored(ctx context.Context) (int64, error) {
	totals, err := l.stack.Store.LedgerTotals(ctx)
	var n int64
	for _, t := range totals {
		n += t.Messages
	}
	return n, err
}

// pause waits, and fails when a binary has ended meanwhile.
func (l *Load) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return l.stack.Failed()
	}
}

// Settle waits until the store has everything that was sent. Call it when nothing is being sent.
func (l *Load) Settle(ctx context.Context) error {
	for {
		stored, err := l.stored(ctx)
		if err == nil && stored >= l.sent() {
			return nil
		}
		if err := l.pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d messages are stored: %w", stored, l.sent(), err)
		}
	}
}

// A Verdict compares what was sent with what is stored.
type Verdict struct {
	Rows          int64 // rows by the ledger
	Lost, Doubled int64 // messages and requests
	Problems      []string
}

// Err returns what is wrong, if anything is.
func (v Verdict) Err() error {
	var errs []error
	for _, p := range v.Problems {
		errs = append(errs, errors.New(p))
	}
	return errors.Join(errs...)
}

func (v *Verdict) compare(what string, got, want int64) {
	if got == want {
		return
	}
	v.Lost += max(0, want-got)
	v.Doubled += max(0, got-want)
	v.Problems = append(v.Problems, fmt.Sprintf("%s: %d, but %d were sent", what, got, want))
}

// Verify runs `ingest verify` and compares the ledger and the rollups with the account.
func (l *Load) Verify(ctx context.Context) (Verdict, error) {
	var v Verdict
	totals, err := l.stack.Store.LedgerTotals(ctx)
	if err != nil {
		return v, err
	}
	messages := map[string]int64{}
	for _, t := range totals {
		messages[t.Topic] = t.Messages
		v.Rows += t.Rows
		if t.Dead > 0 {
			v.Lost += t.Dead
			v.Problems = append(v.Problems, fmt.Sprintf("%d messages of %s became dead letters", t.Dead, t.Topic))
		}
	}
	for _, t := range loadgen.Topics() {
		v.compare("messages of "+t+" in the ledger", messages[t], l.Account.Messages(t))
	}
	requests, keyed, err := l.stack.Store.RollupTotals(ctx)
	if err != nil {
		return v, err
	}
	v.compare("requests in request_1h", requests, l.Account.Requests())
	v.compare("requests in key_1d", keyed, l.Account.Requests())
	if _, err := l.stack.Command(ctx, "ingest", "verify"); err != nil {
		v.Problems = append(v.Problems, err.Error())
	}
	return v, nil
}

package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

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
	return &Load{Shop: shop, Account: account, stack: s, feed: loadgen.NewFeed(shop, seed, account, s.Broker.Addr, s.config.Partitions)}
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

// SendHistory writes a history to Kafka. progress is told now and then how many
// requests have been sent and up to when.
func (l *Load) SendHistory(ctx context.Context, h History, progress func(requests int64, until time.Time)) error {
	l.until = time.Now().Truncate(time.Millisecond)
	return l.feed.History(ctx, l.until.Add(-h.Length), l.until, l.until.Add(-h.Spans), float64(h.Requests)/h.Length.Seconds(), progress)
}

// Busiest returns the n keys with most requests, by their index in Shop.Keys.
func (l *Load) Busiest(n int) []int { return l.feed.Busiest(n) }

// Send writes the traffic of [from, to), perSecond at any hour, in which the
// scenarios happen. Several calls go on in time.
func (l *Load) Send(ctx context.Context, from, to time.Time, perSecond float64, scenarios ...loadgen.Scenario) error {
	for _, s := range scenarios {
		l.feed.Add(s)
	}
	for from.Before(to) {
		end := from.Add(time.Hour)
		if end.After(to) {
			end = to
		}
		if err := l.feed.History(ctx, from, end, from, perSecond/loadgen.Shape(from), nil); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// SendShaped is Send with the shape of day and week; perSecond is the average.
func (l *Load) SendShaped(ctx context.Context, from, to time.Time, perSecond float64, scenarios ...loadgen.Scenario) error {
	for _, s := range scenarios {
		l.feed.Add(s)
	}
	return l.feed.History(ctx, from, to, to, perSecond, nil)
}

// Extra writes what scenarios do besides the traffic, n requests in [from, to).
func (l *Load) Extra(ctx context.Context, seed uint64, from, to time.Time, n float64, scenarios ...loadgen.Scenario) error {
	feed := loadgen.NewFeed(l.Shop, seed, l.Account, l.stack.Broker.Addr, l.stack.config.Partitions)
	extra := &Load{Shop: l.Shop, Account: l.Account, stack: l.stack, feed: feed}
	return extra.Send(ctx, from, to, n/to.Sub(from).Seconds(), scenarios...)
}

// Announce makes the schema, publishes what KPI files declare and imports what
// the shop's portal knows about its keys. Call it after SendHistory and before
// ingest runs.
func (l *Load) Announce(ctx context.Context) error {
	if _, err := l.stack.Command(ctx, "ingest", "migrate"); err != nil {
		return err
	}
	if _, err := l.stack.Command(ctx, "aggregate", "kpi"); err != nil {
		return err
	}
	file := filepath.Join(l.stack.config.Dir, "consumers.csv")
	if err := os.WriteFile(file, []byte(l.feed.ConsumersCSV(l.until.Add(-DemoHistory().Length))), 0o600); err != nil {
		return err
	}
	_, err := l.stack.Command(ctx, "ingest", "import", "consumers", file)
	return err
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

// Settle waits until the store has everything that was sent. Call it when
// nothing is being sent. progress, if there is one, is told what share is stored.
func (l *Load) Settle(ctx context.Context, progress func(share float64)) error {
	for sent := l.sent(); ; {
		stored, err := l.stored(ctx)
		if progress != nil && sent > 0 {
			progress(float64(stored) / float64(sent))
		}
		if err == nil && stored >= sent {
			return nil
		}
		if err := l.pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d messages are stored: %w", stored, sent, err)
		}
	}
}

// A Verdict compares what was sent with what is stored.
type Verdict struct {
	Rows          int64 // rows by the ledger
	Lost, Doubled int64 // the most that any comparison shows
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
	v.Lost = max(v.Lost, want-got)
	v.Doubled = max(v.Doubled, got-want)
	v.Problems = append(v.Problems, fmt.Sprintf("%s: %d, but %d were sent", what, got, want))
}

// VerifyOptions say what a Load's Verify compares besides.
type VerifyOptions struct {
	Deep bool // reads Kafka again
	// Recent says that no request is older than the finest levels keep, so that
	// all levels must hold all requests; else only the coarsest are compared.
	Recent bool
	// Dead is how many unreadable messages were sent besides, by topic.
	Dead map[string]int64
}

// Verify runs `ingest verify` and compares the ledger, the rows and the rollups
// with the account.
func (l *Load) Verify(ctx context.Context, o VerifyOptions) (Verdict, error) {
	var v Verdict
	totals, err := l.stack.Store.LedgerTotals(ctx)
	if err != nil {
		return v, err
	}
	messages, dead := map[string]int64{}, map[string]int64{}
	for _, t := range totals {
		messages[t.Topic], dead[t.Topic] = t.Messages, t.Dead
		v.Rows += t.Rows
	}
	for _, t := range loadgen.Topics() {
		v.compare("messages of "+t+" in the ledger", messages[t], l.Account.Messages(t))
		v.compare("dead letters of "+t, dead[t], o.Dead[t])
	}
	requests, err := l.stack.Store.RequestTotals(ctx)
	if err != nil {
		return v, err
	}
	for table, n := range requests {
		if o.Recent || table == "request_1h" || table == "key_1d" {
			v.compare("requests in "+table, n, l.Account.Requests())
		}
	}
	args := []string{}
	if o.Deep {
		args = append(args, "--deep")
	}
	if out, err := l.stack.Command(ctx, "ingest", "verify", args...); err != nil {
		v.Problems = append(v.Problems, fmt.Sprintf("%v\n%s", err, out))
	}
	return v, nil
}

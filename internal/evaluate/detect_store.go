package evaluate

import (
	"fmt"
	"time"

	"gatewatch/internal/alert"
)

// behind is how old a topic's watermark is when it is stale.
const behind = 2 * time.Minute

func findStale(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, t := range r.Topics {
		if !t.CaughtUp || r.At.Sub(t.CompleteUntil) < behind {
			continue
		}
		list = append(list, Signal{
			Kind: alert.StaleData, Service: "gatewatch", Labels: map[string]string{"topic": t.Topic}, Severity: alert.Ticket, Since: t.CompleteUntil.Truncate(time.Second),
			Headline: fmt.Sprintf("topic %s is complete only until %s", clean(t.Topic), t.CompleteUntil.UTC().Format(time.TimeOnly)),
			Lines:    []Line{{"Impact", fmt.Sprintf("%s messages wait; pages and figures are late by %s", thousands(t.Lag), age(r.At.Sub(t.CompleteUntil)))}},
			Evidence: map[string]any{"complete_until": t.CompleteUntil.UTC(), "lag": t.Lag},
		})
	}
	return list
}

// When dead letters are too many.
const (
	minDead   = 10
	deadShare = 0.01
)

func findDeadLetters(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, t := range r.Topics {
		if t.Dead < minDead || float64(t.Dead) < deadShare*float64(t.Messages) {
			continue
		}
		list = append(list, Signal{
			Kind: alert.DeadLetters, Service: "gatewatch", Labels: map[string]string{"topic": t.Topic}, Severity: alert.Ticket, Since: r.At.Add(-10 * time.Minute),
			Headline: fmt.Sprintf("%s of topic %s can't be read: %s", percent(float64(t.Dead)/float64(max(1, t.Messages))), clean(t.Topic), clean(t.Reason)),
			Lines:    []Line{{"Impact", fmt.Sprintf("%s of %s messages of the last 10 m are in no figure", thousands(t.Dead), thousands(t.Messages))}},
			Evidence: map[string]any{"messages": t.Messages, "dead": t.Dead, "reason": t.Reason},
		})
	}
	return list
}

func findRetention(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, t := range r.Topics {
		if !t.AtRisk {
			continue
		}
		left := max(0, t.CompleteUntil.Add(t.Retention).Sub(r.At))
		list = append(list, Signal{
			Kind: alert.RetentionAtRisk, Service: "gatewatch", Labels: map[string]string{"topic": t.Topic}, Severity: alert.Ticket, Since: t.CompleteUntil.Add(t.Retention / 2).Truncate(time.Second),
			Headline: fmt.Sprintf("Kafka deletes messages of topic %s unread in %s", clean(t.Topic), age(left)),
			Lines:    []Line{{"Impact", fmt.Sprintf("%s messages wait, the oldest for %s; the topic keeps them for %s", thousands(t.Lag), age(r.At.Sub(t.CompleteUntil)), age(t.Retention))}},
			Evidence: map[string]any{"complete_until": t.CompleteUntil.UTC(), "lag": t.Lag, "retention_s": t.Retention.Seconds(), "left_s": left.Seconds()},
		})
	}
	return list
}

// When a disk is filling: it will be full within a week at the pace of the time
// that was looked at, which has to be long enough to tell.
const (
	fullWithin  = 7 * 24 * time.Hour
	minObserved = 6 * time.Hour
	minFree     = 0.02 // of the disk: so little is told whatever the pace
)

func findDisks(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, d := range r.Disks {
		observed := d.Last.Sub(d.First)
		used := float64(d.FreeFirst) - float64(d.Free) // while it was observed
		var left time.Duration
		switch {
		case observed >= minObserved && used > 0 && float64(d.Free)/used*observed.Hours() < fullWithin.Hours():
			left = time.Duration(float64(d.Free) / used * float64(observed))
		case float64(d.Free) >= minFree*float64(d.Total):
			continue
		}
		headline := fmt.Sprintf("disk %s of %s is full in %s at this pace", clean(d.Disk), clean(d.Host), age(left))
		if left == 0 {
			headline = fmt.Sprintf("disk %s of %s has %s left", clean(d.Disk), clean(d.Host), percent(float64(d.Free)/float64(max(1, d.Total))))
		}
		list = append(list, Signal{
			Kind: alert.DiskFilling, Service: "gatewatch", Labels: map[string]string{"node": d.Host}, Severity: alert.Ticket, Since: d.Last.Truncate(time.Hour),
			Headline: headline,
			Lines:    []Line{{"Impact", fmt.Sprintf("%s of %s are free; when it is full ClickHouse takes no more and nothing is judged", size(d.Free), size(d.Total))}},
			Evidence: map[string]any{"disk": d.Disk, "free": d.Free, "total": d.Total, "left_s": left.Seconds(), "observed_s": observed.Seconds()},
		})
	}
	return list
}

// size writes bytes for people.
func size(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	x := float64(n)
	i := 0
	for x >= 1000 && i < len(units)-1 {
		x, i = x/1000, i+1
	}
	return fmt.Sprintf("%.3g %s", x, units[i])
}

func findBudgets(_ SignalsConfig, r *Readings) []Signal {
	var list []Signal
	for _, b := range r.Budgets {
		if !b.Low || b.Firing {
			continue
		}
		headline := fmt.Sprintf("%.0f %% of the error budget of %s is left", 100*max(0, b.Left), clean(b.SLO))
		if b.Left <= 0 {
			headline = fmt.Sprintf("the error budget of %s is spent", clean(b.SLO))
		}
		list = append(list, Signal{
			Kind: alert.BudgetLow, Service: b.Service, Labels: map[string]string{"objective": b.SLO}, Severity: alert.Ticket, Since: r.At,
			Headline: headline,
			Lines:    []Line{{"Impact", fmt.Sprintf("%s of %s requests failed in %s; the objective allows %s", thousands(b.Period.Bad), thousands(b.Period.Valid), b.PeriodName, percent(b.Allowed))}},
			Evidence: map[string]any{"left": b.Left, "valid": b.Period.Valid, "bad": b.Period.Bad},
		})
	}
	return list
}

// budgets are the objectives' budgets at the evaluator's tick.
func (l *Loop) budgets() []BudgetState {
	var list []BudgetState
	for _, j := range l.eval.objectives {
		for _, it := range j.items {
			st := &it.status
			if st.Group != "" || st.Period.Valid == 0 {
				continue // those that are judged apart are too many to write tickets about
			}
			list = append(list, BudgetState{
				SLO: st.SLO.Name, Service: st.SLO.Service, Left: st.SLO.Remaining(st.Period), Low: st.SLO.NearlySpent(st.Period), Firing: st.State == alert.Firing,
				Period: st.Period, PeriodName: st.SLO.PeriodName(), Allowed: st.SLO.Budget(),
			})
		}
	}
	return list
}

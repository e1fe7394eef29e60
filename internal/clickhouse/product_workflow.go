package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/kpi"
)

// A RunCount is the runs of a workflow that began in a window and stand alike.
type RunCount struct {
	Done       uint8  `ch:"done"` // steps
	State      string `ch:"state"`
	Failed     string `ch:"failed_class"`
	FailedStep uint8  `ch:"failed_step"`
	Runs       int64  `ch:"runs"`
	Amount     int64  `ch:"amount"` // millionths
}

// onePartition says that all versions of a run are in one partition: they begin
// at the same moment. Partitions that have been merged need no more work then.
const onePartition = " SETTINGS do_not_merge_across_partitions_select_final = 1"

func named(w *kpi.Workflow) []any {
	return []any{clickhouse.Named("workflow", w.Name), clickhouse.Named("definition", w.Hash())}
}

// RunCounts counts the runs that began in the window.
func (c *Conn) RunCounts(ctx context.Context, w ProductWindow, of *kpi.Workflow) ([]RunCount, error) {
	return product[RunCount](ctx, c, "count runs of "+of.Name, w, `SELECT done, toString(state) AS state, failed_class, failed_step, toInt64(count()) AS runs, sum(amount) AS amount
		FROM workflow_run FINAL WHERE workflow = @workflow AND definition = @definition AND start >= toDateTime(@from, 'UTC') AND start < toDateTime(@to, 'UTC')
		GROUP BY done, state, failed_class, failed_step ORDER BY done, state, failed_class, failed_step`+onePartition, named(of)...)
}

// A StepCount is the calls to a step's route in a window.
type StepCount struct {
	Step  int8   `ch:"step"`
	Done  bool   `ch:"done"`
	Class string `ch:"class"`
	Calls int64  `ch:"calls"`
}

// StepCounts counts calls to the routes of a workflow's steps, and by what they failed.
func (c *Conn) StepCounts(ctx context.Context, w ProductWindow, of *kpi.Workflow) ([]StepCount, error) {
	step, done := stepSQL(of)
	return product[StepCount](ctx, c, "count calls of "+of.Name, w, `SELECT `+step+` AS step, `+done+` AS done, if(done, '', toString(error_class)) AS class, toInt64(count()) AS calls
		FROM workflow_call WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC') AND step >= 0
		GROUP BY step, done, class ORDER BY step, done, class`)
}

// StepsDone counts, by step, the times in the window at which runs have done it:
// what StepCounts has beyond that was a step without its run.
func (c *Conn) StepsDone(ctx context.Context, w ProductWindow, of *kpi.Workflow) ([]int64, error) {
	type row struct {
		Done []int64 `ch:"done"`
	}
	rows, err := product[row](ctx, c, "count steps of "+of.Name, w, `SELECT sumForEach(arrayMap(t -> toInt64(t >= toDateTime(@from, 'UTC') AND t < toDateTime(@to, 'UTC')), times)) AS done
		FROM workflow_run FINAL WHERE workflow = @workflow AND definition = @definition AND start < toDateTime(@to, 'UTC') AND start >= toDateTime(@from, 'UTC') - INTERVAL 32 DAY`+onePartition, named(of)...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0].Done, nil
}

// A ValueHour is the completed runs of an hour.
type ValueHour struct {
	Time   time.Time `ch:"time"`
	Runs   int64     `ch:"runs"`
	Amount int64     `ch:"amount"` // millionths
}

// Completed returns the completed runs by the hour in which they were completed.
func (c *Conn) Completed(ctx context.Context, w ProductWindow, of *kpi.Workflow) ([]ValueHour, error) {
	return product[ValueHour](ctx, c, "sum the value of "+of.Name, w, `SELECT toStartOfHour(toDateTime(last_step_at, 'UTC')) AS time, toInt64(count()) AS runs, sum(amount) AS amount
		FROM workflow_run FINAL WHERE workflow = @workflow AND definition = @definition AND state = 'completed'
			AND last_step_at >= toDateTime(@from, 'UTC') AND last_step_at < toDateTime(@to, 'UTC') AND start >= toDateTime(@from, 'UTC') - INTERVAL 32 DAY
		GROUP BY time ORDER BY time`+onePartition, named(of)...)
}

// A ConsumerValue is what one consumer's completed runs are worth.
type ConsumerValue struct {
	Unit   string `ch:"unit"`
	Plan   string `ch:"plan"`
	Runs   int64  `ch:"runs"`
	Amount int64  `ch:"amount"` // millionths
}

// ValueBy returns the completed runs of the window by unit, most valuable first.
func (c *Conn) ValueBy(ctx context.Context, w ProductWindow, of *kpi.Workflow) ([]ConsumerValue, error) {
	return product[ConsumerValue](ctx, c, "sum the value of "+of.Name, w, `SELECT unit, argMax(plan, start) AS plan, toInt64(count()) AS runs, sum(amount) AS amount
		FROM workflow_run FINAL WHERE workflow = @workflow AND definition = @definition AND state = 'completed'
			AND last_step_at >= toDateTime(@from, 'UTC') AND last_step_at < toDateTime(@to, 'UTC') AND start >= toDateTime(@from, 'UTC') - INTERVAL 32 DAY
		GROUP BY tenant, environment, unit ORDER BY amount DESC, runs DESC, unit`+onePartition, named(of)...)
}

// A QuotaUse is what one consumer or key has used in a calendar window.
type QuotaUse struct {
	Tenant    string `ch:"tenant"`
	Unit      string `ch:"unit"`
	Consumer  string `ch:"consumer"`  // whose it is
	Used      int64  `ch:"used"`      // in the window, without what was throttled
	Throttled int64  `ch:"throttled"` // in the window
	History   int64  `ch:"history"`   // unthrottled calls of the 28 days before To
	// Totals are the calls, throttled ones included, of each full window since From that has any.
	Totals []int64 `ch:"totals"`
}

// periodSQL is the begin of the calendar window that a moment lies in.
func periodSQL(p kpi.Period) string {
	switch p {
	case kpi.PerMinute:
		return "toStartOfMinute(time)"
	case kpi.PerHour:
		return "toStartOfHour(time)"
	case kpi.PerDay:
		return "toStartOfDay(time, {{zone}})"
	case kpi.PerWeek, kpi.PerMonth:
	}
	return "toDateTime(toStartOfMonth(time, {{zone}}), {{zone}})"
}

// unitOf is the expression of a quota's unit.
func unitOf(of kpi.Unit) string {
	if of == kpi.UnitKey {
		return "lower(hex(key_id))"
	}
	return "consumer"
}

// QuotaUse returns the use of quotas by consumer or key, in the calendar window
// that began at begin.
func (c *Conn) QuotaUse(ctx context.Context, w ProductWindow, per kpi.Period, of kpi.Unit, begin time.Time) ([]QuotaUse, error) {
	// Parts that begin where something is to be cut.
	cuts := []time.Time{begin.UTC(), w.From, w.To.Add(-28 * 24 * time.Hour), w.To}
	slices.SortFunc(cuts, time.Time.Compare)
	var parts []levelPart
	for i := range cuts[1:] {
		if p := (ProductWindow{cuts[i], cuts[i+1], w.Zone}); p.From.Before(p.To) && per != kpi.PerHour {
			parts = append(parts, p.parts(true)...)
		}
	}
	if per == kpi.PerHour {
		parts = []levelPart{{"1h", cuts[0], w.To}}
	}
	return product[QuotaUse](ctx, c, "sum the use of quotas", w, `SELECT tenant, unit, any(who) AS consumer, sum(u) AS used, sum(t) AS throttled, sum(h) AS history, groupArrayIf(n, full > 0) AS totals FROM (
			SELECT tenant, `+unitOf(of)+` AS unit, argMax(consumer, last_call) AS who, `+periodSQL(per)+` AS period, time >= toDateTime(@begin, 'UTC') AS now,
				sumIf(calls, now AND NOT throttled) AS u, sumIf(calls, now AND throttled) AS t,
				sumIf(calls, time >= toDateTime(@to, 'UTC') - INTERVAL 28 DAY AND NOT throttled) AS h,
				sumIf(calls, time >= toDateTime(@from, 'UTC')) AS n, NOT now AND period >= toDateTime(@from, 'UTC') AS full
			FROM `+throttledSQL(parts)+` GROUP BY tenant, unit, period, now
		) GROUP BY tenant, unit ORDER BY used DESC, unit`, clickhouse.Named("begin", begin.Unix()))
}

// MinutePeaks returns, for quotas per minute, the busiest minute of each unit in
// the window as Used, and the calls of all minutes as Totals. Keys count for
// whose they are now.
func (c *Conn) MinutePeaks(ctx context.Context, w ProductWindow, of kpi.Unit) ([]QuotaUse, error) {
	return product[QuotaUse](ctx, c, "find the busiest minutes", w, `SELECT tenant, unit, any(who) AS consumer, max(n) AS used, sum(t) AS throttled, toInt64(0) AS history, groupArray(n + t) AS totals FROM (
			SELECT tenant, `+unitOf(of)+` AS unit, any(consumer) AS who, time, sumIf(requests, error_class != 'client_quota') AS n, sumIf(requests, error_class = 'client_quota') AS t
			FROM (
				SELECT m.tenant AS tenant, m.key_id AS key_id, m.time AS time, m.error_class AS error_class, m.requests AS requests, if(s.consumer != '', s.consumer, m.consumer) AS consumer
				FROM (SELECT tenant, key_id, consumer, time, error_class, requests FROM key_1m WHERE {{in}}) AS m
				LEFT ANY JOIN (SELECT tenant, key_id, consumer FROM key_span WHERE valid_to > toDateTime64('2199-01-01 00:00:00', 3, 'UTC') AND key_id != toFixedString('', 16)) AS s ON s.tenant = m.tenant AND s.key_id = m.key_id
			) GROUP BY tenant, unit, time
		) GROUP BY tenant, unit ORDER BY used DESC, unit`)
}

// HourlyUse returns the unthrottled calls of units by the hour since From.
func (c *Conn) HourlyUse(ctx context.Context, w ProductWindow, of kpi.Unit, units []string) (map[string][]float64, error) {
	type row struct {
		Tenant string  `ch:"tenant"`
		Unit   string  `ch:"unit"`
		Hours  []int32 `ch:"hours"`
		Calls  []int64 `ch:"calls"`
	}
	only, err := c.onlyKeys(ctx, w, of == kpi.UnitKey, units)
	if err != nil {
		return nil, err
	}
	rows, err := product[row](ctx, c, "read the hours of units", w, `SELECT tenant, unit, groupArray(hour) AS hours, groupArray(n) AS calls FROM (
			SELECT tenant, `+unitOf(of)+` AS unit, toInt32((toUnixTimestamp(time) - @from) / 3600) AS hour, sum(requests) AS n
			FROM `+callsSQL([]levelPart{{"1h", w.From, w.To}}, only)+` WHERE error_class != 'client_quota' AND unit IN (@units) GROUP BY tenant, unit, hour
		) GROUP BY tenant, unit`, clickhouse.Named("units", units))
	if err != nil {
		return nil, err
	}
	all := map[string][]float64{}
	n := int(w.To.Sub(w.From) / time.Hour)
	for _, r := range rows {
		hours := make([]float64, n)
		for i, h := range r.Hours {
			if int(h) < n {
				hours[h] += float64(r.Calls[i])
			}
		}
		all[r.Tenant+"\x00"+r.Unit] = hours
	}
	return all, nil
}

// A PromiseRow is how requests of a month went for one consumer.
type PromiseRow struct {
	Month    time.Time `ch:"month"`
	Plan     string    `ch:"plan"`
	Tier     string    `ch:"tier"`
	Consumer string    `ch:"consumer"`
	Valid    int64     `ch:"valid"` // all but those beyond a quota
	Bad      int64     `ch:"bad"`   // failed on our side
	Timed    int64     `ch:"timed"` // answered, with a latency
	Fast     []int64   `ch:"fast"`  // at most the bucket of each threshold
}

// Promises counts, by calendar month, plan, tier and consumer as of the time of
// the call, what SLAs are about. Buckets are the histogram buckets of thresholds.
func (c *Conn) Promises(ctx context.Context, w ProductWindow, buckets []uint16) ([]PromiseRow, error) {
	fast := "emptyArrayInt64()"
	if len(buckets) > 0 {
		fast = ""
		for i, b := range buckets {
			if i > 0 {
				fast += ", "
			}
			fast += fmt.Sprintf("sum(if(counts, arraySum(arrayMap((k, n) -> if(k <= %d, n, 0), mapKeys(latency_hist), mapValues(latency_hist))), 0))", b)
		}
		fast = "[" + fast + "]"
	}
	return product[PromiseRow](ctx, c, "count promises", w, `SELECT toDateTime(toStartOfMonth(time, {{zone}}), {{zone}}) AS month, plan, tier, consumer,
			sumIf(requests, error_class != 'client_quota') AS valid, sumIf(requests, {{server}}) AS bad, sumIf(timed, counts) AS timed, `+fast+` AS fast
		FROM (SELECT *, NOT ({{server}}) AND error_class != 'client_quota' AS counts FROM {{calls by day}})
		GROUP BY month, plan, tier, consumer ORDER BY month, plan, tier, consumer`)
}

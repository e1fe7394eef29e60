package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
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

// A QuotaUse is what one consumer or key has used of its quota.
type QuotaUse struct {
	Tenant    string `ch:"tenant"`
	Unit      string `ch:"unit"`
	Owner     string `ch:"owner"`
	Used      int64  `ch:"used"`      // in the window, without what was throttled
	Throttled int64  `ch:"throttled"` // in the window
	History   int64  `ch:"history"`   // calls of the 28 days before the window's end
	// Windows are the full windows since From, Over those of them in which used and throttled
	// together reached the quota.
	Windows uint64 `ch:"windows"`
	Over    uint64 `ch:"over"`
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

// Quota returns the use of a plan's quota: by those who are on the plan at the
// window's end, in the calendar window that began at begin.
func (c *Conn) Quota(ctx context.Context, w ProductWindow, plan string, q kpi.Quota, begin time.Time) ([]QuotaUse, error) {
	unit := "consumer"
	if q.Of == kpi.UnitKey {
		unit = "lower(hex(key_id))"
	}
	period := periodSQL(q.Per)
	// Parts, so that each begins where it is to be cut.
	cuts := []time.Time{begin.UTC(), w.From, w.To.Add(-28 * 24 * time.Hour), w.To}
	slices.SortFunc(cuts, time.Time.Compare)
	var parts []string
	for i := range cuts[1:] {
		if part := (ProductWindow{cuts[i], cuts[i+1], w.Zone}); part.From.Before(part.To) {
			parts = append(parts, "SELECT * FROM "+strings.ReplaceAll(part.calls(true), "{{in}}", fmt.Sprintf("time >= toDateTime(%d, 'UTC') AND time < toDateTime(%d, 'UTC')", part.From.Unix(), part.To.Unix())))
		}
	}
	calls := "(" + strings.Join(parts, " UNION ALL ") + ")"
	return product[QuotaUse](ctx, c, "sum the use of plan "+plan, w, `WITH
		calls AS (
			SELECT tenant, `+unit+` AS unit, consumer, time, sumIf(requests, error_class != 'client_quota') AS n, sumIf(requests, error_class = 'client_quota') AS t
			FROM `+calls+` GROUP BY tenant, unit, consumer, time
		),
		windows AS (
			SELECT tenant, unit, countIf(n + t >= @quota) AS over FROM (
				SELECT tenant, unit, `+period+` AS period, sum(n) AS n, sum(t) AS t FROM calls
				WHERE time >= toDateTime(@from, 'UTC') AND time < toDateTime(@begin, 'UTC') GROUP BY tenant, unit, period
			) WHERE period >= toDateTime(@from, 'UTC') GROUP BY tenant, unit
		)
		SELECT c.tenant AS tenant, c.unit AS unit, any(v.owner) AS owner, sumIf(c.n, c.time >= toDateTime(@begin, 'UTC')) AS used, sumIf(c.t, c.time >= toDateTime(@begin, 'UTC')) AS throttled,
			sumIf(c.n, c.time >= toDateTime(@to, 'UTC') - INTERVAL 28 DAY) AS history,
			toUInt64(0) AS windows, any(o.over) AS over
		FROM calls AS c
		INNER JOIN (SELECT tenant, consumer, owner FROM v_consumer WHERE plan = @plan) AS v ON v.tenant = c.tenant AND v.consumer = c.consumer
		LEFT JOIN windows AS o ON o.tenant = c.tenant AND o.unit = c.unit
		GROUP BY tenant, unit HAVING used + throttled + history > 0 ORDER BY used DESC, unit`,
		clickhouse.Named("plan", plan), clickhouse.Named("quota", q.Calls), clickhouse.Named("begin", begin.Unix()))
}

// MinutePeaks returns, for a quota per minute, the busiest minute of each unit in the window.
func (c *Conn) MinutePeaks(ctx context.Context, w ProductWindow, plan string, q kpi.Quota) ([]QuotaUse, error) {
	unit := "consumer"
	if q.Of == kpi.UnitKey {
		unit = "lower(hex(key_id))"
	}
	return product[QuotaUse](ctx, c, "find the busiest minutes of plan "+plan, w, `WITH keys AS (
			SELECT DISTINCT c.tenant AS tenant, c.key_id AS key_id, c.consumer AS consumer, v.owner AS owner FROM call_1h AS c
			INNER JOIN (SELECT tenant, consumer, owner FROM v_consumer WHERE plan = @plan) AS v ON v.tenant = c.tenant AND v.consumer = c.consumer
			WHERE c.time >= toDateTime(@from, 'UTC') AND c.time < toDateTime(@to, 'UTC')
		)
		SELECT tenant, unit, any(owner) AS owner, max(n) AS used, sum(t) AS throttled, toInt64(0) AS history, count() AS windows, countIf(n + t >= @quota) AS over FROM (
			SELECT m.tenant AS tenant, `+unit+` AS unit, any(k.owner) AS owner, m.time AS time, sumIf(m.requests, m.error_class != 'client_quota') AS n, sumIf(m.requests, m.error_class = 'client_quota') AS t
			FROM (SELECT tenant, key_id, time, error_class, requests FROM key_1m WHERE {{in}}) AS m INNER JOIN keys AS k ON k.tenant = m.tenant AND k.key_id = m.key_id
			GROUP BY tenant, unit, time
		) GROUP BY tenant, unit ORDER BY used DESC, unit`, clickhouse.Named("plan", plan), clickhouse.Named("quota", q.Calls))
}

// HourlyUse returns the unthrottled calls of units by the hour since From.
func (c *Conn) HourlyUse(ctx context.Context, w ProductWindow, q kpi.Quota, units []string) (map[string][]float64, error) {
	unit := "consumer"
	if q.Of == kpi.UnitKey {
		unit = "lower(hex(key_id))"
	}
	type row struct {
		Tenant string  `ch:"tenant"`
		Unit   string  `ch:"unit"`
		Hours  []int32 `ch:"hours"`
		Calls  []int64 `ch:"calls"`
	}
	rows, err := product[row](ctx, c, "read the hours of units", w, `SELECT tenant, unit, groupArray(hour) AS hours, groupArray(n) AS calls FROM (
			SELECT tenant, `+unit+` AS unit, toInt32((toUnixTimestamp(time) - @from) / 3600) AS hour, sum(requests) AS n
			FROM call_1h WHERE {{in}} AND error_class != 'client_quota' AND unit IN (@units)
				AND (key_id IN (SELECT key_id FROM key_span WHERE consumer IN (@units)) OR lower(hex(key_id)) IN (@units) OR consumer IN (@units)) GROUP BY tenant, unit, hour
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

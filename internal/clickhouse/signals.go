package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"gatewatch/internal/alert"
	"gatewatch/internal/baseline"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/rollup"
)

const (
	trafficShown  = 75  // minutes
	maxConsumers  = 500 // with most requests, whose use is compared with their own
	signalService = 2 * time.Minute
)

// Signals implements evaluate.Querier. What moves by the hour is read once an
// hour, five minutes after it, so that late rows are in.
func (c *Conn) Signals(ctx context.Context, at time.Time) (evaluate.Readings, error) {
	ctx, cancel := context.WithTimeout(ctx, signalService)
	defer cancel()
	r := evaluate.Readings{At: at}
	reads := []signalRead{
		{[]alert.Kind{alert.TrafficLost, alert.TrafficDip, alert.UnusualTraffic}, c.readTraffic},
		{[]alert.Kind{alert.ClientErrors}, c.readErrors},
		{[]alert.Kind{alert.Breaker}, c.readBreakers},
		{[]alert.Kind{alert.ConsumerFailing}, c.readUsers},
		{[]alert.Kind{alert.LoggingGap}, c.readSilent},
		{[]alert.Kind{alert.StaleData, alert.DeadLetters, alert.RetentionAtRisk}, c.readTopics},
	}
	if at.Minute()%10 == 5 {
		reads = append(reads, signalRead{[]alert.Kind{alert.DiskFilling}, c.readDisks})
	}
	if at.Minute() == 5 {
		reads = append(reads, signalRead{[]alert.Kind{alert.UnusualUse}, c.readHours},
			signalRead{[]alert.Kind{alert.QuotaForecast}, c.readPeriods}, signalRead{[]alert.Kind{alert.Sunset}, c.readVersions})
	}
	for _, read := range reads {
		if err := read.from(ctx, at, &r); err != nil {
			return r, fmt.Errorf("read signals of kind %s: %w", read.kinds[0], err)
		}
		r.Kinds = append(r.Kinds, read.kinds...)
	}
	var err error
	if names := consumersOf(&r); len(names) > 0 {
		r.Owners, err = c.ConsumerOwners(ctx, names)
	}
	return r, err
}

// consumersOf returns the consumers that readings are about.
func consumersOf(r *evaluate.Readings) []string {
	var names []string
	for _, u := range r.Users {
		names = append(names, u.Consumer)
	}
	for _, u := range r.Hours {
		names = append(names, u.Consumer)
	}
	for _, u := range r.Periods {
		names = append(names, u.Consumer)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

type signalRead struct {
	kinds []alert.Kind
	from  func(context.Context, time.Time, *evaluate.Readings) error
}

// each runs a query with the moment as @at, and calls scan for each row.
func (c *Conn) each(ctx context.Context, query string, at time.Time, scan func(driver.Rows) error, args ...any) error {
	return c.scanAll(ctx, query, scan, append(args, clickhouse.Named("at", at.Unix()))...)
}

// scanAll runs a query, and calls scan for each row.
func (c *Conn) scanAll(ctx context.Context, query string, scan func(driver.Rows) error, args ...any) error {
	rows, err := c.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c *Conn) readTraffic(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	history, first, err := c.trafficHistory(ctx, at)
	if err != nil {
		return err
	}
	minutes, err := c.trafficMinutes(ctx, at)
	if err != nil {
		return err
	}
	for service := range history { // silent for longer than the minutes reach
		if k := [2]string{service, ""}; minutes[k] == nil {
			minutes[k] = make([]int64, trafficShown)
		}
	}
	keys := slices.SortedFunc(maps.Keys(minutes), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	if n := len(keys); n > 0 && keys[n-1][0] != "" {
		// What found no route is nobody's traffic, and nobody misses it.
		keys = slices.DeleteFunc(keys, func(k [2]string) bool { return k[0] == "" })
	}
	for _, k := range keys {
		t := evaluate.Traffic{Service: k[0], Node: k[1], Minutes: minutes[k]}
		if h := history[k[0]]; k[1] == "" && len(h) > 0 {
			t.History = baseline.Zeros(h, first[k[0]], at.Truncate(time.Hour))
		}
		r.Traffic = append(r.Traffic, t)
	}
	return nil
}

// trafficHistory returns the requests of each service by hour, and its first hour.
func (c *Conn) trafficHistory(ctx context.Context, at time.Time) (map[string][]baseline.Point, map[string]time.Time, error) {
	history := map[string][]baseline.Point{}
	first := map[string]time.Time{}
	err := c.each(ctx, `SELECT service, time, sum(requests) FROM request_1h
		WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 28 DAY AND time < toStartOfHour(toDateTime(@at, 'UTC')) GROUP BY service, time ORDER BY service, time`, at, func(rows driver.Rows) error {
		var service string
		var p baseline.Point
		var n int64
		if err := rows.Scan(&service, &p.Time, &n); err != nil {
			return err
		}
		if p.Value = float64(n); first[service].IsZero() {
			first[service] = p.Time
		}
		history[service] = append(history[service], p)
		return nil
	})
	return history, first, err
}

// trafficMinutes returns the requests of the minutes before at, of each service
// and of each node of it.
func (c *Conn) trafficMinutes(ctx context.Context, at time.Time) (map[[2]string][]int64, error) {
	begin := at.Add(-trafficShown * time.Minute)
	minutes := map[[2]string][]int64{}
	err := c.each(ctx, `SELECT service, toString(node), toUnixTimestamp(time), sum(requests) FROM edge_1m
		WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 75 MINUTE AND time < toDateTime(@at, 'UTC') GROUP BY service, node, time`, at, func(rows driver.Rows) error {
		var service, node string
		var t uint32
		var n int64
		if err := rows.Scan(&service, &node, &t, &n); err != nil {
			return err
		}
		i := int(time.Unix(int64(t), 0).Sub(begin) / time.Minute)
		keys := [][2]string{{service, ""}}
		if node != "" {
			keys = append(keys, [2]string{service, node})
		}
		for _, k := range keys {
			if minutes[k] == nil {
				minutes[k] = make([]int64, trafficShown)
			}
			if i >= 0 && i < trafficShown {
				minutes[k][i] += n
			}
		}
		return nil
	})
	return minutes, err
}

// readErrors reads client errors of services and of routes.
func (c *Conn) readErrors(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	if err := c.readClientErrors(ctx, at, r); err != nil {
		return err
	}
	return c.readRouteErrors(ctx, at, r)
}

// readClientErrors reads the classes of client errors at each service, and how
// many consumers mostly end so.
func (c *Conn) readClientErrors(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	usual, all, err := c.usualClasses(ctx, at)
	if err != nil {
		return err
	}
	return c.each(ctx, `SELECT service, class, any(of_service), sum(n), any(active), countIf(n >= 0.5 * of_consumer), min(since) FROM (
			SELECT service, class, n, since, sum(n) OVER (PARTITION BY service, consumer) AS of_consumer,
				sum(n) OVER (PARTITION BY service) AS of_service, uniqExact(consumer) OVER (PARTITION BY service) AS active FROM (
				SELECT service, consumer, toString(error_class) AS class, sum(requests) AS n, min(time) AS since FROM key_1m
				WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 5 MINUTE AND time < toDateTime(@at, 'UTC') AND consumer != '' GROUP BY service, consumer, error_class))
		WHERE startsWith(class, 'client_') AND class NOT IN ('client_cancelled', 'client_timeout')
		GROUP BY service, class ORDER BY service, class`, at, func(rows driver.Rows) error {
		var e evaluate.ClassShare
		var active, hit uint64
		if err := rows.Scan(&e.Service, &e.Class, &e.Requests, &e.Errors, &active, &hit, &e.Since); err != nil {
			return err
		}
		e.Active, e.Hit = int64(active), int64(hit)
		e.UsualRequests, e.UsualErrors = all[e.Service], usual[[2]string{e.Service, e.Class}]
		r.Errors = append(r.Errors, e)
		return nil
	})
}

// usualClasses returns the requests of the day before, less the last hour, by
// service and class, and by service.
func (c *Conn) usualClasses(ctx context.Context, at time.Time) (map[[2]string]int64, map[string]int64, error) {
	classes, services := map[[2]string]int64{}, map[string]int64{}
	err := c.each(ctx, `SELECT service, toString(error_class), sum(requests) FROM key_1h
		WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 25 HOUR AND time < toDateTime(@at, 'UTC') - INTERVAL 1 HOUR AND consumer != ''
		GROUP BY service, error_class`, at, func(rows driver.Rows) error {
		var k [2]string
		var n int64
		err := rows.Scan(&k[0], &k[1], &n)
		classes[k] = n
		services[k[0]] += n
		return err
	})
	return classes, services, err
}

func (c *Conn) readUsers(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	return c.each(ctx, `SELECT service, consumer, any(plan), sum(n), sum(bad) AS failed, any(of_service) - sum(n), any(bad_of_service) - failed,
			argMax(class, bad), minIf(first, bad > 0)
		FROM (SELECT *, sum(n) OVER (PARTITION BY service) AS of_service, sum(bad) OVER (PARTITION BY service) AS bad_of_service FROM (
			SELECT service, consumer, any(plan) AS plan, toString(error_class) AS class, sum(requests) AS n,
				if(class IN ('none', 'client_cancelled'), 0, n) AS bad, min(time) AS first
			FROM key_1m WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 15 MINUTE AND time < toDateTime(@at, 'UTC') AND consumer != ''
			GROUP BY service, consumer, error_class))
		GROUP BY service, consumer HAVING failed > 0 AND failed * 2 >= sum(n) ORDER BY failed DESC, service, consumer LIMIT 200`, at, func(rows driver.Rows) error {
		var u evaluate.ConsumerUse
		if err := rows.Scan(&u.Service, &u.Consumer, &u.Plan, &u.Requests, &u.Failed, &u.OthersRequests, &u.OthersFails, &u.Class, &u.Since); err != nil {
			return err
		}
		r.Users = append(r.Users, u)
		return nil
	})
}

func (c *Conn) readSilent(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	return c.each(ctx, `SELECT s.service, s.n, s.newest, l.last FROM (
			SELECT service, toInt64(count()) AS n, toInt64(countIf(ts >= toDateTime(@at, 'UTC') - INTERVAL 3 MINUTE)) AS newest FROM span
			WHERE kind = 'server' AND ts >= toDateTime(@at, 'UTC') - INTERVAL 10 MINUTE AND ts < toDateTime(@at, 'UTC') GROUP BY service) AS s
		INNER JOIN (SELECT service, max(time) AS last FROM request_1m
			WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 7 DAY AND time < toDateTime(@at, 'UTC') GROUP BY service) AS l ON l.service = s.service
		WHERE l.last < toDateTime(@at, 'UTC') - INTERVAL 2 MINUTE ORDER BY s.service`, at, func(rows driver.Rows) error {
		var s evaluate.SilentService
		if err := rows.Scan(&s.Service, &s.Spans, &s.Newest, &s.Last); err != nil {
			return err
		}
		r.Silent = append(r.Silent, s)
		return nil
	})
}

func (c *Conn) readTopics(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	marks, err := c.Watermarks(ctx)
	if err != nil {
		return err
	}
	reasons := map[string]string{}
	err = c.each(ctx, `SELECT topic, argMax(reason, n) FROM (SELECT topic, reason, count() AS n FROM dead_letter
		WHERE kafka_time >= toDateTime(@at, 'UTC') - INTERVAL 10 MINUTE AND kafka_time < toDateTime(@at, 'UTC') GROUP BY topic, reason) GROUP BY topic`, at, func(rows driver.Rows) error {
		var topic, reason string
		err := rows.Scan(&topic, &reason)
		reasons[topic] = reason
		return err
	})
	if err != nil {
		return err
	}
	counts := map[string][2]int64{}
	err = c.each(ctx, `SELECT topic, sum(messages), sum(dead) FROM ledger
		WHERE last_kafka_time >= toDateTime(@at, 'UTC') - INTERVAL 10 MINUTE AND last_kafka_time < toDateTime(@at, 'UTC') GROUP BY topic`, at, func(rows driver.Rows) error {
		var topic string
		var n [2]int64
		err := rows.Scan(&topic, &n[0], &n[1])
		counts[topic] = n
		return err
	})
	for _, w := range marks {
		n := counts[w.Topic]
		r.Topics = append(r.Topics, evaluate.TopicState{Topic: w.Topic, CompleteUntil: w.CompleteUntil, CaughtUp: w.CaughtUp, Lag: w.Lag, AtRisk: w.AtRisk(), Retention: w.Retention, Messages: n[0], Dead: n[1], Reason: reasons[w.Topic]})
	}
	return err
}

func (c *Conn) readHours(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	last := rollup.Grain1h.Window(at.Add(-time.Hour)).Start
	use := map[string]*evaluate.ConsumerHours{}
	first := map[string]time.Time{}
	var order []string
	err := c.each(ctx, `SELECT toString(consumer), any(toString(plan)), time, sum(requests) FROM key_1h
		WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 28 DAY AND time < toStartOfHour(toDateTime(@at, 'UTC')) AND consumer IN (
			SELECT consumer FROM key_1h WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 7 DAY AND consumer != '' GROUP BY consumer ORDER BY sum(requests) DESC LIMIT @most)
		GROUP BY consumer, time ORDER BY consumer, time`, at, func(rows driver.Rows) error {
		var consumer, plan string
		var t time.Time
		var n int64
		if err := rows.Scan(&consumer, &plan, &t, &n); err != nil {
			return err
		}
		u, ok := use[consumer]
		if !ok {
			u = &evaluate.ConsumerHours{Consumer: consumer, Plan: plan, Hour: last}
			use[consumer], first[consumer], order = u, t, append(order, consumer)
		}
		if t.Equal(last) {
			u.Now = n
		} else {
			u.History = append(u.History, baseline.Point{Time: t, Value: float64(n)})
		}
		return nil
	}, clickhouse.Named("most", maxConsumers))
	for _, consumer := range order {
		u := use[consumer]
		u.History = baseline.Zeros(u.History, first[consumer], last)
		r.Hours = append(r.Hours, *u)
	}
	return err
}

package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"gatewatch/internal/baseline"
	"gatewatch/internal/change"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/histogram"
	"gatewatch/internal/layer"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// services counts all services in the failure's time and before, by the default
// indicator of availability.
func (e *evidenceReader) services(ctx context.Context) error {
	valid, bad := countable(slo.SLI{})
	return e.each(ctx, fmt.Sprintf(`SELECT service, sumIf(%[1]s, now) AS n, sumIf(%[2]s, now), sumIf(%[1]s, NOT now), sumIf(%[2]s, NOT now) FROM (
			SELECT service, error_class, requests, time >= toDateTime(@onset, 'UTC') AS now FROM request_10s
			WHERE time >= toDateTime(@onset, 'UTC') - INTERVAL 1 HOUR AND time < fromUnixTimestamp64Milli(@to, 'UTC')
				AND (time < toDateTime(@onset, 'UTC') OR time >= toStartOfInterval(fromUnixTimestamp64Milli(@from, 'UTC'), INTERVAL 10 SECOND)))
		GROUP BY service HAVING n > 0 ORDER BY service`, valid, bad), func(rows driver.Rows) error {
		var s evaluate.ServiceCount
		err := rows.Scan(&s.Name, &s.Now.Valid, &s.Now.Bad, &s.Before.Valid, &s.Before.Bad)
		e.ev.Services = append(e.ev.Services, s)
		return err
	})
}

// changes lists what was changed on purpose shortly before the onset, what came
// last first.
func (e *evidenceReader) changes(ctx context.Context) error {
	window := fmt.Sprintf("time >= fromUnixTimestamp64Milli(%d, 'UTC') AND time <= fromUnixTimestamp64Milli(%d, 'UTC')", e.onset.Add(-change.Before).UnixMilli(), e.onset.Add(time.Minute).UnixMilli())
	return e.each(ctx, `SELECT time, service, kind, what, who, url FROM (
			SELECT time, toString(service) AS service, toString(kind) AS kind, what, who, url FROM change_event WHERE (service = '' OR service = @service) AND `+window+`
			UNION ALL
			SELECT time, '' AS service, 'key_policy' AS kind, concat('key of ', consumer, ' ', toString(action), if(plan != '', concat(', plan ', plan), '')) AS what, owner AS who, '' AS url
			FROM key_event WHERE action IN ('updated', 'revoked') AND `+window+`)
		ORDER BY time DESC, kind, what LIMIT 20`, func(rows driver.Rows) error {
		var c change.Event
		err := rows.Scan(&c.Time, &c.Service, &c.Kind, &c.What, &c.Who, &c.URL)
		c.Time = c.Time.UTC()
		e.ev.Changes = append(e.ev.Changes, c)
		return err
	})
}

// firstSeen finds versions, upstreams and nodes that came in the half hour
// before the onset or since, and marks their cells. Three narrow columns of the
// raw rows are read, for rollups do not say when in an hour.
func (e *evidenceReader) firstSeen(ctx context.Context) error {
	if e.ev.Before.Valid == 0 {
		return nil
	}
	from := e.onset.Add(-change.Before)
	isNew := map[suspect.Term]bool{}
	err := e.each(ctx, fmt.Sprintf(`SELECT dim.1, dim.2, min(ts) AS first FROM (SELECT ts, api_version, upstream, node FROM access_log WHERE %s AND ts >= fromUnixTimestamp64Milli(%d, 'UTC') AND ts < fromUnixTimestamp64Milli(@to, 'UTC'))
		ARRAY JOIN [('version', toString(api_version)), ('upstream', toString(upstream)), ('node', toString(node))] AS dim
		WHERE dim.2 != '' AND (if(dim.1 = 'version', 'api_version', dim.1), dim.2) NOT IN (SELECT toString(d.dimension), toString(d.value) FROM dimension_1h AS d
			WHERE d.service = @service AND d.time >= toDateTime(%[2]d / 1000, 'UTC') - INTERVAL 7 DAY AND d.time < toStartOfHour(toDateTime(%[2]d / 1000, 'UTC')))
		GROUP BY dim.1, dim.2 HAVING first >= fromUnixTimestamp64Milli(%[3]d, 'UTC') ORDER BY first LIMIT 20`, e.where, from.UnixMilli(), from.Add(settled).UnixMilli()), func(rows driver.Rows) error {
		var s evaluate.FirstSeen
		err := rows.Scan(&s.Dimension, &s.Value, &s.At)
		s.At = s.At.UTC()
		isNew[suspect.Term{Dimension: s.Dimension, Value: s.Value}] = true
		if s.Dimension == suspect.Version { // hosts come and go
			e.ev.FirstSeen = append(e.ev.FirstSeen, s)
		}
		return err
	})
	for i := range e.ev.Cells {
		c := &e.ev.Cells[i]
		c.New = slices.ContainsFunc(c.Where, func(t suspect.Term) bool { return isNew[t] })
	}
	return err
}

// layers sums the service's layers in the failure, as aggregate does it for
// minutes that are over, and takes those before from what aggregate computed, or
// likewise while it has not come to them.
func (e *evidenceReader) layers(ctx context.Context) error {
	ev, from := e.ev, e.onset.Add(-comparison)
	before, err := e.conn.Layers(ctx, from, e.onset, "layer_1m", []Condition{{Dimension: "service", Value: e.feed.Service}}, false)
	if err != nil {
		return err
	}
	for _, layers := range before {
		ev.LayersBefore = layers
	}
	if len(ev.LayersBefore) == 0 {
		if ev.LayersBefore, err = e.sumLayers(ctx, from, e.onset); err != nil || len(ev.LayersBefore) == 0 {
			return err
		}
	}
	ev.LayersNow, err = e.sumLayers(ctx, ev.From, ev.To)
	return err
}

// sumLayers sums the service's layers from its requests and spans.
func (e *evidenceReader) sumLayers(ctx context.Context, from, to time.Time) (map[string]layer.Figures, error) {
	sums := map[string]layer.Figures{}
	for _, text := range layerSelects() {
		err := e.conn.scan(ctx, `SELECT toString(layer), sum(requests), sum(measured), sum(traces), sum(errors), sum(time_us_sum), sumMap(time_hist) FROM (`+text+`) GROUP BY layer`, func(rows driver.Rows) error {
			var name string
			var f layer.Figures
			hist := map[uint16]int64{}
			if err := rows.Scan(&name, &f.Requests, &f.Measured, &f.Traces, &f.Errors, &f.TimeUS, &hist); err != nil {
				return err
			}
			f.Time = histogram.Histogram(hist)
			sums[name] = f
			return nil
		}, clickhouse.Named("service", e.feed.Service), clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix()), clickhouse.Named("now", to.UnixMilli()))
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// worth reads what workflows bring in by the hour, where a step of theirs is
// the failing service's.
func (e *evidenceReader) worth(ctx context.Context) error {
	byName := map[string]*evaluate.Worth{}
	err := e.each(ctx, "SELECT name, json FROM v_kpi_definition WHERE kind = 'workflow' ORDER BY name", func(rows driver.Rows) error {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return err
		}
		var d struct {
			Currency string
			Calls    []stepCall
		}
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return fmt.Errorf("definition of workflow %s: %w", name, err)
		}
		w := &evaluate.Worth{Workflow: name, Currency: d.Currency}
		ours := false
		for _, c := range d.Calls {
			ours = ours || c.Service == "" || c.Service == e.feed.Service
			w.Steps = append(w.Steps, evaluate.Operation(c))
		}
		if ours && d.Currency != "" {
			byName[name] = w
		}
		return nil
	})
	if err != nil || len(byName) == 0 {
		return err
	}
	runs, total := map[string]float64{}, map[string]float64{}
	err = e.each(ctx, `SELECT workflow, time, toFloat64(sum(amount)), toFloat64(sum(completed)) FROM v_workflow_1h
		WHERE time >= toStartOfHour(toDateTime(@onset, 'UTC')) - INTERVAL 28 DAY AND time < toStartOfHour(toDateTime(@onset, 'UTC')) GROUP BY workflow, time ORDER BY workflow, time`, func(rows driver.Rows) error {
		var name string
		var p baseline.Point
		var n float64
		if err := rows.Scan(&name, &p.Time, &p.Value, &n); err != nil {
			return err
		}
		runs[name], total[name] = runs[name]+n, total[name]+p.Value
		if w := byName[name]; w != nil {
			w.Hours = append(w.Hours, p)
		}
		return nil
	})
	for _, w := range byName {
		if len(w.Hours) > 0 {
			w.Each = total[w.Workflow] / max(1, runs[w.Workflow])
			w.Hours = baseline.Zeros(w.Hours, w.Hours[0].Time, e.onset.Truncate(time.Hour))
			e.ev.Worth = append(e.ev.Worth, *w)
		}
	}
	slices.SortFunc(e.ev.Worth, func(a, b evaluate.Worth) int { return strings.Compare(a.Workflow, b.Workflow) })
	return err
}

// owners says who answers for the consumers that may be suspects.
func (e *evidenceReader) owners(ctx context.Context) error {
	var consumers []string
	for _, c := range e.ev.Cells {
		if c.Where[0].Dimension == suspect.Consumer && len(c.Where) == 1 {
			consumers = append(consumers, c.Where[0].Value)
		}
	}
	if len(consumers) == 0 {
		return nil
	}
	var err error
	e.ev.ConsumerOwners, err = e.conn.ConsumerOwners(ctx, consumers)
	return err
}

// ConsumerOwners returns the owner of consumers as the catalogue of keys has it;
// those without one are left out.
func (c *Conn) ConsumerOwners(ctx context.Context, consumers []string) (map[string]string, error) {
	owners := map[string]string{}
	err := c.scanAll(ctx, "SELECT consumer, argMax(owner, valid_from) AS latest FROM key_span WHERE consumer IN (@consumers) AND owner != '' GROUP BY consumer", func(rows driver.Rows) error {
		var consumer, owner string
		err := rows.Scan(&consumer, &owner)
		owners[consumer] = owner
		return err
	}, clickhouse.Named("consumers", consumers))
	if err != nil {
		return nil, fmt.Errorf("read the owners of consumers: %w", err)
	}
	return owners, nil
}

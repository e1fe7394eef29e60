package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A TTL says how long a table keeps its rows; 0 is for ever.
type TTL struct {
	Table string
	Keep  time.Duration
	// Tenants and Classes are exceptions; a tenant's goes before a class's.
	Tenants, Classes []Exception
}

// An Exception keeps the rows of one tenant or class for another time; 0 is for ever.
type Exception struct {
	Value string
	Keep  time.Duration
}

// expression is what follows the word TTL, "" if all is kept for ever.
func (t TTL) expression() string {
	column := "time"
	switch t.Table {
	case "access_log", "span", "workflow_call":
		column = "toDateTime(ts)"
	case "workflow_run":
		column = "toDateTime(start)"
	case "dead_letter":
		column = "toDateTime(kafka_time)"
	case "change_event", "audit_event", "gateway_counter":
		column = "toDateTime(time)"
	}
	const never = "toDateTime(4294967295)" // the last moment that the type has
	end := func(keep time.Duration) string {
		if keep == 0 {
			return never
		}
		return fmt.Sprintf("%s + toIntervalSecond(%d)", column, int64(keep/time.Second))
	}
	var cases []string
	for _, e := range t.Tenants {
		cases = append(cases, "tenant = "+quoteString(e.Value), end(e.Keep))
	}
	for _, e := range t.Classes {
		cases = append(cases, "class = "+quoteString(e.Value), end(e.Keep))
	}
	switch {
	case len(cases) > 0:
		return "multiIf(" + strings.Join(append(cases, end(t.Keep)), ", ") + ")"
	case t.Keep == 0:
		return ""
	}
	return end(t.Keep)
}

// A Drift is a table whose retention on the server is not the configured one.
type Drift struct{ Table, Server, Want string }

func (d Drift) String() string {
	text := func(s string) string {
		if s == "" {
			return "for ever"
		}
		return s
	}
	return fmt.Sprintf("%s: the server has %s, the configuration wants %s", d.Table, text(d.Server), text(d.Want))
}

// ApplyRetention sets each table's TTL where it differs from what the server
// has, and reads it back: a difference that is left is an error. What it changes
// of an earlier retention it writes down as a change.
func (c *Conn) ApplyRetention(ctx context.Context, ttls []TTL) error {
	edits := map[string]string{}
	err := c.onNodes(func(n *Conn) error {
		before, err := n.drift(ctx, ttls)
		if err != nil {
			return err
		}
		for _, d := range before {
			if err := n.setTTL(ctx, d); err != nil {
				return fmt.Errorf("set the retention of %s: %w", d.Table, err)
			}
			if d.Server != "" {
				edits[d.Table] = fmt.Sprintf("retention of %s: %s instead of %s", d.Table, d.Want, d.Server)
			}
		}
		if err := n.dropParts(ctx, ttls); err != nil {
			return err
		}
		left, err := n.drift(ctx, ttls)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("the retention of %v", left[0])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range ttls {
		if what, ok := edits[t.Table]; ok {
			if err := c.Exec(ctx, "INSERT INTO change_event (time, kind, what, who) VALUES (now64(3), 'retention', ?, 'gatewatch')", what); err != nil {
				return fmt.Errorf("write down the changed retention: %w", err)
			}
		}
	}
	return nil
}

// RetentionDrift returns the tables whose retention on the server is not ttls.
func (c *Conn) RetentionDrift(ctx context.Context, ttls []TTL) (list []Drift, err error) {
	err = c.onNodes(func(n *Conn) error {
		d, err := n.drift(ctx, ttls)
		list = append(list, d...)
		return err
	})
	return list, err
}

func (c *Conn) drift(ctx context.Context, ttls []TTL) (list []Drift, err error) {
	for _, t := range ttls {
		d := Drift{Table: t.Table}
		var engine string
		err := c.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = ? AND name = ?", c.Database, t.Table).Scan(&engine)
		if err != nil {
			return nil, fmt.Errorf("read the retention of %s: %w", t.Table, err)
		}
		if _, ttl, ok := strings.Cut(engine, " TTL "); ok {
			d.Server, _, _ = strings.Cut(ttl, " SETTINGS ")
		}
		if e := t.expression(); e != "" {
			// As the server would write it.
			if err := c.QueryRow(ctx, "SELECT formatQuerySingleLine(@q)", clickhouse.Named("q", "SELECT "+e)).Scan(&d.Want); err != nil {
				return nil, fmt.Errorf("read the retention of %s: %w", t.Table, err)
			}
			d.Want = strings.TrimPrefix(d.Want, "SELECT ")
		}
		if d.Server != d.Want {
			list = append(list, d)
		}
	}
	return list, nil
}

func (c *Conn) setTTL(ctx context.Context, d Drift) error {
	if d.Want == "" {
		return c.Exec(ctx, "ALTER TABLE "+d.Table+" REMOVE TTL")
	}
	return c.Exec(ctx, "ALTER TABLE "+d.Table+" MODIFY TTL "+d.Want+" SETTINGS materialize_ttl_after_modify = 0")
}

// dropParts lets whole parts expire at once where all their rows are kept alike.
// Rows of tenants with retentions of their own are mixed in parts, and are
// removed one by one when parts merge.
func (c *Conn) dropParts(ctx context.Context, ttls []TTL) error {
	for _, t := range ttls {
		if t.expression() == "" {
			continue
		}
		want := "1"
		if len(t.Tenants) > 0 {
			want = "0"
		}
		var engine string
		if err := c.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = ? AND name = ?", c.Database, t.Table).Scan(&engine); err != nil {
			return fmt.Errorf("read the settings of %s: %w", t.Table, err)
		}
		if _, has, ok := strings.Cut(engine, "ttl_only_drop_parts = "); ok == (want == "0") && !strings.HasPrefix(has, want) || ok && !strings.HasPrefix(has, want) {
			if err := c.Exec(ctx, "ALTER TABLE "+t.Table+" MODIFY SETTING ttl_only_drop_parts = "+want); err != nil {
				return fmt.Errorf("set the retention of %s: %w", t.Table, err)
			}
		}
	}
	return nil
}

// A TableSize is what a table takes.
type TableSize struct {
	Table       string
	Rows, Bytes int64
	Oldest      time.Time // of its rows, about: of the oldest part
	// DayBytes are written a day, by the last complete days of event time that it holds.
	DayBytes int64
	// ExpiredBytes would go if a row were kept until Cut only.
	ExpiredBytes int64
}

// Sizes returns what each table takes, and for those in cuts what is older than that.
func (c *Conn) Sizes(ctx context.Context, cuts map[string]time.Time) (list []TableSize, err error) {
	sum := map[string]TableSize{}
	err = c.onNodes(func(n *Conn) error {
		rows, err := n.Query(ctx, `SELECT table, toInt64(rows), toInt64(bytes_on_disk),
				if(min_time > toDateTime(0), min_time, toDateTime(min_date)), if(max_time > toDateTime(0), max_time, toDateTime(max_date) + INTERVAL 1 DAY)
			FROM system.parts WHERE database = ? AND active ORDER BY table`, n.Database)
		if err != nil {
			return err
		}
		defer rows.Close()
		spans := map[string][2]time.Time{}
		for rows.Next() {
			var name string
			var r, b int64
			var first, last time.Time
			if err := rows.Scan(&name, &r, &b, &first, &last); err != nil {
				return err
			}
			t := sum[name]
			t.Table = name
			t.Rows += r
			t.Bytes += b
			if known := first.Unix() > 0; known {
				if t.Oldest.IsZero() || first.Before(t.Oldest) {
					t.Oldest = first.UTC()
				}
				s := spans[name]
				if s[0].IsZero() || first.Before(s[0]) {
					s[0] = first
				}
				if last.After(s[1]) {
					s[1] = last
				}
				spans[name] = s
				if cut, ok := cuts[name]; ok {
					t.ExpiredBytes += portion(b, first, last, cut)
				}
			}
			sum[name] = t
		}
		for name, s := range spans {
			t := sum[name]
			if days := s[1].Sub(s[0]).Hours() / 24; days > 0 {
				t.DayBytes = int64(float64(t.Bytes) / max(days, 1.0/24))
			}
			sum[name] = t
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read the sizes of tables: %w", err)
	}
	for _, t := range sum {
		list = append(list, t)
	}
	return list, nil
}

// portion is the bytes of a part before cut, its rows taken as spread evenly.
func portion(bytes int64, first, last, cut time.Time) int64 {
	switch {
	case !cut.After(first):
		return 0
	case !cut.Before(last):
		return bytes
	}
	return int64(float64(bytes) * float64(cut.Sub(first)) / float64(last.Sub(first)))
}

// A Disk is one of the servers'.
type Disk struct {
	Server, Name string
	Free, Total  int64
}

// Disks returns the servers' disks.
func (c *Conn) Disks(ctx context.Context) (list []Disk, err error) {
	err = c.onNodes(func(n *Conn) error {
		rows, err := n.Query(ctx, "SELECT hostName(), name, toInt64(least(free_space, 9000000000000000000)), toInt64(least(total_space, 9000000000000000000)) FROM system.disks ORDER BY name")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d Disk
			if err := rows.Scan(&d.Server, &d.Name, &d.Free, &d.Total); err != nil {
				return err
			}
			list = append(list, d)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("read the servers' disks: %w", err)
	}
	return list, nil
}

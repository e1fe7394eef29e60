package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
)

const (
	benchUser     = "bench"
	benchPassword = "bench"
	// benchUsers may make tables of the Kafka engine, which gatewatch's user may not.
	benchUsers = `<clickhouse><users><bench><password>` + benchPassword + `</password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota><grants><query>GRANT ALL ON *.*</query></grants></bench></users></clickhouse>`
)

//go:embed typed.sql
var typedSQL string

//go:embed raw.sql
var rawSQL string

// kafkaEngines are the two usual ways to read JSON with the Kafka engine.
var kafkaEngines = [...]struct{ name, sql string }{{"typed", typedSQL}, {"raw", rawSQL}}

// kafkaEngine lets ClickHouse read the JSON topic itself, into the same tables
// with the same rollups.
func (b *bench) kafkaEngine(ctx context.Context, f struct{ name, sql string }) (c cost, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	database := "gatewatch_engine_" + f.name
	conn, err := b.open(ctx, database)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, conn.Drop(ctx), conn.Close()) }()
	if err := b.quiet(ctx, conn); err != nil {
		return c, err
	}
	if err := execAll(ctx, conn, views(database, database)); err != nil {
		return c, err
	}
	b.runs++ // a group of its own reads from the beginning
	before, began := b.engineCPU(), time.Now()
	text := strings.NewReplacer("{{broker}}", b.broker, "{{topic}}", topicJSON, "{{group}}", fmt.Sprintf("%s-%d", database, b.runs)).Replace(f.sql)
	for statement := range strings.SplitSeq(text, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := conn.Exec(ctx, statement); err != nil {
			return c, err
		}
	}
	c.rows = b.rows[topicJSON]
	for n := uint64(0); n < uint64(c.rows); {
		select {
		case <-ctx.Done():
			return c, fmt.Errorf("%d of %d rows are stored: %w: %s", n, c.rows, context.Cause(ctx), complaint(conn))
		case <-time.After(poll):
		}
		if err := conn.QueryRow(ctx, "SELECT count() FROM access_log").Scan(&n); err != nil {
			return c, err
		}
	}
	c.seconds = time.Since(began).Seconds()
	if err := b.quiet(ctx, conn); err != nil {
		return c, err
	}
	c.engine = perRow(b.engineCPU()-before, c.rows)
	c.bytes = float64(b.bytes[topicJSON]) / float64(c.rows)
	return c, nil
}

// complaint returns what the Kafka engine says is wrong.
func complaint(conn *clickhouse.Conn) (text string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := conn.QueryRow(ctx, "SELECT arrayStringConcat(arrayFlatten(groupArray(exceptions.text)), ' ') FROM system.kafka_consumers").Scan(&text); err != nil {
		return err.Error()
	}
	return text
}

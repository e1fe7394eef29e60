package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// An Erasure is what the store knows about a consumer.
type Erasure struct {
	// Names are the consumer's, former ones included; Keys how many keys it has had.
	Names []string
	Keys  int
	// Rows by table.
	Rows []ErasedRows

	ids []string // hexadecimal
}

// ErasedRows is how many rows of a table are about the consumer.
type ErasedRows struct {
	Table string
	Rows  int64
}

// erased are the tables with rows about consumers. Where ingest verify counts
// rows they stay, without what they say about the consumer; others go.
var erased = [...]struct{ table, consumer, update string }{
	{"access_log", "consumer", "key_id = toFixedString('', 16), consumer = '', plan = '', client_ip = toIPv6('::'), user_agent = '', referer = '', path = '', query = '', request_id = ''"},
	{"key_event", "consumer", "consumer = '', former = '', plan = '', tier = '', owner = ''"},
	{"key_1m", "consumer", ""},
	{"key_1h", "consumer", ""},
	{"key_1d", "consumer", ""},
	{"usage_1d", "consumer", ""},
	{"call_split", "consumer", ""},
	{"workflow_call", "consumer", ""},
	{"workflow_run", "unit", ""},
}

// Erasure finds what the store knows about a consumer.
func (c *Conn) Erasure(ctx context.Context, consumer string) (*Erasure, error) {
	e := &Erasure{Names: []string{consumer}}
	err := c.QueryRow(ctx, `SELECT arrayConcat([@name], groupUniqArray(former)) FROM consumer_name WHERE name = @name`, clickhouse.Named("name", consumer)).Scan(&e.Names)
	if err != nil {
		return nil, fmt.Errorf("look for the names of %s: %w", consumer, err)
	}
	err = c.QueryRow(ctx, "SELECT groupUniqArray(lower(hex(key_id))) FROM key_span WHERE consumer IN (@names) AND key_id != toFixedString('', 16)", clickhouse.Named("names", e.Names)).Scan(&e.ids)
	if err != nil {
		return nil, fmt.Errorf("look for the keys of %s: %w", consumer, err)
	}
	e.Keys = len(e.ids)
	for _, t := range erased {
		r := ErasedRows{Table: t.table}
		if err := c.QueryRow(ctx, "SELECT toInt64(count()) FROM "+t.table+" WHERE "+e.where(t.table, t.consumer)).Scan(&r.Rows); err != nil {
			return nil, fmt.Errorf("count rows of %s: %w", t.table, err)
		}
		e.Rows = append(e.Rows, r)
	}
	return e, nil
}

// where is the condition of rows about the consumer.
func (e *Erasure) where(table, column string) string {
	literals := func(list []string, each func(string) string) string {
		out := make([]string, len(list))
		for i, s := range list {
			out[i] = each(s)
		}
		return strings.Join(out, ", ")
	}
	where := column + " IN (" + literals(e.Names, quoteString) + ")"
	if table == "key_event" {
		where += " OR former IN (" + literals(e.Names, quoteString) + ")"
	}
	switch {
	case len(e.ids) == 0:
	case table == "workflow_run":
		where += " OR unit IN (" + literals(e.ids, quoteString) + ")"
	default:
		where += " OR key_id IN (" + literals(e.ids, func(s string) string { return "CAST(unhex(" + quoteString(s) + ") AS FixedString(16))" }) + ")"
	}
	return where
}

// Erase removes it, and returns when that is done on all servers.
func (c *Conn) Erase(ctx context.Context, e *Erasure) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"mutations_sync": 1}))
	return c.onNodes(func(n *Conn) error {
		for _, t := range erased {
			change := "DELETE"
			if t.update != "" {
				change = "UPDATE " + t.update
			}
			if err := n.Exec(ctx, "ALTER TABLE "+t.table+" "+change+" WHERE "+e.where(t.table, t.consumer)); err != nil {
				return fmt.Errorf("erase from %s: %w", t.table, err)
			}
		}
		return nil
	})
}

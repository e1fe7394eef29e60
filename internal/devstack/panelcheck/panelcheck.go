// Package panelcheck runs the queries of a Grafana dashboard the way the
// ClickHouse data source does: it resolves variables and macros, executes the
// SQL, and turns the rows into the data frame that a panel would be given.
// Macro parsing, scanning and long-to-wide conversion are Grafana's own code
// (grafana-plugin-sdk-go); only the ClickHouse macro bodies are written here.
package panelcheck

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/data/sqlutil"

	store "gatewatch/internal/clickhouse"
)

// Target is one entry of a panel's "targets".
type Target struct {
	RefID  string `json:"refId"`
	RawSQL string `json:"rawSql"`
	Format int    `json:"format"` // 0 time series, 1 table, 2 logs, 3 trace
}

// Vars holds the selected values of each template variable; nil or empty is All.
type Vars map[string][]string

// Open returns connections to a database as the data source makes them.
func Open(c store.Config) (*sql.DB, error) {
	var password string
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	return clickhouse.OpenDB(&clickhouse.Options{
		Addr: []string{c.Address}, Auth: clickhouse.Auth{Database: c.Database, Username: c.Username, Password: password},
	}), nil
}

// Run returns the SQL that reached the database and the frame of a target.
func Run(ctx context.Context, db *sql.DB, t Target, v Vars, tr backend.TimeRange, interval time.Duration) (string, *data.Frame, error) {
	q := &sqlutil.Query{RawSQL: v.resolve(t.RawSQL), RefID: t.RefID, TimeRange: tr, Interval: interval}
	expanded, err := sqlutil.Interpolate(q, macros)
	if err != nil {
		return q.RawSQL, nil, err
	}
	if i := strings.Index(expanded, "$__"); i >= 0 {
		return expanded, nil, fmt.Errorf("macro left unexpanded at %q", expanded[i:min(i+40, len(expanded))])
	}
	rows, err := db.QueryContext(ctx, expanded)
	if err != nil {
		return expanded, nil, err
	}
	defer rows.Close()
	f, err := sqlutil.FrameFromRows(rows, -1, converters...)
	if err != nil {
		return expanded, nil, err
	}
	f.Name = t.RefID
	if t.Format == 0 && f.Rows() > 0 && f.TimeSeriesSchema().Type == data.TimeSeriesTypeLong {
		f, err = data.LongToWide(f, &data.FillMissing{Mode: data.FillModeNull})
	}
	return expanded, f, err
}

// resolve does what the browser side of Grafana and of the plugin do before a
// query is sent: conditions on variables first, then the variables.
func (v Vars) resolve(s string) string {
	s = v.conditions(s)
	for name, vals := range v {
		list := quoted(vals)
		raw := strings.Join(vals, ",")
		if len(vals) > 1 {
			raw = list
		}
		s = strings.NewReplacer("${"+name+":queryparam}", QueryParam(name, vals), "${"+name+":singlequote}", list, "${"+name+"}", raw).Replace(s)
		s = regexp.MustCompile(`\$`+name+`\b`).ReplaceAllLiteralString(s, raw)
	}
	return s
}

// conditions expands $__conditionalAll(condition, $variable), the last one first.
func (v Vars) conditions(s string) string {
	const macro = "$__conditionalAll("
	for {
		start := strings.LastIndex(s, macro)
		if start < 0 {
			return s
		}
		body := start + len(macro)
		depth, comma, end := 1, -1, body
		for ; end < len(s) && depth > 0; end++ {
			switch s[end] {
			case '(':
				depth++
			case ')':
				depth--
			case ',':
				if depth == 1 {
					comma = end
				}
			}
		}
		if depth > 0 || comma < 0 {
			return s // what is left over is reported by Run
		}
		cond, name := s[body:comma], strings.Trim(strings.TrimSpace(s[comma+1:end-1]), "${}")
		if len(v[name]) == 0 {
			cond = "1=1"
		}
		s = s[:start] + cond + s[end:]
	}
}

// quoted is Grafana's format singlequote, which leaves backslashes as they are.
func quoted(vals []string) string {
	list := make([]string, len(vals))
	for i, x := range vals {
		list[i] = "'" + strings.ReplaceAll(x, "'", `\'`) + "'"
	}
	return strings.Join(list, ",")
}

// QueryParam is Grafana's format queryparam; no values are All.
func QueryParam(name string, vals []string) string {
	if len(vals) == 0 {
		return "var-" + name + "=$__all"
	}
	list := make([]string, len(vals))
	for i, x := range vals {
		list[i] = "var-" + name + "=" + strings.ReplaceAll(url.QueryEscape(x), "+", "%20")
	}
	return strings.Join(list, "&")
}

func sec(t time.Time) string  { return fmt.Sprintf("toDateTime(%d)", t.Unix()) }
func msec(t time.Time) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d)", t.UnixMilli()) }
func day(t time.Time) string  { return fmt.Sprintf("toDate('%s')", t.Format(time.DateOnly)) }

func between(col string, f func(time.Time) string, tr backend.TimeRange) string {
	return fmt.Sprintf("%[1]s >= %[2]s AND %[1]s <= %[3]s", col, f(tr.From), f(tr.To))
}

// fn declares a macro of exactly n arguments (-1: any number).
func fn(n int, body func(q *sqlutil.Query, a []string) string) sqlutil.MacroFunc {
	return func(q *sqlutil.Query, a []string) (string, error) {
		if n >= 0 && len(a) != n {
			return "", fmt.Errorf("%w: want %d, got %d", sqlutil.ErrorBadArgumentCount, n, len(a))
		}
		return body(q, a), nil
	}
}

func dateTime(q *sqlutil.Query, a []string) string {
	return "(" + between(a[0], day, q.TimeRange) + ") AND (" + between(a[1], sec, q.TimeRange) + ")"
}

var macros = sqlutil.Macros{
	"fromTime":       fn(-1, func(q *sqlutil.Query, _ []string) string { return sec(q.TimeRange.From) }),
	"toTime":         fn(-1, func(q *sqlutil.Query, _ []string) string { return sec(q.TimeRange.To) }),
	"fromTime_ms":    fn(-1, func(q *sqlutil.Query, _ []string) string { return msec(q.TimeRange.From) }),
	"toTime_ms":      fn(-1, func(q *sqlutil.Query, _ []string) string { return msec(q.TimeRange.To) }),
	"timeFilter":     fn(1, func(q *sqlutil.Query, a []string) string { return between(a[0], sec, q.TimeRange) }),
	"timeFilter_ms":  fn(1, func(q *sqlutil.Query, a []string) string { return between(a[0], msec, q.TimeRange) }),
	"dateFilter":     fn(1, func(q *sqlutil.Query, a []string) string { return between(a[0], day, q.TimeRange) }),
	"dateTimeFilter": fn(2, dateTime),
	"dt":             fn(2, dateTime),
	"interval_s":     fn(-1, func(q *sqlutil.Query, _ []string) string { return fmt.Sprint(int(max(q.Interval.Seconds(), 1))) }),
	"timeInterval": fn(1, func(q *sqlutil.Query, a []string) string {
		return fmt.Sprintf("toStartOfInterval(toDateTime(%s), INTERVAL %d second)", a[0], int(max(q.Interval.Seconds(), 1)))
	}),
	"timeInterval_ms": fn(1, func(q *sqlutil.Query, a []string) string {
		return fmt.Sprintf("toStartOfInterval(toDateTime64(%s, 3), INTERVAL %d millisecond)", a[0], max(q.Interval.Milliseconds(), 1))
	}),
}

// converters cover the types that database/sql scanning does not know.
var converters = []sqlutil.Converter{
	conv(`^(Map|Array|Tuple|Nested|JSON)`, data.FieldTypeJSON, func(v any) (any, error) { b, err := json.Marshal(v); return json.RawMessage(b), err }),
	conv(`^(Enum|IPv)`, data.FieldTypeString, func(v any) (any, error) { return fmt.Sprint(v), nil }),
	nullable[float64](`Float64`, data.FieldTypeNullableFloat64),
	nullable[float32](`Float32`, data.FieldTypeNullableFloat32),
	nullable[int64](`Int64`, data.FieldTypeNullableInt64),
	nullable[int32](`Int32`, data.FieldTypeNullableInt32),
	nullable[uint64](`UInt64`, data.FieldTypeNullableUint64),
	nullable[uint32](`UInt32`, data.FieldTypeNullableUint32),
	nullable[uint16](`UInt16`, data.FieldTypeNullableUint16),
	nullable[string](`String`, data.FieldTypeNullableString),
	nullable[time.Time](`Date.*`, data.FieldTypeNullableTime),
	conv(`^UUID`, data.FieldTypeNullableString, func(v any) (any, error) { s := fmt.Sprint(v); return &s, nil }),
	conv(`^Decimal`, data.FieldTypeFloat64, func(v any) (any, error) {
		var f float64
		_, err := fmt.Sscan(fmt.Sprint(v), &f)
		return f, err
	}),
}

func conv(typ string, ft data.FieldType, f func(any) (any, error)) sqlutil.Converter {
	return sqlutil.Converter{
		Name: typ, InputTypeRegex: regexp.MustCompile(typ), InputScanType: reflect.TypeFor[any](),
		FrameConverter: sqlutil.FrameConverter{FieldType: ft, ConverterFunc: func(in any) (any, error) { return f(*in.(*any)) }},
	}
}

func nullable[T any](inner string, ft data.FieldType) sqlutil.Converter {
	typ := `^(LowCardinality\()?Nullable\(` + inner + `\)`
	return sqlutil.Converter{
		Name: typ, InputTypeRegex: regexp.MustCompile(typ), InputScanType: reflect.TypeFor[**T](),
		FrameConverter: sqlutil.FrameConverter{FieldType: ft, ConverterFunc: func(in any) (any, error) { return *in.(**T), nil }},
	}
}

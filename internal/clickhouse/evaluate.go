package clickhouse

import (
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/slo"
)

// anyOf returns the condition that an error class is one of a list.
func anyOf(classes []accesslog.ErrorClass) string {
	names := make([]string, 0, len(classes))
	for _, c := range classes {
		names = append(names, "'"+c.String()+"'")
	}
	if len(names) == 0 {
		return "0"
	}
	return "error_class IN (" + strings.Join(names, ", ") + ")"
}

// countable returns the expressions for the valid and the bad requests of a
// rollup's row.
func countable(s slo.SLI) (valid, bad string) {
	failed, excluded := anyOf(s.BadClasses()), anyOf(s.ExcludedClasses())
	if s.Kind == slo.Latency {
		bucket, _ := s.Bucket()
		answered := fmt.Sprintf("NOT (%s) AND NOT (%s)", failed, excluded)
		fast := fmt.Sprintf("arraySum(mapValues(mapFilter((k, v) -> k <= %d, latency_hist)))", bucket)
		return fmt.Sprintf("if(%s, timed, 0)", answered), fmt.Sprintf("if(%s, timed - %s, 0)", answered, fast)
	}
	return fmt.Sprintf("if(%s, 0, requests)", excluded), fmt.Sprintf("if(%s AND NOT (%s), requests, 0)", failed, excluded)
}

// countableRaw returns the conditions for a valid and for a bad raw row.
func countableRaw(s slo.SLI) (valid, bad string) {
	failed, excluded := anyOf(s.BadClasses()), anyOf(s.ExcludedClasses())
	if s.Kind == slo.Latency {
		_, edge := s.Bucket()
		valid = fmt.Sprintf("latency_us IS NOT NULL AND NOT (%s) AND NOT (%s)", failed, excluded)
		return valid, fmt.Sprintf("%s AND latency_us > %d", valid, edge.Microseconds())
	}
	return fmt.Sprintf("NOT (%s)", excluded), fmt.Sprintf("%s AND NOT (%s)", failed, excluded)
}

// narrow returns the condition for the requests of a feed, or of one group of
// it, and its arguments.
func narrow(f slo.Feed, group string) (string, []any) {
	where, args := "service = @service", []any{clickhouse.Named("service", f.Service)}
	by := []struct{ column, value string }{
		{"route", f.SLI.Route}, {"method", f.SLI.Method}, {"environment", f.SLI.Environment}, {"tenant", f.SLI.Tenant},
	}
	switch {
	case group == "" || group == slo.Other:
	case f.Group == slo.ByRoute:
		by[1].value, by[0].value, _ = strings.Cut(group, " ")
	default:
		by = append(by, struct{ column, value string }{string(f.Group), group})
	}
	for _, by := range by {
		if by.value != "" {
			where += fmt.Sprintf(" AND %s = @%s", by.column, by.column)
			args = append(args, clickhouse.Named(by.column, by.value))
		}
	}
	return where, args
}

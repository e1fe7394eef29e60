package main

import (
	"fmt"
	"strings"
)

// levels are the expressions that queries over time share. The level is the
// length of the rollup's windows in seconds: what the range is long enough for,
// and what is still kept of its beginning. A step holds whole windows; the first
// and the last step lie whole in the range, and no step is later than what is complete.
const levels = `WITH toUInt32($__toTime) - toUInt32($__fromTime) AS span,
  multiIf(span <= 10800 AND $__fromTime >= now() - INTERVAL 3 DAY, 10, span <= 172800 AND $__fromTime >= now() - INTERVAL 14 DAY, 60, 3600) AS level,
  ` + steps

// minutes are levels of tables that have minutes only, hours and days of those that have those.
const (
	minutes = "WITH 60 AS level,\n  " + steps
	hours   = "WITH 3600 AS level,\n  " + steps
	days    = "WITH 86400 AS level,\n  " + steps
	steps   = `toUInt32(intDiv($__interval_s + level - 1, level) * level) AS step,
  (SELECT toUInt32(complete_until) FROM v_complete) AS complete,
  toUInt32(intDiv(toUInt32($__fromTime) + step - 1, step) * step) AS first,
  toUInt32(intDiv(least(complete, toUInt32($__toTime)), step) * step) AS last
`
)

// bucketOf is the step that a row of a rollup falls into.
func bucketOf(row string) string { return "toUInt32(intDiv(toUInt32(" + row + ".time), step) * step)" }

// within is the condition for rows of a rollup in the range.
func within(row string) string {
	return row + ".time >= toDateTime(first) AND " + row + ".time < toDateTime(last)"
}

// whole is within for figures over the whole range, in which windows that began
// before it count too.
func whole(row string) string {
	return row + ".time >= toDateTime(intDiv(toUInt32($__fromTime), level) * level) AND " + row + ".time < toDateTime(intDiv(least(complete, toUInt32($__toTime)), level) * level)"
}

// in is the condition that a column is one of a variable's values. Grafana's
// format singlequote leaves backslashes as they are, so a value could end the
// text; the format for addresses can't hold anything that SQL knows.
func in(column, variable string) string {
	return fmt.Sprintf("$__conditionalAll(%s IN (SELECT arrayJoin(arrayMap(x -> decodeURLComponent(x), extractAll('${%s:queryparam}', '=([^&]*)')))), $%[2]s)", column, variable)
}

// one is the value of a variable that has exactly one, as text.
func one(variable string) string {
	return fmt.Sprintf("decodeURLComponent(extract('${%s:queryparam}', '=([^&]*)'))", variable)
}

// filters joins the conditions of variables whose columns have their names.
func filters(row string, variables ...string) string {
	var b strings.Builder
	for _, v := range variables {
		b.WriteString("\n  AND " + in(row+"."+columnOf(v), v))
	}
	return b.String()
}

// columnOf is the column that a variable is for.
func columnOf(variable string) string {
	switch variable {
	case "version":
		return "api_version"
	case "key":
		return "key_id"
	}
	return variable
}

// requests are the rows of requests in the range, under the variables' conditions.
func requests(span func(string) string, variables ...string) string {
	return "FROM v_request AS r\nWHERE r.grain = level AND " + span("r") + filters("r", variables...)
}

// shown is how many series a panel draws at most.
const shown = 12

// counted draws a count by time, one series a value of label, with 0 where there
// was nothing, divided by per.
func counted(with, label, value, from, per string) string {
	return fmt.Sprintf(`%sSELECT toDateTime(bucket) AS time, series, counts[bucket] / %s AS value
FROM (
  SELECT %s AS series, sumMap(map(%s, toInt64(%s))) AS counts, sum(%[5]s) AS total
  %s
  GROUP BY series HAVING total > 0 ORDER BY total DESC, series LIMIT %d
) ARRAY JOIN range(first, last, step) AS bucket
ORDER BY time, series`, with, per, label, bucketOf("r"), value, indent(from), shown)
}

// ratio draws a share by time, of all rows or by label (” is none); nothing where
// there was nothing.
func ratio(with, label, part, of, from string) string {
	series, group := "", ""
	if label != "" {
		series, group = label+" AS series, ", ", series"
	}
	return fmt.Sprintf(`%sSELECT toDateTime(bucket) AS time, %sif(n = 0, NULL, bad / n) AS value
FROM (
  SELECT %s AS bucket, %ssum(%s) AS n, sum(%s) AS bad
  %s
  GROUP BY bucket%s
)
ORDER BY time%s`, with, strings.ReplaceAll(series, label+" AS ", ""), bucketOf("r"), series, of, part, indent(from), group, group)
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n  ") }

// quantile is the value in seconds that a share q of a histogram's values is at
// most; nothing where less than one value is expected above it.
func quantile(hist string, q float64) string {
	return fmt.Sprintf("if(arraySum(mapValues(%[1]s)) * (1 - %[2]v) < 0.999999, NULL, exp2((mapKeys(%[1]s)[arrayFirstIndex(c -> c >= greatest(1, ceil(%[2]v * arraySum(mapValues(%[1]s)))), arrayCumSum(mapValues(%[1]s)))] + 0.5) / 64) / 1000000)", hist, q)
}

// latency draws quantiles by time, and how many requests they rest on.
func latency(with, hist, from string) string {
	return fmt.Sprintf(`%sSELECT toDateTime(bucket) AS time, %s AS p50, %s AS p95, %s AS p99, arraySum(mapValues(h)) AS n
FROM (
  SELECT %s AS bucket, sumMap(%s) AS h
  %s
  GROUP BY bucket
)
ORDER BY time`, with, quantile("h", 0.5), quantile("h", 0.95), quantile("h", 0.99), bucketOf("r"), hist, indent(from))
}

// quantileBy draws one quantile by time and label.
func quantileBy(with, label string, q float64, hist, from string) string {
	return fmt.Sprintf(`%sSELECT toDateTime(bucket) AS time, series, %s AS value
FROM (
  SELECT %s AS bucket, %s AS series, sumMap(%s) AS h
  %s
  GROUP BY bucket, series
)
WHERE series IN (SELECT series FROM (SELECT %[4]s AS series, sum(r.requests) AS total %[6]s GROUP BY series ORDER BY total DESC LIMIT %[7]d))
ORDER BY time, series`, with, quantile("h", q), bucketOf("r"), label, hist, indent(from), shown)
}

// heat draws how many requests took how long, in powers of two.
func heat(with, hist, from string) string {
	names := []string{"1 ms", "2 ms", "4 ms", "8 ms", "16 ms", "33 ms", "66 ms", "131 ms", "262 ms", "524 ms", "1.0 s", "2.1 s", "4.2 s", "8.4 s", "17 s"}
	var columns []string
	for i, name := range names {
		low, high := (9+i)*64, (10+i)*64
		if i == 0 {
			low = 0
		}
		if i == len(names)-1 {
			high = 65535
		}
		columns = append(columns, fmt.Sprintf("arraySum(mapValues(mapFilter((k, v) -> k >= %d AND k < %d, h))) AS \"%s\"", low, high, name))
	}
	return fmt.Sprintf("%sSELECT toDateTime(bucket) AS time,\n  %s\nFROM (\n  SELECT %s AS bucket, sumMap(%s) AS h\n  %s\n  GROUP BY bucket\n)\nORDER BY time",
		with, strings.Join(columns, ",\n  "), bucketOf("r"), hist, indent(from))
}

// Conditions on error classes, by who failed.
const (
	isError  = "r.error_class != 'none'"
	isServer = "(startsWith(toString(r.error_class), 'upstream_') OR startsWith(toString(r.error_class), 'gateway_') OR r.error_class = 'breaker_open')"
)

// named is a column whose empty value has a name.
func named(column string) string { return "if(" + column + " = '', 'none', " + column + ")" }

// requestsIf is a count of requests under a condition.
func requestsIf(condition string) string { return "if(" + condition + ", r.requests, 0)" }

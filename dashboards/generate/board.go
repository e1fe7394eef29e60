package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

type variantsQuery = variants.Dataquery

// A board is a dashboard that answers one question.
type board struct {
	uid      string
	title    string
	question string
	from     string   // beginning of its range: now-6h for operations, now-30d for the product
	vars     []string // of variables, in the order in which they are shown
	one      string   // variable of which exactly one value is chosen
	notes    bool     // draws pages, releases, breakers and maintenance over curves
	prom     bool     // has panels of Prometheus
	rows     []row
}

// A row is a headed group of panels; one without a title is the board's head.
type row struct {
	title  string
	closed bool
	panels []panel
}

// A link leads to another board at the same range, under the same variables.
type link struct{ title, url string }

// The boards by what they are for.
const (
	toOverview  = "gw-overview"
	toService   = "gw-service"
	toIncident  = "gw-incident"
	toBudgets   = "gw-slo"
	toConsumers = "gw-consumers"
	toConsumer  = "gw-consumer"
	toProduct   = "gw-product"
	toInventory = "gw-inventory"
	toSecurity  = "gw-security"
	toOnCall    = "gw-oncall"
	toPipeline  = "gw-pipeline"
	toRequests  = "gw-requests"
)

// everywhere are the variables that every board hands on.
var everywhere = []string{"tenant", "environment"}

// goTo returns a link to a board that keeps the range and the variables kept,
// and sets others: pairs of a variable and the field or label whose value it gets.
func goTo(title, uid string, kept []string, pairs ...string) link {
	url := "/d/" + uid + "?${__url_time_range}"
	for _, v := range append(append([]string{}, everywhere...), kept...) {
		url += "&${" + v + ":queryparam}"
	}
	for i := 0; i < len(pairs); i += 2 {
		url += "&var-" + pairs[i] + "=${" + pairs[i+1] + ":percentencode}"
	}
	return link{title, url}
}

// field and label name what a link takes from the row or the series that was clicked.
func field(name string) string { return "__data.fields." + name }

const label = "__field.labels.series"

// variables are what boards can be narrowed down by: how each is called and where
// its values come from.
var variables = map[string]struct{ label, sql string }{
	"tenant":      {"Tenant", recent("tenant", "v_request", "r.grain = 3600")},
	"environment": {"Environment", recent("environment", "v_request", "r.grain = 3600"+filters("r", "tenant"))},
	"service":     {"Service", recent("service", "v_request", "r.grain = 3600"+filters("r", "tenant", "environment"))},
	"route":       {"Route", recent("route", "v_request", "r.grain = 3600"+filters("r", "tenant", "environment", "service"))},
	"consumer":    {"Consumer", "SELECT consumer FROM (\n  SELECT s.consumer AS consumer, 0 AS calls FROM v_key_span AS s WHERE s.consumer != ''" + filters("s", "tenant") + "\n  UNION ALL SELECT k.consumer AS consumer, sum(k.requests) AS calls FROM v_key_1h AS k WHERE k.consumer != '' AND k.time >= toStartOfHour($__fromTime) AND k.time <= $__toTime" + filters("k", "tenant") + " GROUP BY consumer\n) GROUP BY consumer ORDER BY sum(calls) DESC, consumer LIMIT 5000"},
	"plan":        {"Plan", "SELECT plan FROM (SELECT s.plan AS plan FROM v_key_span AS s WHERE s.plan != ''" + filters("s", "tenant") + " UNION DISTINCT SELECT k.plan AS plan FROM v_key_1h AS k WHERE k.plan != '' AND k.time >= toStartOfHour($__fromTime) AND k.time <= $__toTime" + filters("k", "tenant") + ") ORDER BY plan LIMIT 500"},
	"region":      {"Region", recent("region", "v_edge_1m", "r.region != ''"+filters("r", "tenant", "environment", "service"))},
	"version":     {"Version", "SELECT DISTINCT r.value FROM v_dimension_1h AS r WHERE r.dimension = 'api_version' AND r.value != '' AND r.time >= toStartOfHour($__fromTime) - INTERVAL 1 HOUR AND r.time <= $__toTime" + filters("r", "tenant", "environment", "service") + " ORDER BY r.value LIMIT 500"},
	"key":         {"Key", "SELECT DISTINCT r.key_id FROM v_key_1h AS r WHERE r.time >= toStartOfHour($__fromTime) AND r.time <= $__toTime AND r.key_id NOT IN ('', repeat('0', 32))" + filters("r", "tenant", "environment") + " ORDER BY r.key_id LIMIT 5000"},
	"error_class": {"Error class", "SELECT DISTINCT toString(r.error_class) FROM v_request AS r WHERE r.grain = 3600 AND r.time >= toStartOfHour($__fromTime) AND r.time <= $__toTime AND r.error_class != 'none'" + filters("r", "tenant", "environment", "service") + " ORDER BY 1 LIMIT 50"},
	"alert":       {"Incident", "SELECT alert_id, concat(formatDateTime(raised, '%m-%d %H:%i'), ' ', severity, ' ', slo, if(group_value = '', '', concat(' ', group_value))) FROM v_incident ORDER BY ended IS NULL DESC, severity, kind IN ('slo_burn', 'latency_burn') DESC, raised DESC LIMIT 500"},
	"slo":         {"Objective", "SELECT slo FROM v_slo ORDER BY slo LIMIT 2000"},
	"workflow":    {"Workflow", "SELECT name FROM v_kpi_definition WHERE kind = 'workflow' ORDER BY name LIMIT 200"},
}

func recent(column, view, where string) string {
	return fmt.Sprintf("SELECT DISTINCT r.%s FROM %s AS r WHERE r.time >= toStartOfHour($__fromTime) AND r.time <= $__toTime AND %s ORDER BY r.%[1]s LIMIT 5000", column, view, where)
}

// build makes the library's dashboard.
func (b *board) build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder(b.title+": "+b.question).Uid(b.uid).Description(b.question).Tags([]string{"gatewatch"}).Readonly().
		Timezone("browser").Refresh("1m").Time(b.from, "now").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("gatewatch").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"gatewatch"}).AsDropdown(true).IncludeVars(true).KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type(clickhousePlugin))
	if b.prom {
		d = d.WithVariable(dashboard.NewDatasourceVariableBuilder("prometheus").Label("Prometheus").Type(prometheusPlugin))
	}
	for _, name := range b.vars {
		if name == "trace" {
			d = d.WithVariable(dashboard.NewTextBoxVariableBuilder(name).Label("Trace id"))
			continue
		}
		d = d.WithVariable(variable(name, name == b.one))
	}
	if b.notes {
		for _, a := range annotations() {
			d = d.Annotation(a)
		}
	}
	for _, r := range b.rows {
		if r.closed {
			closed := dashboard.NewRowBuilder(r.title).Id(r.panels[0].id + 1000)
			for i := range r.panels {
				closed = closed.WithPanel(r.panels[i].build())
			}
			d = d.WithRow(closed)
			continue
		}
		if r.title != "" {
			d = d.WithRow(dashboard.NewRowBuilder(r.title).Id(r.panels[0].id + 1000))
		}
		for i := range r.panels {
			d = d.WithPanel(r.panels[i].build())
		}
	}
	return d.Build()
}

func variable(name string, one bool) cog.Builder[dashboard.VariableModel] {
	v, ok := variables[name]
	if !ok {
		panic("no variable " + name)
	}
	q := dashboard.NewQueryVariableBuilder(name).Label(v.label).Datasource(clickhouseRef()).Query(variableSQL(v.sql)).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortDisabled)
	if one {
		return q
	}
	all := dashboard.VariableOption{Text: dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}}, Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}}
	return q.Multi(true).IncludeAll(true).Current(all)
}

// annotations are what may have caused what the curves show.
func annotations() []cog.Builder[dashboard.AnnotationQuery] {
	note := func(name, colour, sql string) cog.Builder[dashboard.AnnotationQuery] {
		return dashboard.NewAnnotationQueryBuilder().Name(name).Datasource(clickhouseRef()).Enable(true).IconColor(colour).Target(sqlQuery("annotation", asTable, sql))
	}
	const overlaps = " < $__toTime AND (ended IS NULL OR ended > $__fromTime)"
	return []cog.Builder[dashboard.AnnotationQuery]{
		note("Pages", vermilion, "SELECT onset AS time, ifNull(ended, now64(3, 'UTC')) AS timeEnd, concat(slo, if(group_value = '', '', concat(' ', group_value))) AS title, summary AS text, concat(service, ',', severity) AS tags FROM v_incident WHERE severity = 'page' AND onset"+overlaps+" ORDER BY time LIMIT 200"),
		note("Circuit breakers", yellow, "SELECT onset AS time, ifNull(ended, now64(3, 'UTC')) AS timeEnd, concat('breaker open: ', service, ' ', group_value) AS title, summary AS text, service AS tags FROM v_incident WHERE kind = 'breaker_open' AND onset"+overlaps+" ORDER BY time LIMIT 200"),
		note("Releases and changes", blue, "SELECT time, kind AS title, concat(what, if(who = '', '', concat(' by ', who))) AS text, concat(service, ',', kind) AS tags FROM v_change WHERE kind NOT IN ('first_seen', 'key_policy') AND $__timeFilter(time) ORDER BY time LIMIT 500"),
		note("Maintenance", grey, "SELECT time, until AS timeEnd, name AS title, concat(reason, ' ', of) AS text, 'maintenance' AS tags FROM v_maintenance WHERE time < $__toTime AND until > $__fromTime ORDER BY time LIMIT 200"),
	}
}

// completeUntil is on each board: up to when its figures hold.
func completeUntil(id uint32, w uint32) panel {
	return panel{
		id: id, kind: aStat, title: "Complete until", w: w, needs: "completeness", letters: 20,
		about: "Everything that reached Kafka before this moment is in these figures; curves end there. Computed by gatewatch-aggregate from Kafka's end offsets and the ledger. Worry when it is minutes old: see the board of the pipeline.",
		sql:   "SELECT toUnixTimestamp64Milli(c.complete_until) AS complete_until, dateDiff('second', c.complete_until, now64(3)) AS age, if(c.caught_up, 'yes', 'catching up') AS caught_up FROM v_complete AS c WHERE c.measured",
		columns: []column{
			{name: "complete_until", unit: "dateTimeAsIso", title: "until", colour: blue},
			{name: "age", unit: "s", title: "old", warn: 120, page: 600},
		},
	}
}

// sortColumns orders columns by name, so that the same bytes come out each time.
func sortColumns(list []column) {
	slices.SortFunc(list, func(a, b column) int { return strings.Compare(a.name, b.name) })
}

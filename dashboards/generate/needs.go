package main

// nextSteps are what v_setup says to do for each capability; a test of the
// product's module holds the dashboards' texts against that view.
var nextSteps = map[string]string{
	"requests":         "list a topic of access logs under kafka.topics: gatewatch-ingest probe proposes the lines",
	"spans":            "list a topic of spans under kafka.topics (otlp_proto, otlp_json, Jaeger, Zipkin)",
	"sign-ups":         "list a topic of format key_events, or run gatewatch-ingest import consumers FILE",
	"changes":          "list a topic of format change_events, or run gatewatch-ingest import changes FILE",
	"audit":            "list a topic of format audit_kong, audit_tyk or audit_cloudevents",
	"completeness":     "run gatewatch-aggregate",
	"explanations":     "run gatewatch-aggregate; an hour appears when it is over",
	"gateway counters": "name the gateways under aggregate.gateways",
	"objectives":       "write objectives into the folder alert.slos and run gatewatch-alert",
	"maintenance":      "write kind: Maintenance into the folder alert.slos",
	"alerts":           "run gatewatch-alert; without an incident there is nothing to show",
	"notes":            "gatewatch-alert incidents note ID --useful yes",
	"workflows":        "declare workflows in the folder aggregate.kpi",
	"quotas":           "declare plans with quotas in the folder aggregate.kpi",
	"deprecations":     "declare deprecations in the folder aggregate.kpi",
	"routes":           "put OpenAPI documents into the folder alert.catalog",
	"unreadable":       "nothing to do: there are none while this is empty",
	"metrics":          "let Prometheus read /metrics of the three binaries: deploy/prometheus",
}

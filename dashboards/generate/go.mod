// The generator of Grafana's dashboards, apart from the product's module: its
// library is not needed to build, test or run gatewatch.
module gatewatch/dashboards/generate

go 1.26.0

require github.com/grafana/grafana-foundation-sdk/go v0.0.18

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The plugins that answer queries.
const (
	clickhousePlugin = "grafana-clickhouse-datasource"
	prometheusPlugin = "prometheus"
)

// Result formats of the ClickHouse data source: a number, never a string.
const (
	asSeries = 0
	asTable  = 1
)

// A Query is one raw-SQL query of the ClickHouse data source, version 4. The
// library knows the plugin's JSON no better than any.
type Query struct {
	RefID         string               `json:"refId"`
	Datasource    common.DataSourceRef `json:"datasource"`
	PluginVersion string               `json:"pluginVersion"` // without it the plugin migrates the query
	EditorType    string               `json:"editorType"`
	QueryType     string               `json:"queryType"`
	Format        int                  `json:"format"` // 0 has a meaning
	RawSQL        string               `json:"rawSql"`
}

// ImplementsDataqueryVariant marks a Query as one.
func (Query) ImplementsDataqueryVariant() {}

// DataqueryType returns the plugin's name.
func (Query) DataqueryType() string { return clickhousePlugin }

// Validate finds nothing: the database judges SQL.
func (Query) Validate() error { return nil }

// Equals compares with another query.
func (q Query) Equals(o variants.Dataquery) bool {
	p, ok := o.(Query)
	return ok && q.RefID == p.RefID && q.Format == p.Format && q.RawSQL == p.RawSQL
}

// Build makes a Query its own builder.
func (q Query) Build() (variants.Dataquery, error) { return q, nil }

func sqlQuery(refID string, format int, sql string) Query {
	kind := "table"
	if format == asSeries {
		kind = "timeseries"
	}
	return Query{
		RefID: refID, Datasource: clickhouseRef(), PluginVersion: "4.0.0", EditorType: "sql", QueryType: kind, Format: format, RawSQL: sql,
	}
}

func ref(plugin, uid string) common.DataSourceRef {
	return common.DataSourceRef{Type: &plugin, Uid: &uid}
}

func clickhouseRef() common.DataSourceRef { return ref(clickhousePlugin, "${datasource}") }
func prometheusRef() common.DataSourceRef { return ref(prometheusPlugin, "${prometheus}") }

// variableSQL is the query of a variable.
func variableSQL(sql string) dashboard.StringOrMap {
	return dashboard.StringOrMap{Map: map[string]any{"refId": "variable", "editorType": "sql", "rawSql": sql}}
}

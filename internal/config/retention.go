package config

import (
	"maps"
	"slices"
	"time"

	"gatewatch/internal/clickhouse"
)

// kept is one field of Retention with the table that it is for.
type kept struct {
	name string
	keep time.Duration
	// table and class: a table can be kept by class.
	table, class string
	// tenants says that the table tells tenants apart.
	tenants bool
}

func (r Retention) fields() []kept {
	plain := func(name string, keep time.Duration) kept {
		return kept{name: name, keep: keep, table: name, tenants: true}
	}
	return []kept{
		plain("access_log", r.AccessLog),
		plain("span", r.Span),
		{name: "dead_letter", keep: r.DeadLetter, table: "dead_letter"},
		plain("request_10s", r.Request10s),
		plain("request_1m", r.Request1m),
		plain("request_1h", r.Request1h),
		plain("key_1m", r.Key1m),
		plain("key_1h", r.Key1h),
		plain("key_1d", r.Key1d),
		plain("usage_1d", r.Usage1d),
		plain("workflow_call", r.WorkflowCall),
		plain("workflow_run", r.WorkflowRun),
		plain("dimension_1h", r.Dimension1h),
		plain("layer_1m", r.Layer1m),
		plain("layer_1h", r.Layer1h),
		plain("unusual_1h", r.Unusual1h),
		{name: "gateway_counter", keep: r.GatewayCounter, table: "gateway_counter"},
		plain("change_event", r.ChangeEvent),
		plain("audit_event", r.AuditEvent),
		{name: "audit_authentication", keep: r.AuditAuthentication, table: "audit_event", class: "authentication"},
		{name: "audit_configuration", keep: r.AuditConfiguration, table: "audit_event", class: "configuration"},
	}
}

// TTLs returns how long each table keeps its rows.
func (r Retention) TTLs() []clickhouse.TTL {
	var list []clickhouse.TTL
	for _, f := range r.fields() {
		if f.class != "" {
			last := &list[len(list)-1]
			last.Classes = append(last.Classes, clickhouse.Exception{Value: f.class, Keep: f.keep})
			continue
		}
		t := clickhouse.TTL{Table: f.table, Keep: f.keep}
		for _, tenant := range slices.Sorted(maps.Keys(r.Tenants)) {
			if keep, ok := r.Tenants[tenant][f.name]; ok {
				t.Tenants = append(t.Tenants, clickhouse.Exception{Value: tenant, Keep: keep})
			}
		}
		list = append(list, t)
	}
	return list
}

// minKeep is the shortest retention that is of any use.
const minKeep = time.Hour

func (v *validator) retention() {
	fields := v.c.Retention.fields()
	for _, f := range fields {
		if f.keep != 0 && f.keep < minKeep {
			v.fault("retention."+f.name, "%s: want at least 1h, or 0 to keep it for ever", f.keep)
		}
	}
	var names []string
	for _, f := range fields {
		if f.tenants {
			names = append(names, f.name)
		}
	}
	for tenant, of := range v.c.Retention.Tenants {
		for name, keep := range of {
			path := "retention.tenants." + tenant + "." + name
			switch {
			case !slices.Contains(names, name):
				if near := Nearest(name, names); near != "" {
					v.fault(path, "no such level by tenant; did you mean %q?", near)
				} else {
					v.fault(path, "no such level by tenant; there are %v", names)
				}
			case keep != 0 && keep < minKeep:
				v.fault(path, "%s: want at least 1h, or 0 to keep it for ever", keep)
			}
		}
	}
}

package clickhouse

import (
	"github.com/ClickHouse/ch-go/proto"

	"gatewatch/internal/audit"
	"gatewatch/internal/change"
	"gatewatch/internal/ingest"
)

// changeRows are rows of change_event.
type changeRows struct {
	table
	origin
	at                                 *instant
	tenant, environment, service, kind *dictionary
	what, who, url                     *proto.ColStr
}

func newChangeRows() *changeRows {
	r := &changeRows{table: table{name: "change_event", fixed: 60}}
	t := &r.table
	r.origin = newOrigin(t)
	r.at = add(t, "time", newInstant(proto.PrecisionMilli))
	r.tenant, r.environment = t.dictionary("tenant"), t.dictionary("environment")
	r.service, r.kind = t.dictionary("service"), t.dictionary("kind")
	r.what, r.who, r.url = t.text("what"), t.text("who"), t.text("url")
	return r
}

func (r *changeRows) append(topic *ingest.TopicConfig, c ingest.Coordinates, e *change.Event) {
	r.origin.append(topic.Name, c)
	r.at.append(e.Time)
	r.tenant.append(topic.Tenant)
	r.environment.append(topic.Environment)
	r.service.append(e.Service)
	r.kind.append(e.Kind)
	r.what.Append(e.What)
	r.who.Append(e.Who)
	r.url.Append(e.URL)
}

// auditRows are rows of audit_event.
type auditRows struct {
	table
	origin
	at                                  *instant
	tenant, environment, source, action *dictionary
	class, outcome                      *enum
	actor, object, detail               *proto.ColStr
	client                              *proto.ColIPv6
}

func newAuditRows() *auditRows {
	r := &auditRows{table: table{name: "audit_event", fixed: 90}}
	t := &r.table
	r.origin = newOrigin(t)
	r.at = add(t, "time", newInstant(proto.PrecisionMilli))
	r.tenant, r.environment = t.dictionary("tenant"), t.dictionary("environment")
	r.class = t.enum("class", enumType([]audit.Class{audit.Other, audit.Authentication, audit.Configuration, audit.Access}))
	r.source, r.action = t.dictionary("source"), t.dictionary("action")
	r.actor, r.object = t.text("actor"), t.text("object")
	r.outcome = t.enum("outcome", enumType([]audit.Outcome{audit.Unknown, audit.Success, audit.Failure}))
	r.client = add(t, "client_ip", new(proto.ColIPv6))
	r.detail = t.text("detail")
	return r
}

func (r *auditRows) append(topic *ingest.TopicConfig, c ingest.Coordinates, e *audit.Event) {
	r.origin.append(topic.Name, c)
	r.at.append(e.Time)
	r.tenant.append(topic.Tenant)
	r.environment.append(topic.Environment)
	r.class.Append(int8(e.Class))
	r.source.append(e.Source)
	r.actor.Append(e.Actor)
	r.action.append(e.Action)
	r.object.Append(e.Object)
	r.outcome.Append(int8(e.Outcome))
	var ip proto.IPv6
	if e.Client.IsValid() {
		ip = e.Client.As16()
	}
	r.client.Append(ip)
	r.detail.Append(e.Detail)
}

// Package audit holds what gateways say about themselves: who logged in to their
// administration, who changed what. It reads the audit logs of Kong and Tyk and
// CloudEvents.
package audit

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
)

// A Class decides for how long an event is kept. The numbers are stored: append only.
type Class uint8

// The classes.
const (
	Other          Class = iota
	Authentication       // somebody logged in or out, or tried to
	Configuration        // something was changed
	Access               // something was read
)

var classNames = [...]string{"other", "authentication", "configuration", "access"}

func (c Class) String() string { return classNames[c] }

// An Outcome is how it ended. The numbers are stored: append only.
type Outcome uint8

// The outcomes.
const (
	Unknown Outcome = iota
	Success
	Failure
)

var outcomeNames = [...]string{"unknown", "success", "failure"}

func (o Outcome) String() string { return outcomeNames[o] }

// An Event is one line of an audit log. Empty texts are absent.
type Event struct {
	Time   time.Time // zero: when the message was produced
	Class  Class
	Source string // kong, tyk or the CloudEvent's source
	Actor  string // user or address that acted; masked before storage
	Action string
	Object string // what was acted on: a path without its query, or an entity
	// ClientIP is as logged and truncated before storage.
	ClientIP string
	// Client is ClientIP as stored, set when it is masked; invalid if absent.
	Client  netip.Addr
	Outcome Outcome
	Detail  string
}

// Formats are the names of the formats of topics with audit logs.
func Formats() []string { return []string{"audit_kong", "audit_tyk", "audit_cloudevents"} }

// Decode reads one event of a format, or a list of them.
func Decode(format string, msg []byte) ([]Event, error) {
	text := strings.TrimSpace(string(msg))
	if !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	}
	var list []map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&list); err != nil {
		return nil, &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not a JSON object of an audit log"}
	}
	events := make([]Event, 0, len(list))
	for _, m := range list {
		var e Event
		var err error
		switch format {
		case "audit_kong":
			e, err = kong(m)
		case "audit_tyk":
			e, err = tyk(m)
		default:
			e, err = cloudEvent(m)
		}
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func wrong(detail string) error {
	return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: detail}
}

// text returns the first of fields that m has, as text.
func text(m map[string]any, fields ...string) string {
	for _, f := range fields {
		switch v := m[f].(type) {
		case string:
			if v != "" {
				return v
			}
		case json.Number:
			return v.String()
		}
	}
	return ""
}

// seconds reads a Unix time, in seconds with or without a fraction.
func seconds(m map[string]any, field string) (time.Time, error) {
	v, ok := m[field].(json.Number)
	if !ok {
		return time.Time{}, nil
	}
	f, err := v.Float64()
	if err != nil || f < 0 || f > 1e11 {
		return time.Time{}, &accesslog.ParseError{Reason: accesslog.ReasonBadTime, Detail: field + " is no Unix time"}
	}
	return time.UnixMicro(int64(f * 1e6)).UTC(), nil
}

func withoutQuery(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

// classOf tells what a call of an administration interface is.
func classOf(method, path string) Class {
	p := strings.ToLower(path)
	for _, word := range []string{"/auth", "/login", "/logout", "/session"} {
		if strings.Contains(p, word) {
			return Authentication
		}
	}
	switch method {
	case "POST", "PUT", "PATCH", "DELETE":
		return Configuration
	case "":
		return Other
	}
	return Access
}

func ofStatus(m map[string]any) Outcome {
	v, ok := m["status"].(json.Number)
	if !ok {
		return Unknown
	}
	n, err := v.Int64()
	switch {
	case err != nil || n < 100:
		return Unknown
	case n < 400:
		return Success
	}
	return Failure
}

// kong reads an entry of Kong's audit log: a request to its Admin API or a
// changed entity (https://developer.konghq.com/gateway/audit-logs/).
func kong(m map[string]any) (e Event, err error) {
	e = Event{Source: "kong", Actor: text(m, "rbac_user_name", "rbac_user_id"), ClientIP: text(m, "client_ip"), Outcome: ofStatus(m)}
	if e.Time, err = seconds(m, "request_timestamp"); err != nil {
		return e, err
	}
	switch {
	case text(m, "dao_name") != "":
		e.Class, e.Action, e.Object, e.Outcome = Configuration, text(m, "operation"), text(m, "dao_name")+" "+text(m, "entity_key"), Success
	case text(m, "path") != "":
		e.Object, e.Action = withoutQuery(text(m, "path")), text(m, "method")
		e.Class = classOf(e.Action, e.Object)
	default:
		return e, wrong("neither path nor dao_name: not Kong's audit log")
	}
	e.Detail = text(m, "workspace")
	return e, nil
}

// tyk reads an entry of the audit log of Tyk's dashboard
// (https://tyk.io/docs/api-management/dashboard-configuration, audit log fields).
func tyk(m map[string]any) (e Event, err error) {
	e = Event{Source: "tyk", Actor: text(m, "user"), Action: text(m, "action"), Object: withoutQuery(text(m, "url")), ClientIP: text(m, "ip"), Outcome: ofStatus(m)}
	if e.Time, err = seconds(m, "timestamp"); err != nil {
		return e, err
	}
	if e.Action == "" && e.Object == "" {
		return e, wrong("neither action nor url: not Tyk's audit log")
	}
	e.Class = classOf(text(m, "method"), e.Object+"/"+e.Action)
	e.Detail = text(m, "method")
	return e, nil
}

// cloudEvent reads a CloudEvent in its JSON format, version 1.0
// (https://github.com/cloudevents/spec). Who acted is its extension authid, or
// actor, user or principal in its data; the outcome is outcome, result or status there.
func cloudEvent(m map[string]any) (e Event, err error) {
	if text(m, "specversion") == "" || text(m, "type") == "" {
		return e, wrong("specversion or type is missing: not a CloudEvent")
	}
	e = Event{Source: text(m, "source"), Action: text(m, "type"), Object: text(m, "subject"), Actor: text(m, "authid")}
	if t := text(m, "time"); t != "" {
		if e.Time, err = time.Parse(time.RFC3339Nano, t); err != nil {
			return e, &accesslog.ParseError{Reason: accesslog.ReasonBadTime, Detail: "time is not as 2006-01-02T15:04:05Z"}
		}
		e.Time = e.Time.UTC()
	}
	data, _ := m["data"].(map[string]any)
	if e.Actor == "" {
		e.Actor = text(data, "actor", "user", "principal")
	}
	e.ClientIP = text(data, "client_ip", "ip", "source_ip")
	switch strings.ToLower(text(data, "outcome", "result")) {
	case "success", "succeeded", "ok", "allow", "allowed":
		e.Outcome = Success
	case "failure", "failed", "error", "deny", "denied":
		e.Outcome = Failure
	default:
		e.Outcome = ofStatus(data)
	}
	e.Class = classOf(verb(e.Action), "/"+strings.ReplaceAll(e.Action, ".", "/"))
	return e, nil
}

// verb tells from an event's type whether something was changed.
func verb(action string) string {
	a := strings.ToLower(action)
	for _, w := range []string{"creat", "updat", "delet", "chang", "remov", "add", "patch", "put"} {
		if strings.Contains(a, w) {
			return "PUT"
		}
	}
	for _, w := range []string{"read", "get", "list", "view", "access"} {
		if strings.Contains(a, w) {
			return "GET"
		}
	}
	return ""
}

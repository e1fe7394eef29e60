package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/devstack"
	"gatewatch/internal/loadgen"
)

// A demo is the stack with a past of some days, a busier last day and an outage
// that goes on, all of which went through Kafka and the built binaries.
type demo struct {
	stack *devstack.Stack
	load  *devstack.Load
	// From and To are the last day.
	From, To time.Time
}

// The topics that the demo has besides the shop's.
const (
	topicChanges = "changes"
	topicAudit   = "audit"
)

const (
	requestsADay  = 5_000
	dayRequests   = 25_000 // more of the last day
	hourRequests  = 15_000 // more of the last 40 minutes, in which the outage is
	denser        = 14     // times that for pictures, in which a day is to look like one
	outageFor     = 25 * time.Minute
	derivedWithin = 15 * time.Minute
)

// startDemo builds the past and returns when everything is stored, derived and
// judged. root is the repository, bin has the built binaries, dir is empty. A dense
// one has a last day whose traffic hides the burst in which the outage is.
func startDemo(ctx context.Context, root, bin, dir string, days int, dense bool) (*demo, error) {
	users, logins, err := shippedUsers(root)
	if err != nil {
		return nil, err
	}
	stack, err := devstack.Start(ctx, devstack.Config{
		Dir: dir, Root: root, Bin: bin, Log: os.Stderr, Users: users, Logins: logins, Topics: topics(),
	})
	if err != nil {
		return nil, err
	}
	d := &demo{stack: stack, load: stack.NewLoad(1), To: time.Now().Truncate(time.Second)}
	d.From = d.To.Add(-24 * time.Hour)
	if err := d.fill(ctx, days, dense); err != nil {
		_ = stack.Stop()
		return nil, err
	}
	// What was written and raised meanwhile is in the range too.
	d.To = time.Now().Truncate(time.Second)
	d.From = d.To.Add(-24 * time.Hour)
	return d, nil
}

// topics are the shop's and two more.
func topics() []map[string]any {
	return []map[string]any{
		{"name": loadgen.TopicNginx, "format": "nginx_json"},
		{"name": loadgen.TopicEnvoy, "format": "envoy_json"},
		{"name": loadgen.TopicSpans, "format": "otlp_proto"},
		{"name": topicChanges, "format": "change_events"},
		{"name": topicAudit, "format": "audit_cloudevents"},
	}
}

const loginPassword = "of the checks only"

// theTenant is who the shipped tenant.xml is for here.
const theTenant = "acme"

// shippedUsers returns the users of deploy/clickhouse with one password for all.
func shippedUsers(root string) (xml string, logins map[string]string, err error) {
	read := func(name string) string {
		b, readErr := os.ReadFile(filepath.Join(root, "deploy/clickhouse", name))
		err = errors.Join(err, readErr)
		return string(b)
	}
	users := regexp.MustCompile(`(?s)<users>(.*)</users>`)
	of := func(text string) string { return users.FindStringSubmatch(text)[1] }
	xml, tenant := read("users.xml"), read("tenant.xml")
	if err != nil {
		return "", nil, err
	}
	xml = strings.Replace(xml, "</users>", strings.ReplaceAll(of(tenant), "TENANT", theTenant)+"</users>", 1)
	hash := fmt.Sprintf("<password_sha256_hex>%x</password_sha256_hex>", sha256.Sum256([]byte(loginPassword)))
	xml = regexp.MustCompile(`<password_sha256_hex from_env="\w+"/>`).ReplaceAllString(xml, hash)
	// The stack's own user has this name, and all rights.
	xml = regexp.MustCompile(`(?s)<gatewatch>\s*<password.*?</gatewatch>`).ReplaceAllString(xml, "")
	logins = map[string]string{}
	for _, m := range regexp.MustCompile(`<(gatewatch_\w+)>\s*<password`).FindAllStringSubmatch(xml, -1) {
		logins[m[1]] = loginPassword
	}
	return xml, logins, nil
}

func (d *demo) fill(ctx context.Context, days int, dense bool) error {
	now, load, ofDay := d.To, d.load, float64(dayRequests)
	if dense {
		ofDay *= denser
	}
	if err := load.SendHistory(ctx, devstack.History{Length: time.Duration(days) * 24 * time.Hour, Requests: days * requestsADay, Spans: 24 * time.Hour}, nil); err != nil {
		return err
	}
	if err := load.Extra(ctx, 2, d.From, now, ofDay,
		loadgen.Scenario{Kind: loadgen.SlowDatabase, From: now.Add(-7 * time.Hour), To: now.Add(-6*time.Hour - 20*time.Minute)},
		loadgen.Scenario{Kind: loadgen.Stuffing, Route: "POST /v1/sessions", From: now.Add(-11 * time.Hour), To: now.Add(-10*time.Hour - 30*time.Minute), Share: 0.5},
		loadgen.Scenario{Kind: loadgen.BadClient, From: now.Add(-4 * time.Hour), To: now.Add(-3 * time.Hour)},
	); err != nil {
		return err
	}
	if err := load.Extra(ctx, 3, now.Add(-40*time.Minute), now, hourRequests,
		loadgen.Scenario{Kind: loadgen.Outage, From: now.Add(-outageFor), To: now.Add(time.Hour)},
	); err != nil {
		return err
	}
	if err := d.produce(ctx); err != nil {
		return err
	}
	if err := load.Announce(ctx); err != nil {
		return err
	}
	if err := d.stack.Run(ctx, "ingest"); err != nil {
		return err
	}
	if err := load.Settle(ctx, nil); err != nil {
		return err
	}
	if err := d.stack.Run(ctx, "aggregate", "alert"); err != nil {
		return err
	}
	return d.settle(ctx)
}

// produce writes what the shop's traffic lacks: releases, a gateway's audit log,
// and lines that nobody can read.
func (d *demo) produce(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(d.stack.Broker.Addr))
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	add := func(topic, format string, args ...any) {
		records = append(records, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, format, args...)})
	}
	for i, service := range []string{"catalog", "orders", "users", "payments"} {
		at := d.To.Add(-outageFor - 5*time.Minute - time.Duration(3-i)*5*time.Hour)
		add(topicChanges, `{"time":%q,"service":%q,"kind":"deploy","what":"%[2]s 2.%d.0","who":"ci","url":"https://ci.example.com/%[2]s/%d"}`, at.UTC().Format(time.RFC3339), service, 11+i, 400+i)
	}
	add(topicChanges, `{"time":%q,"kind":"gateway_config","what":"rate limits of plan free","who":"platform"}`, d.To.Add(-9*time.Hour).UTC().Format(time.RFC3339))
	for i := range 60 {
		outcome, action := "success", "com.example.user.login"
		if i%4 == 0 {
			outcome = "denied"
		}
		if i%6 == 1 {
			action = "com.example.config.update"
		}
		add(topicAudit, `{"specversion":"1.0","id":"a%d","source":"/iam","type":%q,"subject":"admin","time":%q,"data":{"user":"operator-%d","ip":"10.1.1.%d","outcome":%q}}`,
			i, action, d.To.Add(-time.Duration(i)*23*time.Minute).UTC().Format(time.RFC3339), i%5, i%7, outcome)
	}
	for i := range 12 {
		add(loadgen.TopicNginx, `{"time_iso8601":"yesterday","request":"GET /%d"`, i)
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// settle waits until what is derived has come to the last full hour, the page
// has been raised and all workflows are known.
func (d *demo) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, derivedWithin)
	defer cancel()
	for _, name := range []string{"dimension_1h", "layer_1m", "layer_1h", "unusual_1h"} {
		until := d.To.Truncate(time.Hour)
		if err := d.await(ctx, name, func() (bool, error) {
			r, err := d.stack.Store.Reached(ctx, name)
			return err == nil && !r.Until.Before(until), err
		}); err != nil {
			return err
		}
	}
	for what, query := range map[string]string{
		"a page":      "SELECT count() FROM v_alert_event WHERE severity = 'page' AND service = 'payments'",
		"a workflow":  "SELECT count() FROM v_workflow_run",
		"a change":    "SELECT count() FROM v_change WHERE kind = 'deploy'",
		"audit event": "SELECT count() FROM v_audit",
	} {
		if err := d.await(ctx, what, func() (bool, error) {
			var n uint64
			err := d.stack.Store.QueryRow(ctx, query).Scan(&n)
			return n > 0, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// await asks until done says so.
func (d *demo) await(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w, %w", what, ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
		if err := d.stack.Failed(); err != nil {
			return err
		}
	}
}

package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
	"gatewatch/internal/change"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/layer"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// store runs statements in which %[1]d is a moment in milliseconds.
func store(t *testing.T, conn *clickhouse.Conn, at time.Time, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if err := conn.Exec(t.Context(), fmt.Sprintf(q, at.UnixMilli())); err != nil {
			t.Fatal(err)
		}
	}
}

// fillFailure stores two hours of a service that answers one request a second:
// GET /a by upstream u1 and POST /b by u2 in turn, 10 ms and 400 ms. In the last
// ten minutes u2 fails; every tenth request of the whole is over its quota.
func fillFailure(t *testing.T, conn *clickhouse.Conn, end time.Time) {
	t.Helper()
	store(t, conn, end,
		`INSERT INTO access_log (ts, kafka_time, tenant, environment, service, route, method, status, error_class, responder, error_evidence,
			latency_us, upstream_latency_us, gateway_latency_us, upstream, node, region, api_version, consumer, plan, trace_id)
		SELECT fromUnixTimestamp64Milli(%[1]d - 1000 * toInt64(number) - 1, 'UTC') AS t, t, 't', if(number %% 4 = 3, 'test', 'live'), 'payments',
			if(number %% 2 = 0, '/a', '/b'), if(number %% 2 = 0, 'GET', 'POST'), 200,
			multiIf(number %% 10 = 0, 'client_quota', number %% 2 = 1 AND number < 600, 'upstream_timeout', 'none'),
			if(number %% 2 = 1 AND number < 600, 'upstream', 'unknown'), 'stated',
			if(number %% 2 = 0, 10000, 400000), if(number %% 2 = 0, 9000, 399000), 1000, if(number %% 2 = 0, 'u1', 'u2'), concat('n', toString(intDiv(number, 2) %% 2)), 'eu',
			if(number < 900, 'v2', 'v1'), concat('c', toString(number %% 7)), 'gold', if(number < 600, unhex('4bf92f3577b34da6a3ce929d0e0e4736'), '')
		FROM numbers(7200)`,
		// Traces: the service itself takes 5 ms, then 905 ms; its database 2 ms.
		`INSERT INTO span (ts, kafka_time, trace_id, service, kind, duration_us, db_system)
		SELECT fromUnixTimestamp64Milli(%[1]d - 10000 * toInt64(number) - 1, 'UTC') AS t, t, reinterpretAsFixedString(toUInt128(number + 1)), 'payments', k,
			if(k = 'client', 2000, if(number < 60, 907000, 7000)), if(k = 'client', 'postgresql', '')
		FROM numbers(720) ARRAY JOIN ['server', 'client'] AS k`,
	)
	clickhousetest.Rollup(t, conn)
}

func TestEvaluateQueries(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	end := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
	fillFailure(t, conn, end)
	s := slo.SLO{Name: "p", Service: "payments", Target: 0.999}
	sum := func(s slo.SLO, g rollup.Grain, from, to time.Time) (sum slo.Count, n int) {
		t.Helper()
		points, err := conn.Counts(t.Context(), s.Feeds(), g, from, to)
		if err != nil {
			t.Fatal(err)
		}
		n = len(points[0])
		for _, p := range points[0] {
			sum.Valid += p.Valid
			sum.Bad += p.Bad
		}
		return sum, n
	}
	route, live, all, lax, fast := s, s, s, s, s
	route.SLI.Route, route.SLI.Method = "/b", "POST"
	live.SLI.Environment, live.SLI.Tenant = "live", "t"
	all.SLI.Excluded = []accesslog.ErrorClass{}
	lax.SLI.Bad = []accesslog.ErrorClass{accesslog.ClientQuota}
	lax.SLI.Excluded = []accesslog.ErrorClass{accesslog.UpstreamTimeout}
	fast.SLI.Kind, fast.SLI.Threshold = slo.Latency, 100*time.Millisecond
	for _, c := range []struct {
		name string
		slo  slo.SLO
		want slo.Count
	}{
		{"availability", s, slo.Count{Valid: 6480, Bad: 300}},
		{"one route", route, slo.Count{Valid: 3600, Bad: 300}},
		{"one environment", live, slo.Count{Valid: 4680, Bad: 150}},
		{"quota counted", all, slo.Count{Valid: 7200, Bad: 300}},
		{"other classes", lax, slo.Count{Valid: 6900, Bad: 720}},
		{"latency", fast, slo.Count{Valid: 6180, Bad: 3300}}, // 3,600 of /b without the 300 that failed
	} {
		for _, g := range []rollup.Grain{rollup.Grain10s, rollup.Grain1m, rollup.Grain1h} {
			got, n := sum(c.slo, g, end.Add(-2*time.Hour), end)
			if got != c.want {
				t.Errorf("%s at %s: %+v, want %+v", c.name, time.Duration(g), got, c.want)
			}
			if windows := int(2 * time.Hour / time.Duration(g)); n != windows && c.name == "availability" {
				t.Errorf("%s at %s: %d windows, want %d", c.name, time.Duration(g), n, windows)
			}
		}
	}
	if got, _ := sum(s, rollup.Grain10s, end.Add(-time.Minute), end); got != (slo.Count{Valid: 54, Bad: 30}) {
		t.Errorf("the last minute: %+v", got)
	}
}

// TestEvidence: what is read of a failure, and of the time before it. Its newest
// five minutes have 150 bad requests, so seven are looked at.
func TestEvidence(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	end := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
	fillFailure(t, conn, end)
	onset := end.Add(-10 * time.Minute)
	if err := conn.Derive(t.Context(), "layer_1m", end.Add(-2*time.Hour), onset); err != nil {
		t.Fatal(err)
	}
	store(t, conn, onset,
		`INSERT INTO change_event (time, service, kind, what, who) VALUES (fromUnixTimestamp64Milli(%[1]d - 300000), 'payments', 'deploy', 'payments v2', 'ci'),
			(fromUnixTimestamp64Milli(%[1]d - 300000), 'orders', 'deploy', 'orders v7', 'ci'), (fromUnixTimestamp64Milli(%[1]d - 3600000), 'payments', 'flag', 'too early', '')`,
		`INSERT INTO key_event (time, action, consumer, owner, plan) VALUES (fromUnixTimestamp64Milli(%[1]d - 86400000), 'created', 'c3', 'team-partners', 'gold')`,
	)
	s := slo.SLO{Name: "p", Service: "payments", Target: 0.999}
	ev, err := conn.Evidence(t.Context(), s.Feeds()[0], "", onset, end)
	if err != nil {
		t.Fatal(err)
	}
	cells := map[string]suspect.Cell{}
	for _, c := range ev.Cells {
		cells[fmt.Sprint(c.Where)] = c
	}
	for name, want := range map[string]suspect.Cell{
		"[upstream u2]": {Now: slo.Count{Valid: 210, Bad: 210}}, "[POST /b]": {Now: slo.Count{Valid: 210, Bad: 210}, Before: slo.Count{Valid: 1800}}, "[method POST]": {Now: slo.Count{Valid: 210, Bad: 210}, Before: slo.Count{Valid: 1800}},
		"[node n0]": {Now: slo.Count{Valid: 189, Bad: 105}, Before: slo.Count{Valid: 1620}}, "[region eu]": {Now: slo.Count{Valid: 378, Bad: 210}, Before: slo.Count{Valid: 3240}},
		"[version v2]": {Now: slo.Count{Valid: 378, Bad: 210}, New: true}, "[plan gold]": {Now: slo.Count{Valid: 378, Bad: 210}, Before: slo.Count{Valid: 3240}},
	} {
		got := cells[name]
		if got.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("%s: trace %q", name, got.TraceID)
		}
		want.Where, want.TraceID = got.Where, got.TraceID
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
	}
	if _, ok := cells["[upstream u1]"]; ok {
		t.Error("an upstream without a failure is a suspect")
	}
	if now, before := ev.LayersNow["service"], ev.LayersBefore["service"]; now.Traces != 42 || before.Traces < 300 {
		t.Errorf("traces: %d now, %d before", now.Traces, before.Traces)
	}
	if v := layer.Compare(ev.LayersNow, ev.LayersBefore); v.Errors != "upstream" && v.Errors != "service" {
		t.Errorf("layers: %s", v.Why)
	}
	ev.Cells, ev.LayersNow, ev.LayersBefore = nil, nil, nil
	want := evaluate.Evidence{
		Now: slo.Count{Valid: 378, Bad: 210}, Before: slo.Count{Valid: 3240}, BeforeMinutes: 60, From: end.Add(-7 * time.Minute), To: end, Consumers: 7, ActiveConsumers: 7,
		Classes: []evaluate.Portion{{Name: "upstream_timeout", Share: 1}}, Responders: []evaluate.Portion{{Name: "upstream", Share: 1}}, Stated: 1,
		FirstSeen: []evaluate.FirstSeen{{Dimension: "version", Value: "v2", At: end.Add(-15*time.Minute + time.Second - time.Millisecond)}},
		Plans:     []evaluate.PlanHit{{Name: "gold", Affected: 7, Active: 7}}, Services: []evaluate.ServiceCount{{Name: "payments", Now: slo.Count{Valid: 378, Bad: 210}, Before: slo.Count{Valid: 3240}}},
		Changes:        []change.Event{{Time: onset.Add(-5 * time.Minute), Service: "payments", Kind: "deploy", What: "payments v2", Who: "ci"}},
		ConsumerOwners: map[string]string{"c3": "team-partners"},
	}
	if diff := cmp.Diff(ev, want, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("evidence (-got +want):\n%s", diff)
	}
}

// TestEvidencePair: one route on one upstream, of two each; a week ago it was the
// same hour as well. The newest five minutes have too few, so more are looked at.
func TestEvidencePair(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	end := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
	for _, ago := range []time.Duration{0, 7 * 24 * time.Hour} {
		err := conn.Exec(t.Context(), fmt.Sprintf(`INSERT INTO access_log (ts, kafka_time, service, route, method, status, error_class, responder, upstream)
			SELECT fromUnixTimestamp64Milli(%d - 1000 * toInt64(number) - 1, 'UTC') AS t, t, 'payments', if(number %% 2 = 0, '/a', '/b'), 'GET', 200,
				if(number %% 4 = 0 AND number < %d, 'upstream_5xx', 'none'), 'upstream', if(intDiv(number, 2) %% 2 = 0, 'u1', 'u2') FROM numbers(7200)`, end.Add(-ago).UnixMilli(), map[bool]int{true: 1800, false: 8}[ago == 0]))
		if err != nil {
			t.Fatal(err)
		}
	}
	clickhousetest.Rollup(t, conn)
	s := slo.SLO{Name: "p", Service: "payments", Target: 0.999}
	ev, err := conn.Evidence(t.Context(), s.Feeds()[0], "", end.Add(-30*time.Minute), end)
	if err != nil {
		t.Fatal(err)
	}
	if ev.Now.Bad < 200 || ev.Now.Bad > 240 || ev.To.Sub(ev.From) > 15*time.Minute || ev.WeekAgo.Bad != 2 {
		t.Errorf("now %+v from %s, a week ago %+v", ev.Now, ev.From, ev.WeekAgo)
	}
	list := suspect.Rank(ev.Cells, ev.Now, ev.Before)
	if len(list) == 0 || list[0].Name() != "GET /a on upstream u1" || list[0].Share < 0.99 || list[0].Lift < 3.9 || list[0].Lift > 4.1 {
		t.Errorf("suspects %+v", list)
	}
}

// TestAlertEvents: what is recorded twice is there once, what was sent later
// counts as sent, and what fires is found with its labels.
func TestAlertEvents(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	at := time.Date(2026, 3, 2, 3, 11, 20, 0, time.UTC)
	var e evaluate.Event
	e.At, e.From, e.AlertID, e.Owner, e.Evidence = at, alert.Inactive, "3f9a11bb", "team-a", "{}"
	e.Status.SLO = slo.SLO{Name: "p", Service: "payments"}
	e.Status.State, e.Status.Severity = alert.Firing, alert.Page
	e.Labels = map[string]string{"slo": "p", "evil\n": "'; DROP"}
	e.Annotations = map[string]string{"since": "2026-03-02T03:10:00Z", "page": "text"}
	e.SendError = "connection refused"
	record := func() {
		t.Helper()
		if err := conn.Record(t.Context(), []evaluate.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	record()
	record()
	e.SendError, e.SentAt = "", at.Add(7*time.Second)
	record()
	list, err := conn.AlertEvents(t.Context(), "3f9a")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Err != "" || !list[0].SentAt.Equal(e.SentAt) || list[0].Annotations["page"] != "text" {
		t.Errorf("events %+v, want one that was sent", list)
	}
	firing, err := conn.Firing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []evaluate.Restored{{SLO: "p", ID: "3f9a11bb", Severity: alert.Page, Since: at.Add(-80 * time.Second), Labels: e.Labels, Annotations: e.Annotations, Sent: true, At: at}}
	if diff := cmp.Diff(firing, want); diff != "" {
		t.Errorf("firing (-got +want):\n%s", diff)
	}
	keys, err := conn.Recorded(t.Context(), at.Add(-time.Second))
	if err != nil || len(keys) != 1 || !keys[e.Key()] {
		t.Errorf("recorded %v (%v), want %s", keys, err, e.Key())
	}
	e.At, e.From, e.FromSever = at.Add(time.Minute), alert.Firing, alert.Page
	e.Status.State, e.Status.Severity = alert.Resolved, alert.None
	record()
	if firing, err = conn.Firing(t.Context()); err != nil || len(firing) != 0 {
		t.Errorf("after the end %+v fires (%v)", firing, err)
	}
	incidents, err := conn.Incidents(t.Context(), at, at.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(incidents, []clickhouse.Incident{{
		ID: "3f9a11bb", SLO: "p", Kind: "slo_burn", Service: "payments", Owner: "team-a", Severity: "page", Onset: at.Add(-80 * time.Second), Raised: at, Ended: at.Add(time.Minute), Sent: true, Evidence: "{}",
	}}); diff != "" {
		t.Errorf("incidents (-got +want):\n%s", diff)
	}
}

// TestCountsByGroup: each dimension adds up to the whole, from the rollup that has it.
func TestCountsByGroup(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	end := time.Now().UTC().Truncate(time.Hour).Add(-24 * time.Hour)
	fillFailure(t, conn, end)
	slow := slo.SLI{Kind: slo.Latency, Threshold: 100 * time.Millisecond}
	feeds := []slo.Feed{
		{Service: "payments", Group: slo.ByRoute},
		{Service: "payments", Group: slo.ByConsumer},
		{Service: "payments", Group: slo.ByPlan},
		{Service: "payments", Group: slo.ByRegion},
		{Service: "payments", Group: slo.ByRegion, SLI: slow},
		{Service: "nowhere", Group: slo.ByRegion},
	}
	for _, g := range []rollup.Grain{rollup.Grain1m, rollup.Grain1h} {
		points, err := conn.Counts(t.Context(), feeds, g, end.Add(-2*time.Hour), end)
		if err != nil {
			t.Fatal(err)
		}
		groups := make([]map[string]slo.Count, len(feeds))
		for i, list := range points {
			groups[i] = map[string]slo.Count{}
			for k, p := range list {
				if k > 0 && p.Time.Before(list[k-1].Time) {
					t.Fatalf("feed %d is not in the order of time", i)
				}
				c := groups[i][p.Group]
				groups[i][p.Group] = slo.Count{Valid: c.Valid + p.Valid, Bad: c.Bad + p.Bad}
			}
		}
		whole := slo.Count{Valid: 6480, Bad: 300}
		want := []map[string]slo.Count{
			{"GET /a": {Valid: 2880}, "POST /b": {Valid: 3600, Bad: 300}},
			groups[1],
			{"gold": whole},
			{"eu": whole},
			{"eu": {Valid: 6180, Bad: 3300}},
			{},
		}
		if diff := cmp.Diff(groups, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", time.Duration(g), diff)
		}
		var sum slo.Count
		for _, c := range groups[1] {
			sum.Valid += c.Valid
			sum.Bad += c.Bad
		}
		if len(groups[1]) != 7 || sum != whole {
			t.Errorf("%d consumers, together %+v", len(groups[1]), sum)
		}
	}
	if _, err := conn.Counts(t.Context(), feeds[3:4], rollup.Grain10s, end.Add(-time.Hour), end); err == nil {
		t.Error("regions are kept by ten seconds")
	}
	ev, err := conn.Evidence(t.Context(), feeds[0], "POST /b", end.Add(-10*time.Minute), end)
	if err != nil || ev.Now != (slo.Count{Valid: 210, Bad: 210}) {
		t.Errorf("evidence of one route: %+v (%v)", ev.Now, err)
	}
}

// TestCheckpoint: the newest one comes back.
func TestCheckpoint(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	if _, found, err := conn.Kept(t.Context()); found || err != nil {
		t.Fatalf("in an empty store: %t, %v", found, err)
	}
	tick := time.Now().UTC().Truncate(10 * time.Second)
	for _, at := range []time.Time{tick.Add(-time.Minute), tick, tick.Add(-2 * time.Minute)} {
		if err := conn.Keep(t.Context(), evaluate.Checkpoint{Tick: at, Groups: map[string][]string{"a": {"GET /x'"}}}); err != nil {
			t.Fatal(err)
		}
	}
	got, found, err := conn.Kept(t.Context())
	if err != nil || !found {
		t.Fatal(found, err)
	}
	if diff := cmp.Diff(got, evaluate.Checkpoint{Tick: tick, Groups: map[string][]string{"a": {"GET /x'"}}}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// TestSignals reads every kind of signal from rows that have it.
func TestSignals(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	at := time.Now().UTC().Truncate(time.Hour).Add(-24*time.Hour + 5*time.Minute)
	store(t, conn, at,
		// Eight consumers whose credentials are refused for four minutes; one of them was fine an hour ago.
		`INSERT INTO access_log (ts, kafka_time, service, route, method, error_class, consumer, plan, node, api_version, key_id)
		SELECT fromUnixTimestamp64Milli(%[1]d - 100 * toInt64(number) - 1, 'UTC') AS t, t, 'shop', '/v1/cart', 'GET', if(number < 2400, 'client_auth', 'none'), concat('c', toString(number %% 8)), 'gold', 'n1', 'v1', unhex('4bf92f3577b34da6a3ce929d0e0e4736')
		FROM numbers(36000)`,
		`INSERT INTO access_log (ts, kafka_time, service, route, method, error_class) SELECT fromUnixTimestamp64Milli(%[1]d - 1000 * toInt64(number) - 1, 'UTC') AS t, t, 'pay', '/v1/pay', 'POST', if(number < 30, 'breaker_open', 'none') FROM numbers(3600)`,
		`INSERT INTO access_log (ts, kafka_time, service, route, method, error_class) SELECT fromUnixTimestamp64Milli(%[1]d - 3600000 - 1000 * toInt64(number), 'UTC') AS t, t, 'mute', '/', 'GET', 'none' FROM numbers(600)`,
		`INSERT INTO span (ts, kafka_time, service, kind) SELECT fromUnixTimestamp64Milli(%[1]d - 1000 * toInt64(number) - 1, 'UTC') AS t, t, 'mute', 'server' FROM numbers(300)`,
		`INSERT INTO ledger (topic, messages, dead, rows, last_kafka_time, written_at) SELECT 'logs', 1000, 50, 950, fromUnixTimestamp64Milli(%[1]d - 60000, 'UTC'), fromUnixTimestamp64Milli(%[1]d, 'UTC')`,
		`INSERT INTO dead_letter (topic, kafka_time, reason) SELECT 'logs', fromUnixTimestamp64Milli(%[1]d - 60000, 'UTC'), 'json' FROM numbers(50)`,
		`INSERT INTO completeness (topic, measured_at, complete_until, lag, caught_up, retention_s) SELECT 'logs', fromUnixTimestamp64Milli(%[1]d, 'UTC'), fromUnixTimestamp64Milli(%[1]d - 300000, 'UTC'), 7, true, 500`,
		`INSERT INTO disk_space (time, host, disk, free, total) SELECT now('UTC') - INTERVAL 20 HOUR, hostName(), name, free_space * 2, total_space FROM system.disks WHERE %[1]d > 0`,
		`INSERT INTO key_event (time, action, consumer, owner, plan) VALUES (fromUnixTimestamp64Milli(%[1]d - 86400000), 'created', 'c3', 'team-partners', 'gold')`,
		`INSERT INTO kpi_definition (kind, name, json, set_at) VALUES ('deprecation', 'old cart', '{"service": "shop", "version": "", "method": "GET", "route": "/v1/cart", "sunset": "2020-01-31", "successor": ""}', fromUnixTimestamp64Milli(%[1]d, 'UTC')),
			('quota', 'gold per month', '{"plan": "gold", "calls": 5000, "per": "month"}', fromUnixTimestamp64Milli(%[1]d, 'UTC'))`,
	)
	clickhousetest.Rollup(t, conn)
	r, err := conn.Signals(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	s := evaluate.NewSignals(evaluate.SignalsConfig{
		Sunsets: []evaluate.SunsetConfig{{Service: "shop", Version: "v1", Date: at.AddDate(0, 0, 10).Format(time.DateOnly)}},
	})
	got := map[string]string{}
	for _, tr := range s.Judge(at, &r) {
		if old := got[tr.Status.SLO.Name]; old == "" {
			got[tr.Status.SLO.Name] = tr.Status.Group + ": " + tr.Status.Signal.Headline
		}
	}
	for name, want := range map[string]string{
		"client-errors":     "shop error_class=client_auth: client_auth for 8 of 8 consumers (80.0 % of requests, usual 0 %)",
		"breaker-open":      "pay route=POST /v1/pay: circuit breaker open for POST /v1/pay",
		"logging-gap":       "mute: traces come, the access log does not",
		"dead-letters":      "gatewatch topic=logs: 5.0 % of topic logs can't be read: json",
		"version-sunset":    "shop route=GET /v1/cart: 1 keys still call GET /v1/cart, which ended on 2020-01-31",
		"retention-at-risk": "gatewatch topic=logs: Kafka deletes messages of topic logs unread in 3 m",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if !strings.Contains(got["disk-filling"], " is full in ") || !strings.HasPrefix(got["quota-forecast"], " consumer=c0 plan=gold: c0 ") {
		t.Errorf("disks: %q, quotas: %q", got["disk-filling"], got["quota-forecast"])
	}
	if len(r.Versions) != 1 || r.Versions[0].Version != "v1" || r.Versions[0].Keys != 1 {
		t.Errorf("versions %+v", r.Versions)
	}
	if len(r.Deprecated) != 1 || r.Deprecated[0].Route != "GET /v1/cart" || r.Deprecated[0].Keys != 1 || r.Owners["c3"] != "team-partners" {
		t.Errorf("deprecated %+v, owners %v", r.Deprecated, r.Owners)
	}
	if len(r.Traffic) == 0 || len(r.Hours) == 0 || len(r.Periods) == 0 {
		t.Errorf("traffic %d, hours %d, periods %d", len(r.Traffic), len(r.Hours), len(r.Periods))
	}
	ch, err := conn.Changed(t.Context(), []string{"logs"}, at.Add(-time.Minute))
	if err != nil || ch.Seen.IsZero() {
		t.Errorf("changed: %+v (%v)", ch, err)
	}
	if ch, err = conn.Changed(t.Context(), []string{"logs"}, at.Add(time.Minute)); err != nil || !ch.Seen.IsZero() {
		t.Errorf("nothing has changed: %+v (%v)", ch, err)
	}
}

// TestLostRoute: requests that the gateway finds no route for belong to the service
// that answered them in the day before; routes that nobody knew are nobody's.
func TestLostRoute(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	at := time.Now().UTC().Truncate(time.Hour).Add(-24*time.Hour + 30*time.Minute)
	store(t, conn, at,
		`INSERT INTO access_log (ts, kafka_time, service, route, method, error_class, consumer)
		SELECT fromUnixTimestamp64Milli(%[1]d - 7200000 - 1000 * toInt64(number), 'UTC') AS t, t, if(number %% 10 = 0, 'old', 'shop'), '/v1/cart', 'GET', if(number < 6, 'client_not_found', 'none'), 'c'
		FROM numbers(600)`,
		// 60 find no route, of five consumers; c1 gets to it with half of its requests.
		`INSERT INTO access_log (ts, kafka_time, service, route, method, error_class, consumer)
		SELECT fromUnixTimestamp64Milli(%[1]d - 1000 * toInt64(number) - 1, 'UTC') AS t, t, '', '/v1/cart', 'GET', 'gateway_no_route', concat('c', toString(number %% 5)) FROM numbers(60)`,
		`INSERT INTO access_log (ts, kafka_time, service, route, method, error_class, consumer)
		SELECT fromUnixTimestamp64Milli(%[1]d - 1000 * toInt64(number) - 1, 'UTC') AS t, t, '', '/wp-admin', 'GET', 'gateway_no_route', 'scanner' FROM numbers(60)`,
		`INSERT INTO access_log (ts, kafka_time, service, route, method, error_class, consumer)
		SELECT fromUnixTimestamp64Milli(%[1]d - 1000 * toInt64(number) - 1, 'UTC') AS t, t, '', '/v1/cart', 'GET', 'none', 'c1' FROM numbers(13)`,
	)
	clickhousetest.Rollup(t, conn)
	r, err := conn.Signals(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	var got []evaluate.ClassShare
	for _, e := range r.Errors {
		if e.Route != "" {
			got = append(got, e)
		}
	}
	want := []evaluate.ClassShare{{Service: "shop", Class: "gateway_no_route", Route: "GET /v1/cart", Requests: 73, Errors: 60, Active: 5, Hit: 4, UsualRequests: 540, UsualErrors: 0}}
	if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(evaluate.ClassShare{}, "Since")); diff != "" {
		t.Errorf("routes (-got +want):\n%s", diff)
	}
	// When the route is back, what found none is no lost traffic of anybody.
	for _, tr := range r.Traffic {
		if tr.Service == "" {
			t.Errorf("requests without a service are judged: %+v", tr)
		}
	}
}

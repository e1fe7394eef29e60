package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alertmanager"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

const (
	// checkStep bounds the talk with one server.
	checkStep = 20 * time.Second
	// clockTolerance is how far apart clocks may be before figures suffer.
	clockTolerance = 2 * time.Second
	// groupAttempts is how often a group's offsets are asked for, once a second.
	groupAttempts = 5
	// checkSample is how many messages of each topic are read.
	checkSample = 200
	// minMajor is the oldest major version of ClickHouse that the schema is made for.
	minMajor = 24
)

// checkConnect talks to everything that the configuration names.
func checkConnect(ctx context.Context, cfg *config.Config, found *findings) {
	checkKafka(ctx, cfg, found)
	checkClickHouse(ctx, cfg, found)
	checkAlertmanagers(ctx, cfg, found)
	if u := cfg.Alert.Grafana; u != "" {
		checkURL(ctx, found, "grafana", u, "pages would link to it in vain: correct alert.grafana")
	}
	if u := cfg.Alert.Runbooks.BaseURL; u != "" {
		checkURL(ctx, found, "runbooks", u, "pages would link to it in vain: correct alert.runbooks.base_url")
	}
}

// checkAlertmanagers asks each one by itself, to name those that do not answer.
func checkAlertmanagers(ctx context.Context, cfg *config.Config, found *findings) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	if len(cfg.Alert.Alertmanagers) == 0 {
		found.warn("alertmanager", "gatewatch-alert needs alert.alertmanagers", "none is configured")
	}
	for _, u := range cfg.Alert.Alertmanagers {
		client, err := alertmanager.New([]string{u}, cfg.Alert.AlertmanagerAuth)
		if err == nil {
			err = client.Check(ctx)
		}
		if err != nil {
			found.fail("alertmanager", "correct alert.alertmanagers and alertmanager_auth, or start it", "%v", err)
			continue
		}
		found.ok("alertmanager", "%s answers", u)
	}
}

func checkKafka(ctx context.Context, cfg *config.Config, found *findings) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	client, err := kafka.NewClient(cfg.Kafka.Config)
	if err != nil {
		found.fail("kafka", "correct the section kafka", "%v", err)
		return
	}
	defer client.Close()
	topics, err := client.Topics(ctx)
	if err != nil {
		found.fail("kafka", "correct kafka.brokers, tls and sasl", "%v", err)
		return
	}
	found.ok("kafka", "%s answer, %d topics to be seen", strings.Join(cfg.Kafka.Brokers, ", "), len(topics))
	for _, t := range cfg.Kafka.Topics {
		checkTopic(ctx, cfg, client, t, found)
	}
	targets := []string{cfg.Ingest.DeadLetterTopic}
	for _, t := range cfg.Kafka.Topics {
		targets = append(targets, t.DeadLetterTopic)
	}
	slices.Sort(targets)
	for _, t := range slices.Compact(targets) {
		if t == "" {
			continue
		}
		if _, err := client.Topics(ctx, t); err != nil {
			found.fail("topic", "create it, or take dead_letter_topic out", "dead letters: %v", err)
		}
	}
}

func checkTopic(ctx context.Context, cfg *config.Config, client *kafka.Client, t ingest.TopicConfig, found *findings) {
	name := "topic"
	s, err := readSample(ctx, client, t.Name, checkSample)
	switch {
	case errors.Is(err, kafka.ErrNoTopic):
		found.fail(name, "create it or correct kafka.topics; `probe` lists what there is", "%s does not exist", t.Name)
		return
	case err != nil:
		found.fail(name, "the user needs Read and Describe on it", "%s can't be read: %v", t.Name, err)
		return
	}
	partitions := make([]int32, s.partitions)
	for i := range partitions {
		partitions[i] = int32(i)
	}
	group := client.Group(groupName)
	if err := askGroup(ctx, client, group, t.Name, partitions); err != nil {
		found.fail(name, "the user needs Read on group "+group, "%s: group %s: %v", t.Name, group, err)
		return
	}
	if len(s.messages) == 0 {
		found.warn(name, "nothing to check its format with", "%s is empty", t.Name)
		return
	}
	f, err := findFormat(t.Format)
	if err != nil && t.Format != formatAuto && !slices.Contains(eventFormats(), t.Format) {
		found.fail(name, "`decode --formats` lists them", "%s: %v", t.Name, err)
		return
	}
	r, err := read(t, f, s.messages, []byte("only for this check, never stored"))
	if err != nil {
		found.fail(name, "correct the topic's configuration", "%s: %v", t.Name, err)
		return
	}
	var report topicReport
	report.Messages = len(s.messages)
	r.report(&report)
	text := fmt.Sprintf("%s: %d of %d messages are readable as %s", t.Name, r.readable, len(s.messages), t.Format)
	switch {
	case report.ReadableShare < goodShare:
		if len(report.Reasons) > 0 {
			text += "; most often " + strings.TrimSuffix(report.Reasons[0].Reason+": "+report.Reasons[0].Detail, ": ")
		}
		found.warn(name, "look with `probe --topic "+t.Name+"`", "%s", text)
	case report.ZoneOffset != "":
		found.warn(name, "set time_zone", "%s; times look like %s", text, report.ZoneOffset)
	default:
		found.ok(name, "%s", text)
	}
}

// askGroup reads a group's offsets. A broker that has just started, or never
// had a group, needs some seconds to find the group's coordinator.
func askGroup(ctx context.Context, client *kafka.Client, group, topic string, partitions []int32) error {
	for attempt := 1; ; attempt++ {
		_, err := client.Committed(ctx, group, topic, partitions)
		if err == nil || attempt == groupAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

func checkClickHouse(ctx context.Context, cfg *config.Config, found *findings) {
	ctx, cancel := context.WithTimeout(ctx, checkStep)
	defer cancel()
	conn, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		found.fail("clickhouse", "correct the section clickhouse", "%v", err)
		return
	}
	defer conn.Close()
	before := time.Now()
	server, err := conn.Server(ctx)
	if err != nil {
		found.fail("clickhouse", "correct clickhouse.address, username and password_file", "%v", clickhouse.Explain(cfg.ClickHouse, err))
		return
	}
	middle := before.Add(time.Since(before) / 2)
	var major int
	if _, err := fmt.Sscanf(server.Version, "%d.", &major); err == nil && major < minMajor {
		found.warn("clickhouse", fmt.Sprintf("upgrade to %d.8 or later", minMajor), "version %s at %s is older than what is tested", server.Version, cfg.ClickHouse.Address)
	} else {
		found.ok("clickhouse", "version %s at %s, logged in as %s", server.Version, cfg.ClickHouse.Address, cfg.ClickHouse.Username)
	}
	if d := server.Now.Sub(middle); d.Abs() > clockTolerance {
		found.warn("clock", "keep both in time with NTP", "ClickHouse is %s off this machine", d.Round(time.Millisecond))
	} else {
		found.ok("clock", "ClickHouse agrees with this machine within %s", (d.Abs() + time.Since(before)).Round(time.Millisecond))
	}
	if checkRights(ctx, cfg, conn, found) {
		checkSchema(ctx, cfg, conn, found)
	}
}

// checkRights names each right that the user lacks, and reports whether it is
// worth going on.
func checkRights(ctx context.Context, cfg *config.Config, conn *clickhouse.Conn, found *findings) bool {
	missing, err := conn.MissingRights(ctx)
	if err != nil {
		found.warn("rights", "compare them with deploy/clickhouse/users.xml", "%v", clickhouse.Explain(cfg.ClickHouse, err))
		return true
	}
	user := cfg.ClickHouse.Username
	for _, r := range missing {
		found.fail("rights", fmt.Sprintf("GRANT %s TO %s, as in deploy/clickhouse/users.xml", r, user), "user %q lacks %s", user, r)
	}
	if len(missing) == 0 {
		found.ok("rights", "user %q has all that is needed on database %s", user, cfg.ClickHouse.Database)
	}
	return len(missing) == 0
}

// checkSchema looks at the database, and tries deduplication there.
func checkSchema(ctx context.Context, cfg *config.Config, conn *clickhouse.Conn, found *findings) {
	if n, err := conn.ServerIDs(ctx, 4); err != nil {
		found.warn("servers", "", "could not ask for the server's id: %v", err)
	} else if n > 1 {
		found.fail("servers", "name one server; gatewatch's tables are not replicated", "%d different servers answer at %s", n, cfg.ClickHouse.Address)
	}
	err := conn.CheckSchema(ctx)
	var old *clickhouse.SchemaError
	switch {
	case err == nil:
		found.ok("schema", "database %s has version %d", cfg.ClickHouse.Database, clickhouse.SchemaVersion())
	case errors.As(err, &old):
		found.warn("schema", "`gatewatch-ingest run` or `migrate` brings it up to date", "%v", err)
	default:
		found.fail("schema", "the user needs SELECT on the database", "%v", clickhouse.Explain(cfg.ClickHouse, err))
		return
	}
	table, view, err := conn.CheckDeduplication(ctx)
	if clickhouse.ErrorCode(err) == codeUnknownDatabase {
		if err = conn.MakeDatabase(ctx); err == nil {
			found.ok("database", "%s did not exist; made it, empty", cfg.ClickHouse.Database)
			table, view, err = conn.CheckDeduplication(ctx)
		}
	}
	switch {
	case err != nil:
		found.fail("deduplication", "the user needs CREATE, INSERT, SELECT and DROP on the database", "%v", clickhouse.Explain(cfg.ClickHouse, err))
	case table != 1:
		found.fail("deduplication", "let the server honour insert_deduplicate and non_replicated_deduplication_window", "one block inserted twice counts %d times in its table", table)
	case view != 1:
		found.fail("deduplication", "let the server honour deduplicate_blocks_in_dependent_materialized_views", "one block inserted twice counts %d times in a view", view)
	default:
		found.ok("deduplication", "one block inserted twice counts once, in table and view")
	}
}

// codeUnknownDatabase is ClickHouse's UNKNOWN_DATABASE.
const codeUnknownDatabase = 81

// checkURL warns of a page that does not answer.
func checkURL(ctx context.Context, found *findings, name, url, remedy string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
			return err
		}
		if resp.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
		return nil
	}()
	if err != nil {
		found.warn(name, remedy, "%v", err)
		return
	}
	found.ok(name, "%s answers", url)
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/audit"
	"gatewatch/internal/change"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/consumer/keyevent"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
)

// formatChangeEvents is the format of a topic with releases and other changes.
const formatChangeEvents = "change_events"

// eventFormats are the formats of topics that hold neither requests nor spans.
func eventFormats() []string {
	return append([]string{formatKeyEvents, formatChangeEvents}, audit.Formats()...)
}

// changeDecoder reads a topic of changes.
type changeDecoder struct{}

// Decode implements ingest.Decoder.
func (changeDecoder) Decode(msg []byte, out *ingest.Records) error {
	events, err := change.Decode(msg)
	out.Changes = append(out.Changes, maskedChanges(events)...)
	return err
}

// maskedChanges hides credentials and addresses of people.
func maskedChanges(events []change.Event) []change.Event {
	var arena accesslog.Arena
	for i := range events {
		e := &events[i]
		for _, text := range []*string{&e.What, &e.Who, &e.URL} {
			*text = accesslog.MaskText(*text, &arena)
		}
	}
	return events
}

// auditDecoder reads a topic with a gateway's audit log.
type auditDecoder struct {
	format    string
	normalise *normalise.Normaliser // nil leaves client addresses out
}

// Decode implements ingest.Decoder.
func (d *auditDecoder) Decode(msg []byte, out *ingest.Records) error {
	events, err := audit.Decode(d.format, msg)
	if err != nil {
		return err
	}
	var arena accesslog.Arena
	for i := range events {
		e := &events[i]
		for _, text := range []*string{&e.Actor, &e.Object, &e.Detail} {
			*text = accesslog.MaskText(*text, &arena)
		}
		if d.normalise != nil {
			e.Client = d.normalise.Address(e.ClientIP)
		}
		e.ClientIP = ""
	}
	out.Audits = append(out.Audits, events...)
	return nil
}

const importText = `reads a file into ClickHouse; the same file again changes nothing.

  import consumers FILE   API keys, as CSV
  import changes FILE     releases and other changes, as CSV or JSON Lines`

// checkImport checks what is to be imported.
func checkImport(args []string) error {
	if len(args) == 2 && (args[0] == "consumers" || args[0] == "changes") {
		return nil
	}
	return daemon.Usagef("import takes the word consumers and the path of a CSV file with the columns %v, or the word changes and one with the columns %v", keyevent.Columns(), change.Columns())
}

// importChanges reads a file of changes.
func importChanges(ctx context.Context, env *daemon.Env, cfg *config.Config, path string, text []byte, dry bool) error {
	events, err := change.Read(bytes.NewReader(text))
	if err != nil {
		return daemon.Usagef("%s: %w", path, err)
	}
	if dry {
		fmt.Fprintf(env.Stdout, "%s would be imported\n", daemon.Plural(int64(len(events)), "change"))
		return nil
	}
	conn, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer conn.Close()
	if _, err := conn.Migrate(ctx); err != nil {
		return clickhouse.Explain(cfg.ClickHouse, err)
	}
	writer := clickhouse.NewWriter(conn)
	defer writer.Close()
	sum := sha256.Sum256(text)
	topic := ingest.TopicConfig{Name: "import " + filepath.Base(path)}
	if err := writer.InsertChanges(ctx, topic, maskedChanges(events), time.Now(), "import:"+hex.EncodeToString(sum[:])); err != nil {
		return clickhouse.Explain(cfg.ClickHouse, err)
	}
	fmt.Fprintf(env.Stdout, "%s imported; the same file again changes nothing\n", daemon.Plural(int64(len(events)), "change"))
	return nil
}

// events prints what is neither a request nor a span nor of a key.
func (p *decodePrinter) events(n int, w *bufio.Writer) error {
	stamp := func(t time.Time) {
		if !t.IsZero() {
			p.text("time", t.UTC().Format(time.RFC3339Nano))
		}
	}
	for _, e := range p.found.Changes {
		p.begin(n)
		stamp(e.Time)
		p.text("service", e.Service)
		p.text("kind", e.Kind)
		p.text("what", e.What)
		p.text("who", e.Who)
		p.text("url", e.URL)
		if err := p.end(w); err != nil {
			return err
		}
	}
	for i := range p.found.Audits {
		e := &p.found.Audits[i]
		p.begin(n)
		stamp(e.Time)
		p.text("class", e.Class.String())
		p.text("source", e.Source)
		p.text("actor", e.Actor)
		p.text("action", e.Action)
		p.text("object", e.Object)
		p.text("outcome", e.Outcome.String())
		if e.Client.IsValid() {
			p.text("client_ip", e.Client.String())
		}
		p.text("detail", e.Detail)
		if err := p.end(w); err != nil {
			return err
		}
	}
	return nil
}

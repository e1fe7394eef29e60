package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/consumer"
	"gatewatch/internal/consumer/keyevent"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
)

// formatKeyEvents is the format of a topic with events about API keys.
const formatKeyEvents = "key_events"

// keyDecoder reads such a topic.
type keyDecoder struct {
	normalise *normalise.Normaliser // nil drops keys without hashing them
}

// Decode implements ingest.Decoder.
func (d *keyDecoder) Decode(msg []byte, out *ingest.Records) error {
	events, err := keyevent.Decode(msg)
	if err != nil {
		return err
	}
	out.KeyEvents = append(out.KeyEvents, hashed(events, d.normalise)...)
	return nil
}

// hashed replaces keys by their ids: one event for each pepper, since requests
// of different times are hashed with different ones.
func hashed(events []consumer.Event, n *normalise.Normaliser) []consumer.Event {
	var all []consumer.Event
	for _, e := range events {
		key := e.Key
		e.Key = ""
		if key == "" || n == nil {
			all = append(all, e)
			continue
		}
		for _, id := range n.KeyIDs(key) {
			e.KeyID = id
			all = append(all, e)
		}
	}
	return all
}

// runImport reads files of what isn't on a topic.
func runImport(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "import", importText,
		"gatewatch-ingest import consumers keys.csv\ngatewatch-ingest import --dry-run changes releases.jsonl")
	file := configFlag(fs)
	dry := fs.Bool("dry-run", false, "read the file and say what would be imported")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if err := checkImport(fs.Args()); err != nil {
		return err
	}
	cfg, err := config.Load(*file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	text, err := os.ReadFile(fs.Arg(1))
	if err != nil {
		return daemon.Usage(err)
	}
	if fs.Arg(0) == "changes" {
		return importChanges(ctx, env, cfg, fs.Arg(1), text, *dry)
	}
	events, err := keyevent.ReadCSV(bytes.NewReader(text))
	if err != nil {
		return daemon.Usagef("%s: %w", fs.Arg(1), err)
	}
	if *dry {
		fmt.Fprintf(env.Stdout, "%s would be imported\n", daemon.Plural(int64(len(events)), "key"))
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
	// The ids must be those that `run` gives the same keys.
	if err := checkPepper(ctx, cfg.Ingest.PepperFile, conn); err != nil {
		return err
	}
	pepper, err := config.ReadSecret(cfg.Ingest.PepperFile)
	if err != nil {
		return daemon.Usage(err)
	}
	topic := ingest.TopicConfig{Name: "import " + filepath.Base(fs.Arg(1))}
	n, err := newNormaliser(topic, cfg.Ingest, []byte(pepper))
	if err != nil {
		return daemon.Usage(err)
	}
	writer := clickhouse.NewWriter(conn)
	defer writer.Close()
	sum := sha256.Sum256(text)
	if err := writer.InsertKeyEvents(ctx, topic, hashed(events, n), time.Now(), "import:"+hex.EncodeToString(sum[:])); err != nil {
		return clickhouse.Explain(cfg.ClickHouse, err)
	}
	fmt.Fprintf(env.Stdout, "%s imported; the same file again changes nothing\n", daemon.Plural(int64(len(events)), "key"))
	return nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
)

// A finding is one line of `check`.
type finding struct {
	Level  string `json:"level"` // ok, warn or FAIL
	Name   string `json:"name"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelFail = "FAIL"
)

// findings collects lines.
type findings []finding

func (f *findings) ok(name, format string, args ...any) {
	*f = append(*f, finding{levelOK, name, fmt.Sprintf(format, args...), ""})
}

func (f *findings) warn(name, remedy, format string, args ...any) {
	*f = append(*f, finding{levelWarn, name, fmt.Sprintf(format, args...), remedy})
}

func (f *findings) fail(name, remedy, format string, args ...any) {
	*f = append(*f, finding{levelFail, name, fmt.Sprintf(format, args...), remedy})
}

// runCheck checks the configuration, and with --connect what it names.
func runCheck(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "check", "checks the configuration, and with --connect the servers that it names",
		"gatewatch-ingest check --config gatewatch.yaml\ngatewatch-ingest check --config gatewatch.yaml --connect")
	file := configFlag(fs)
	connect := fs.Bool("connect", false, "talk to Kafka, ClickHouse and Alertmanager; makes the database if there is none, a scratch table, and removes that")
	defaults := fs.Bool("print-defaults", false, "print every field with its default and exit")
	output := fs.String("o", "table", "`format`: table or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if err := daemon.CheckOutput(*output, "table", "json"); err != nil {
		return err
	}
	if *defaults {
		_, err := fmt.Fprint(env.Stdout, config.Defaults())
		return err
	}
	cfg, err := config.Load(*file, env.Getenv)
	if err == nil {
		err = checkStatic(cfg)
	}
	if err != nil {
		return daemon.Usage(err)
	}
	var found findings
	found.ok("configuration", "%s: %s", cfg.File(), daemon.Plural(int64(len(cfg.Kafka.Topics)), "topic"))
	if *connect {
		checkConnect(ctx, cfg, &found)
	}
	if err := writeFindings(env, *output, found); err != nil {
		return err
	}
	for _, f := range found {
		if f.Level == levelFail {
			return daemon.Unreachable(nil)
		}
	}
	return nil
}

// checkStatic finds what the loader can't know: formats, mappings and files.
func checkStatic(cfg *config.Config) error {
	var faults []error
	for i, t := range cfg.Kafka.Topics {
		path := fmt.Sprintf("kafka.topics[%d]", i)
		f, err := findFormat(t.Format)
		if err != nil && t.Format != formatAuto && !slices.Contains(eventFormats(), t.Format) {
			faults = append(faults, cfg.Fault(path+".format", "%v", err))
			continue
		}
		if _, err := newDecoder(t, nil, nil); err != nil {
			faults = append(faults, cfg.Fault(path+"."+cmp.Or(f.Needs, "format"), "%v", err))
		}
		if _, err := newNormaliser(t, cfg.Ingest, []byte(demoPepper)); err != nil {
			faults = append(faults, cfg.Fault(path, "%v", err))
		}
	}
	for _, f := range []struct{ path, file string }{
		{"kafka.tls.ca_file", cfg.Kafka.TLS.CAFile},
		{"kafka.tls.cert_file", cfg.Kafka.TLS.CertFile},
		{"kafka.tls.key_file", cfg.Kafka.TLS.KeyFile},
		{"kafka.sasl.password_file", cfg.Kafka.SASL.PasswordFile},
		{"clickhouse.password_file", cfg.ClickHouse.PasswordFile},
		{"clickhouse.ca_file", cfg.ClickHouse.CAFile},
		{"alert.slos", cfg.Alert.SLOs},
		{"alert.catalog", cfg.Alert.Catalog},
		{"alert.runbooks.dir", cfg.Alert.Runbooks.Dir},
	} {
		if f.file == "" {
			continue
		}
		if _, err := os.Stat(f.file); err != nil {
			reason := err
			if pe, ok := errors.AsType[*os.PathError](err); ok {
				reason = pe.Err
			}
			faults = append(faults, cfg.Fault(f.path, "%s: %v; correct the path (relative ones are relative to the configuration file)", f.file, reason))
		}
	}
	return errors.Join(faults...)
}

func writeFindings(env *daemon.Env, output string, found findings) error {
	if output == "json" {
		return writeJSON(env.Stdout, map[string]any{"schema": "gatewatch/check/v1", "findings": found})
	}
	p := &printer{w: env.Stdout}
	for _, f := range found {
		text := f.Text
		if f.Remedy != "" {
			text += "; " + f.Remedy
		}
		p.line("%-4s  %-14s %s", f.Level, f.Name, strings.ReplaceAll(text, "\n", "; "))
	}
	return p.err
}

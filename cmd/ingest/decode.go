package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/formats"
	"gatewatch/internal/ingest"
)

// maxLine bounds a line of standard input.
const maxLine = 64 << 20

// demoPepper hashes keys in `decode` when no pepper file is named: the ids are
// good for telling keys apart, and differ from those in ClickHouse.
const demoPepper = "gatewatch-decode-without-a-pepper-file"

type decodeFlags struct {
	framing, pepper, mapping, clientIP string
	redact, strict, list               bool
	topic                              ingest.TopicConfig
}

// runDecode reads messages on standard input and prints what `run` would read from them.
func runDecode(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "decode", "prints what is read from messages on standard input, one JSON object a record",
		"tail -n 100 access.log | gatewatch-ingest decode --format nginx_combined")
	var f decodeFlags
	fs.StringVar(&f.topic.Format, "format", "", "`name` of the format; --formats lists them")
	fs.BoolVar(&f.list, "formats", false, "list the formats")
	fs.StringVar(&f.framing, "framing", "lines", "lines: one message a line; base64-lines: one in base64 a line; message: all of the input is one")
	fs.BoolVar(&f.redact, "redact", true, "mask what `run` would mask; =false shows values as logged, but never an API key")
	fs.BoolVar(&f.strict, "strict", false, "exit 1 if any message can't be read")
	fs.StringVar(&f.topic.TimeZone, "time-zone", "UTC", "IANA `zone` of times without one")
	fs.StringVar(&f.topic.LogFormat, "log-format", "", "the gateway's own format `string`, for formats such as nginx_custom")
	fs.StringVar(&f.mapping, "mapping", "", "YAML `file` with the mapping for format json, as in a topic's configuration")
	fs.StringVar(&f.pepper, "pepper-file", "", "`file` with the secret that API keys are hashed with")
	fs.StringVar(&f.clientIP, "client-ip", normalise.ClientIPTruncated, "truncated, full or none")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if f.list {
		fmt.Fprintf(env.Stdout, "%-26s %s\n", formatAuto, "one of those below that need nothing more, found out from the first messages")
		for _, known := range formats.All() {
			summary := known.Summary
			if known.Needs != "" {
				summary += " (needs " + known.Needs + ")"
			}
			fmt.Fprintf(env.Stdout, "%-26s %s\n", known.Name, summary)
		}
		return nil
	}
	if f.topic.Format == "" || fs.NArg() > 0 {
		return daemon.Usagef("decode reads standard input and needs --format; --formats lists the names")
	}
	d, err := f.decoder(env.Stderr)
	if err != nil {
		return daemon.Usage(err)
	}
	// A read of standard input knows no context, so it is left behind when ctx ends.
	done := make(chan error, 1)
	go func() { done <- decodeAll(ctx, env, d, &f) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil
	}
}

// decoder makes the decoder that `run` would use.
func (f *decodeFlags) decoder(stderr io.Writer) (*decodePrinter, error) {
	if f.mapping != "" {
		b, err := os.ReadFile(f.mapping)
		if err != nil {
			return nil, err
		}
		dec := yaml.NewDecoder(bytes.NewReader(b))
		dec.KnownFields(true)
		if err := dec.Decode(&f.topic.Mapping); err != nil {
			return nil, fmt.Errorf("%s: %w", f.mapping, err)
		}
	}
	pepper := []byte(demoPepper)
	if f.pepper != "" {
		text, err := config.ReadSecret(f.pepper)
		if err != nil {
			return nil, err
		}
		pepper = []byte(text)
	}
	c := ingest.DefaultConfig()
	c.ClientIP = f.clientIP
	n, err := newNormaliser(f.topic, c, pepper)
	if err != nil {
		return nil, err
	}
	given := n
	if !f.redact {
		given = nil
	}
	d, err := newDecoder(f.topic, given, func(format, why string) {
		fmt.Fprintf(stderr, "format %s: %s\n", format, why)
	})
	if err != nil {
		return nil, err
	}
	return &decodePrinter{decoder: d, raw: !f.redact, normaliser: n}, nil
}

// decodeAll prints all messages, and a summary on standard error.
func decodeAll(ctx context.Context, env *daemon.Env, p *decodePrinter, f *decodeFlags) error {
	out := bufio.NewWriterSize(env.Stdout, 1<<16)
	in, err := newFraming(f.framing, env.Stdin)
	if err != nil {
		return daemon.Usage(err)
	}
	for ctx.Err() == nil {
		if in.idle() { // as behind tail -f
			if err := out.Flush(); err != nil {
				return err
			}
		}
		msg, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		var bad *accesslog.ParseError
		if err != nil && !errors.As(err, &bad) {
			return fmt.Errorf("read standard input: %w", err)
		}
		if err := p.print(out, msg, bad); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "%s, %s, %d unreadable\n",
		daemon.Plural(int64(p.messages), "message"), daemon.Plural(int64(p.records), "record"), p.unreadable)
	if f.strict && p.unreadable > 0 {
		return &daemon.Exit{Code: daemon.CodeNo}
	}
	return nil
}

// framing cuts standard input into messages.
type framing struct {
	in     *bufio.Reader
	base64 bool
	whole  bool // all of the input is one message
	read   bool
	line   []byte
}

func newFraming(name string, r io.Reader) (*framing, error) {
	switch name {
	case "lines", "base64-lines", "message":
		return &framing{in: bufio.NewReaderSize(r, 1<<16), base64: name == "base64-lines", whole: name == "message"}, nil
	}
	return nil, fmt.Errorf("framing %q is not lines, base64-lines or message", name)
}

// idle reports whether the next message has to be waited for.
func (f *framing) idle() bool { return f.in.Buffered() == 0 }

// next returns the next message, which is valid until the call after. One that
// isn't base64 is a ParseError.
func (f *framing) next() ([]byte, error) {
	if f.whole {
		if f.read {
			return nil, io.EOF
		}
		f.read = true
		return io.ReadAll(f.in)
	}
	line, err := f.nextLine()
	if err != nil || !f.base64 {
		return line, err
	}
	msg, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
	if err != nil {
		return nil, &accesslog.ParseError{Reason: accesslog.ReasonEncoding, Detail: "not base64"}
	}
	return msg, nil
}

// nextLine returns a line without its end.
func (f *framing) nextLine() ([]byte, error) {
	f.line = f.line[:0]
	for {
		part, err := f.in.ReadSlice('\n')
		f.line = append(f.line, part...)
		switch {
		case len(f.line) > maxLine:
			return nil, fmt.Errorf("a line is longer than %d MiB", maxLine>>20)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (len(f.line) == 0 || !errors.Is(err, io.EOF)):
			return nil, err
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(f.line, []byte("\n")), []byte("\r")), nil
	}
}

package envelope

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/jsonscan"
)

// contents is an opened envelope.
type contents struct {
	payload                   string
	host, pod, namespace, app string
}

// open opens the outermost envelope of msg; without one the payload is empty.
func open(msg []byte, arena *accesslog.Arena) (contents, error) {
	var in contents
	msg = bytes.TrimSpace(msg)
	if len(msg) == 0 {
		return in, nil
	}
	if msg[0] != '{' {
		line := unsafe.String(unsafe.SliceData(msg), len(msg))
		if in.payload = containerLine(line); in.payload == "" {
			in.payload, in.host = syslogLine(line)
		}
		return in, nil
	}
	o := opener{in: &in, arena: arena}
	o.scan.Reset(msg, arena)
	if err := o.object(""); err != nil {
		return in, err
	}
	return in, o.scan.End()
}

// containerLine takes the prefix off a line of the Kubernetes container runtime
// interface: "2026-01-02T03:04:05.678901234Z stdout F line" (CRI logging design).
func containerLine(s string) string {
	stamp, rest, ok := strings.Cut(s, " ")
	if !ok || len(stamp) < 20 || stamp[4] != '-' || stamp[10] != 'T' {
		return ""
	}
	stream, rest, _ := strings.Cut(rest, " ")
	tag, line, _ := strings.Cut(rest, " ")
	if stream != "stdout" && stream != "stderr" || tag != "F" && tag != "P" && !strings.HasPrefix(tag, "F:") {
		return ""
	}
	return line
}

type opener struct {
	scan  jsonscan.Scanner
	arena *accesslog.Arena
	in    *contents
	rank  int // of the payload that was found
}

// object reads an object whose keys are below prefix ("", "kubernetes." …).
func (o *opener) object(prefix string) error {
	if err := o.scan.Open('{'); err != nil {
		return err
	}
	for {
		key, ok, err := o.scan.Key()
		if err != nil || !ok {
			return err
		}
		if sub := inner(prefix, key); sub != "" && o.scan.Peek() == '{' {
			if err := o.object(sub); err != nil {
				return err
			}
			continue
		}
		v, err := o.scan.Value()
		if err != nil {
			return err
		}
		o.take(prefix, key, v)
	}
}

// inner names the objects that are looked into.
func inner(prefix, key string) string {
	switch prefix {
	case "":
		switch key {
		case "kubernetes", "host", "agent", "event":
			return key
		}
	case "kubernetes":
		switch key {
		case "pod", "node", "labels", "pod_labels":
			return key
		}
	}
	return ""
}

func (o *opener) take(prefix, key string, v jsonscan.Value) {
	if v.Kind == jsonscan.Object && prefix == "" && (key == "log" || key == "message" || key == "data") {
		o.payload(1, v.Text)
	}
	if v.Kind != jsonscan.String {
		return
	}
	switch prefix {
	case "":
		o.takeTop(key, v.Text)
	case "event":
		if key == "original" {
			o.payload(2, v.Text)
		}
	case "host":
		if key == "name" || key == "hostname" && o.in.host == "" {
			o.in.host = v.Text
		}
	case "agent", "node":
		if (key == "name" || key == "hostname") && o.in.host == "" {
			o.in.host = v.Text
		}
	case "pod":
		if key == "name" {
			o.in.pod = v.Text
		}
	case "labels", "pod_labels":
		if key == "app.kubernetes.io/name" || key == "app" && o.in.app == "" {
			o.in.app = v.Text
		}
	case "kubernetes":
		o.takeKubernetes(key, v.Text)
	}
}

func (o *opener) takeTop(key, text string) {
	switch key {
	case "log":
		o.payload(4, text)
	case "message":
		o.payload(3, text)
	case "data_base64":
		o.payload(2, o.fromBase64(text))
	case "MESSAGE", "line", "_raw", "data":
		o.payload(2, text)
	case "host", "hostname", "_HOSTNAME":
		o.in.host = text
	case "pod", "pod_name":
		o.in.pod = text
	case "namespace", "namespace_name":
		o.in.namespace = text
	}
}

// fromBase64 returns the bytes of a CloudEvent's data_base64 in the arena; empty if it is broken.
func (o *opener) fromBase64(text string) string {
	b := o.arena.Grow(base64.StdEncoding.DecodedLen(len(text)))
	b, err := base64.StdEncoding.AppendDecode(b, unsafe.Slice(unsafe.StringData(text), len(text)))
	if err != nil || len(b) == 0 {
		return ""
	}
	o.arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (o *opener) takeKubernetes(key, text string) {
	switch key {
	case "pod_name":
		o.in.pod = text
	case "host", "pod_node_name":
		o.in.host = text
	case "namespace_name", "namespace", "pod_namespace":
		o.in.namespace = text
	}
}

// payload keeps the candidate of the highest rank: a line before an object.
func (o *opener) payload(rank int, text string) {
	if rank > o.rank && text != "" {
		o.rank, o.in.payload = rank, text
	}
}

package main

import (
	"bytes"
	"context"
	"strings"
	"sync"

	"gatewatch/internal/devstack/proxy"
)

// blockBegun is how many bytes after an INSERT are more than the protocol's
// own: its rows are on their way.
const blockBegun = 400

// inserts follows the INSERTs that pass a proxy and lets one act at a chosen
// moment of one of them.
type inserts struct {
	mu    sync.Mutex
	conns map[int]*insert
	armed *trap
}

// An insert is the one that a connection is in the middle of.
type insert struct {
	table string
	sent  int // bytes since its INSERT
}

// A trap acts once, at the first chunk that it is for.
type trap struct {
	table     string // empty: any
	direction proxy.Direction
	after     int // bytes that were sent
	act       func() proxy.Verdict
	sprung    chan struct{} // closed when the chunk has come
}

// watch makes p's judge.
func watch(p *proxy.Proxy) *inserts {
	w := &inserts{conns: map[int]*insert{}}
	p.Judge(w.judge)
	return w
}

func (w *inserts) judge(c proxy.Chunk) proxy.Verdict {
	w.mu.Lock()
	i := w.conns[c.Conn]
	if i == nil {
		i = &insert{}
		w.conns[c.Conn] = i
	}
	if c.Direction == proxy.ToServer {
		if _, rest, ok := bytes.Cut(c.Bytes, []byte("INSERT INTO ")); ok {
			name, _, _ := strings.Cut(string(rest[:min(len(rest), 100)]), " ")
			*i = insert{table: name[strings.LastIndexByte(name, '.')+1:]}
		} else {
			i.sent += len(c.Bytes)
		}
	}
	t := w.armed
	if t == nil || i.table == "" || t.table != "" && t.table != i.table || t.direction != c.Direction || i.sent < t.after {
		w.mu.Unlock()
		return proxy.Pass
	}
	w.armed = nil
	i.table = ""
	w.mu.Unlock()
	close(t.sprung)
	return t.act()
}

// arm lets act decide about the first chunk in a direction of an INSERT into
// table, of which after bytes are sent. It returns when the chunk has come, while
// act still runs.
func (w *inserts) arm(ctx context.Context, table string, d proxy.Direction, after int, act func() proxy.Verdict) error {
	t := &trap{table: table, direction: d, after: after, act: act, sprung: make(chan struct{})}
	w.mu.Lock()
	w.armed = t
	w.mu.Unlock()
	select {
	case <-t.sprung:
		return nil
	case <-ctx.Done():
		w.mu.Lock()
		w.armed = nil
		w.mu.Unlock()
		return context.Cause(ctx)
	}
}

// Package proxy is a TCP proxy that makes faults: it delays, holds or cuts
// connections at a chosen chunk in a chosen direction.
package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A Direction is where bytes go.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// A Chunk is what was read at once; of Kafka, a whole request or response.
type Chunk struct {
	Conn      int // counts the connections
	Direction Direction
	N         int // counts the chunks of its connection and direction, from 0
	Bytes     []byte
}

// A Verdict is what happens to a chunk.
type Verdict int

// The verdicts.
const (
	Pass    Verdict = iota
	Swallow         // goes nowhere; the connection stays
	Cut             // both sides are reset
)

// Config says what to stand in front of.
type Config struct {
	Target string
	// Listen is the address to listen on. Default: a free one.
	Listen string
	// Frames reads Kafka's requests and responses whole.
	Frames bool
}

// A Proxy is one that runs.
type Proxy struct {
	Addr string

	frames   bool
	listener net.Listener

	mu     sync.Mutex
	target string
	judge  func(Chunk) Verdict // nil passes all
	conns  map[net.Conn]struct{}
	count  int
	closed bool
}

// Start starts a proxy.
func Start(c Config) (*Proxy, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	p := &Proxy{Addr: l.Addr().String(), frames: c.Frames, listener: l, target: c.Target, conns: map[net.Conn]struct{}{}}
	go p.serve()
	return p, nil
}

// Judge lets f decide about every chunk from now on; nil passes all. f may wait.
func (p *Proxy) Judge(f func(Chunk) Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge = f
}

// Retarget sends connections that are made from now on to another address.
func (p *Proxy) Retarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Reset cuts all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Reset()
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // a reset, not an end
	}
	_ = c.Close()
}

func (p *Proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(c)
	}
}

func (p *Proxy) connect(client net.Conn) {
	p.mu.Lock()
	target, n := p.target, p.count
	p.count++
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	if !p.keep(client, server) {
		return
	}
	done := make(chan struct{}, 2)
	go func() { p.copy(server, client, n, ToServer); done <- struct{}{} }()
	go func() { p.copy(client, server, n, ToClient); done <- struct{}{} }()
	<-done
	<-done
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
	_, _ = client.Close(), server.Close()
}

// keep remembers connections, or resets them if the proxy is closed.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			reset(c)
			continue
		}
		p.conns[c] = struct{}{}
	}
	return !p.closed
}

// copy passes chunks on until either side ends or a verdict cuts both.
func (p *Proxy) copy(to, from net.Conn, conn int, d Direction) {
	buf := make([]byte, 64<<10)
	for n := 0; ; n++ {
		b, err := p.read(from, &buf)
		if err != nil {
			if t, ok := to.(*net.TCPConn); ok {
				_ = t.CloseWrite()
			}
			return
		}
		p.mu.Lock()
		judge := p.judge
		p.mu.Unlock()
		verdict := Pass
		if judge != nil {
			verdict = judge(Chunk{Conn: conn, Direction: d, N: n, Bytes: b})
		}
		switch verdict {
		case Cut:
			reset(to)
			reset(from)
			return
		case Swallow:
			continue
		case Pass:
		}
		if _, err := to.Write(b); err != nil {
			reset(from)
			return
		}
	}
}

func (p *Proxy) read(from net.Conn, buf *[]byte) ([]byte, error) {
	if !p.frames {
		n, err := from.Read(*buf)
		return (*buf)[:n], err
	}
	if _, err := io.ReadFull(from, (*buf)[:4]); err != nil {
		return nil, err
	}
	size := 4 + int(int32(binary.BigEndian.Uint32(*buf)))
	if size < 4 || size > 256<<20 {
		return nil, fmt.Errorf("a frame of %d bytes", size)
	}
	if size > len(*buf) {
		*buf = append(*buf, make([]byte, size-len(*buf))...)
	}
	_, err := io.ReadFull(from, (*buf)[4:size])
	return (*buf)[:size], err
}

// API returns the API key of a Kafka request.
func (c Chunk) API() int16 {
	if len(c.Bytes) < 6 {
		return -1
	}
	return int16(binary.BigEndian.Uint16(c.Bytes[4:]))
}

// Correlation returns the correlation id of a Kafka request or response.
func (c Chunk) Correlation() uint32 {
	at := 8
	if c.Direction == ToClient {
		at = 4
	}
	if len(c.Bytes) < at+4 {
		return 0
	}
	return binary.BigEndian.Uint32(c.Bytes[at:])
}

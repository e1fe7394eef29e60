// Command enginehost runs the ClickHouse engine of libchdb in a process of its
// own, with a relay in front of its ports. The engine listens on ports that
// only the relay knows; when a client dies in mid-insert, the relay half-closes
// towards the engine and reads on, because the engine aborts when it writes to
// a client that is gone. The process ends when its standard input does, so it
// never outlives the one who started it.
//
// It is a development and test tool: the only binary that loads a shared
// library, so that the shipped ones stay static.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: enginehost LIBRARY FOLDER NATIVE_ADDRESS HTTP_ADDRESS")
		os.Exit(2)
	}
	runtime.LockOSThread()
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	dir := os.Args[2]
	ports := filepath.Join(dir, "ports.tsv")
	_ = os.Remove(ports)
	g, err := newGuard(dir)
	if err != nil {
		fatal(err)
	}
	go serve(g, ports, os.Args[3], os.Args[4])
	if err := runEngine(os.Args[1], dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runEngine blocks in libchdb's clickhouse-local entry point until standard input ends.
func runEngine(lib, dir string) error {
	h, err := purego.Dlopen(lib, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", lib, err)
	}
	var (
		handleSignals func(int32)
		cmdline       func(int32, unsafe.Pointer) uintptr
		resultError   func(uintptr) string
	)
	purego.RegisterLibFunc(&handleSignals, h, "chdb_set_signal_handlers_enabled")
	purego.RegisterLibFunc(&cmdline, h, "chdb_query_cmdline")
	purego.RegisterLibFunc(&resultError, h, "chdb_result_error")
	handleSignals(0)
	args := []string{
		"clickhouse-local", "--config-file", filepath.Join(dir, "config.xml"),
		"--queries-file", filepath.Join(dir, "boot.sql"), "--queries-file", "/dev/stdin",
	}
	argv := make([]*byte, 0, len(args)+1)
	for _, a := range args {
		argv = append(argv, &append([]byte(a), 0)[0])
	}
	argv = append(argv, nil)
	r := cmdline(int32(len(args)), unsafe.Pointer(&argv[0]))
	runtime.KeepAlive(argv)
	if r != 0 {
		if msg := resultError(r); msg != "" {
			return fmt.Errorf("engine: %s", msg)
		}
	}
	return nil
}

// serve waits for the engine to write its ports, opens the relays and says so
// on standard output: "ready NATIVE HTTP".
func serve(g guard, ports, native, http string) {
	var f []string
	for {
		if _, err := os.Stat(ports); err == nil {
			b, err := os.ReadFile(ports + ".tmp")
			if err != nil {
				fatal(err)
			}
			if f = strings.Fields(string(b)); len(f) == 2 {
				break
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	fmt.Println("ready",
		relay(native, func(c *net.TCPConn) {
			hello, refusal, err := g.check(c)
			if err != nil || refusal != nil {
				_, _ = c.Write(refusal)
				_ = c.Close()
				return
			}
			pipe(c, "127.0.0.1:"+f[0], hello)
		}),
		relay(http, func(c *net.TCPConn) { pipe(c, "127.0.0.1:"+f[1], nil) }))
}

// relay gives every client of addr to serve and returns the address that it listens on.
func relay(addr string, serve func(*net.TCPConn)) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				continue
			}
			go serve(c.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// pipe copies both ways between a client and the engine, which is given head first.
func pipe(client *net.TCPConn, engine string, head []byte) {
	defer client.Close()
	c, err := net.Dial("tcp", engine)
	if err != nil {
		return
	}
	e := c.(*net.TCPConn)
	defer e.Close()
	if _, err := e.Write(head); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(client, e); err != nil {
			_, _ = io.Copy(io.Discard, e)
		}
		_ = client.CloseWrite()
	}()
	_, _ = io.Copy(e, client)
	_ = e.CloseWrite()
	<-done
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

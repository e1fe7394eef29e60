// Package zookeeper runs a real Apache ZooKeeper, for tests of replicated tables.
// Its jars come from Maven, pinned by checksum. It needs Java 17 or newer, and
// Maven the first time.
package zookeeper

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/maven"
)

// Version is ZooKeeper's.
const Version = "3.9.4"

var (
	//go:embed pom.xml
	pom []byte
	//go:embed jars.tsv
	jars string
)

const startTimeout = 60 * time.Second

// A Server is a running ZooKeeper.
type Server struct {
	Addr    string // host:port
	process *leash.Process
}

// Start starts a server with its data below dir and returns when it answers.
func Start(ctx context.Context, dir string, log io.Writer) (*Server, error) {
	java, err := maven.Java(ctx)
	if err != nil {
		return nil, err
	}
	lib, err := maven.Jars(ctx, log, maven.Set{Name: "zookeeper", What: "Apache ZooKeeper (13 MB, once)", Version: Version, POM: pom, Sums: jars})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().(*net.TCPAddr)
	_ = l.Close()
	settings := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("dataDir=%s\nclientPortAddress=127.0.0.1\nclientPort=%d\nadmin.enableServer=false\n", filepath.Join(dir, "data"), addr.Port)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(dir, "zookeeper.log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p, err := leash.Start(out, java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true", "-cp", filepath.Join(lib, "*"),
		"org.apache.zookeeper.server.ZooKeeperServerMain", settings)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: addr.String(), process: p}
	return s, s.ready(ctx, out.Name())
}

// ready waits until the server takes connections.
func (s *Server) ready(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-s.process.Done():
		case <-ctx.Done():
			s.Kill()
		case <-time.After(100 * time.Millisecond):
			continue
		}
		text, _ := os.ReadFile(log)
		return fmt.Errorf("ZooKeeper did not start: %w: %s", err, text[max(0, len(text)-1000):])
	}
}

// Kill ends the server.
func (s *Server) Kill() { s.process.Kill() }

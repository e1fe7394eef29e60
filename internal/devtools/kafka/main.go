// Command kafka runs Apache Kafka in the foreground, with data in a folder of
// its own, until it is interrupted: one node, one listener without security and
// two with TLS. It prints the addresses, and what to write into gatewatch.yaml.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/realkafka"
)

const stopTimeout = 30 * time.Second

func main() {
	leash.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("kafka", flag.ContinueOnError)
	dir := fs.String("dir", filepath.Join(os.TempDir(), "gatewatch-kafka"), "data and settings; kept, and used again by the next start: `FOLDER`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "kafka: starting Apache Kafka %s …\n", realkafka.Version)
	s, err := realkafka.Start(ctx, realkafka.Config{Dir: *dir, TLS: true, Log: os.Stderr, Settings: map[string]string{"auto.create.topics.enable": "true"}})
	if err != nil {
		return err
	}
	fmt.Printf(`Apache Kafka %s answers. Data: %s
  without security   %s
  TLS and SASL       %s   PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; user %s, password %s
  mutual TLS         %s   cert_file %s, key_file %s
  ca_file of both    %s

kafka:
  brokers: [%q]

Topics are made at their first use. Ctrl-C ends it.
`, realkafka.Version, *dir, s.Addr, s.SASLAddr, realkafka.User, realkafka.Password, s.MutualAddr, s.CertFile, s.KeyFile, s.CAFile, s.Addr)
	<-ctx.Done()
	fmt.Fprintln(os.Stderr, "kafka: stopping …")
	return s.Stop(stopTimeout)
}

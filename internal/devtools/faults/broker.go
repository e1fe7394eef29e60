package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/realkafka"
)

const (
	brokerKfake = "kfake"
	brokerKafka = "kafka"
	brokerArg   = "__broker"
)

// A broker is a Kafka in a process of its own, which can be killed and started again on its data.
type broker interface {
	Addr() string
	Kill()
	// Start starts it again after Kill; newPorts gives it another port.
	Start(ctx context.Context, newPorts bool) error
	// Move moves partition leaders and group coordinators to other nodes.
	Move() error
	Stop()
}

// kfakeBroker is this program run again with kfake.
type kfakeBroker struct {
	dir, advertise string
	topics         []string
	nodes          int
	addr           string
	process        *leash.Process
	pipe           *os.File // its commands
}

func startKfake(ctx context.Context, dir, advertise string, topics []string, nodes int) (*kfakeBroker, error) {
	b := &kfakeBroker{dir: dir, advertise: advertise, topics: topics, nodes: nodes}
	return b, b.Start(ctx, true)
}

func (b *kfakeBroker) Addr() string { return b.addr }

func (b *kfakeBroker) Start(ctx context.Context, newPorts bool) error {
	port := "0"
	if !newPorts {
		_, port, _ = net.SplitHostPort(b.addr)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	commands := filepath.Join(b.dir, "commands")
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(commands, nil, 0o600); err != nil {
		return err
	}
	if b.pipe, err = os.OpenFile(commands, os.O_WRONLY|os.O_APPEND, 0); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(b.dir, "broker.out"))
	if err != nil {
		return err
	}
	defer out.Close()
	b.process, err = leash.Start(out, self, brokerArg, b.dir, port, b.advertise, strconv.Itoa(b.nodes), strings.Join(b.topics, ","))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			return err
		}
		if addr, _, ok := strings.Cut(string(text), "\n"); ok && strings.HasPrefix(addr, "127.") {
			b.addr = addr
			return nil
		}
		select {
		case <-b.process.Done():
			return fmt.Errorf("kfake ended: %s", text)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return ctx.Err()
}

func (b *kfakeBroker) Kill() {
	b.process.Kill()
	b.pipe.Close()
}

func (b *kfakeBroker) Move() error {
	_, err := fmt.Fprintln(b.pipe, "move")
	return err
}

func (b *kfakeBroker) Stop() { b.Kill() }

// serveBroker is the child: folder, port, advertised address, nodes, topics.
func serveBroker(args []string) int {
	port, err := strconv.Atoi(args[1])
	nodes, nerr := strconv.Atoi(args[3])
	if err = errors.Join(err, nerr); err != nil {
		fmt.Println(err)
		return 1
	}
	real := ""
	opts := []kfake.Opt{
		kfake.NumBrokers(nodes), kfake.DataDir(filepath.Join(args[0], "data")), kfake.GroupMinSessionTimeout(time.Second),
		kfake.SeedTopics(devstack.Partitions, strings.Split(args[4], ",")...),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}),
	}
	if port != 0 {
		opts = append(opts, kfake.Ports(port))
	}
	if args[2] != "" {
		opts = append(opts, kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err != nil {
				return nil, err
			}
			real = l.Addr().String()
			return advertised{l, args[2]}, nil
		}))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if real == "" {
		real = c.ListenAddrs()[0]
	}
	fmt.Println(real)
	obey(c, filepath.Join(args[0], "commands"))
	return 0
}

// obey reads commands from a file that grows, for as long as the process lives.
func obey(c *kfake.Cluster, path string) {
	f, err := os.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if line == "move\n" {
			c.ShufflePartitionLeaders()
			c.RehashCoordinators()
		}
	}
}

// advertised is a listener that tells clients another address.
type advertised struct {
	net.Listener
	addr string
}

func (a advertised) Addr() net.Addr {
	t, err := net.ResolveTCPAddr("tcp", a.addr)
	if err != nil {
		return a.Listener.Addr()
	}
	return t
}

// kafkaBroker is Apache Kafka.
type kafkaBroker struct {
	config realkafka.Config
	server *realkafka.Server
}

func startKafka(ctx context.Context, dir, advertise string, topics []string) (*kafkaBroker, error) {
	b := &kafkaBroker{config: realkafka.Config{Dir: dir, Advertise: advertise, Log: os.Stderr}}
	if err := b.Start(ctx, false); err != nil {
		return nil, err
	}
	// The broker itself is asked: behind a proxy that does not know it yet nobody answers.
	var list []kafka.TopicConfig
	for _, t := range topics {
		list = append(list, kafka.TopicConfig{Topic: t, NumPartitions: devstack.Partitions, ReplicationFactor: 1})
	}
	conn, err := kafka.DialContext(ctx, "tcp", b.Addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return b, conn.CreateTopics(list...)
}

func (b *kafkaBroker) Addr() string { return b.server.Addr }

func (b *kafkaBroker) Start(ctx context.Context, newPorts bool) (err error) {
	b.config.NewPorts = newPorts
	b.server, err = realkafka.Start(ctx, b.config)
	return err
}

func (b *kafkaBroker) Kill()       { b.server.Kill() }
func (b *kafkaBroker) Move() error { return errors.New("one node has nowhere to move to") }
func (b *kafkaBroker) Stop()       { b.server.Kill() }

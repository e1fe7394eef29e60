package devstack

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Partitions is how many partitions each topic of a stack has by default: as many as the
// machine that it is made for has cores.
const Partitions = 2

// A Broker is the Kafka broker of a stack: one in this process, unless it was given.
type Broker struct {
	Addr string

	cluster *kfake.Cluster // nil: a given one
}

// startBroker starts a broker that keeps its data in dir, with these topics.
func startBroker(dir string, partitions int, topics []string) (*Broker, error) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(partitions), topics...), kfake.DataDir(dir),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		return nil, fmt.Errorf("start the embedded Kafka broker: %w", err)
	}
	return &Broker{Addr: c.ListenAddrs()[0], cluster: c}, nil
}

func (b *Broker) close() {
	if b.cluster != nil {
		b.cluster.Close()
	}
}

package devstack

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Partitions is how many partitions each topic of a stack has: as many as the
// machine that it is made for has cores.
const Partitions = 2

// A Broker is an embedded Kafka broker in this process.
type Broker struct {
	Addr string

	cluster *kfake.Cluster
}

// startBroker starts a broker that keeps its data in dir, with these topics.
func startBroker(dir string, topics []string) (*Broker, error) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(Partitions, topics...), kfake.DataDir(dir),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		return nil, fmt.Errorf("start the embedded Kafka broker: %w", err)
	}
	return &Broker{Addr: c.ListenAddrs()[0], cluster: c}, nil
}

func (b *Broker) close() { b.cluster.Close() }

// Ends returns how many messages each topic holds.
func (b *Broker) Ends(ctx context.Context, topics []string) (map[string]int64, error) {
	client := &kafka.Client{Addr: kafka.TCP(b.Addr), Timeout: 5 * time.Second}
	ask := map[string][]kafka.OffsetRequest{}
	for _, t := range topics {
		for p := range Partitions {
			ask[t] = append(ask[t], kafka.LastOffsetOf(p))
		}
	}
	res, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		return nil, fmt.Errorf("ask for end offsets: %w", err)
	}
	ends := map[string]int64{}
	for t, parts := range res.Topics {
		for _, p := range parts {
			if p.Error != nil {
				return nil, fmt.Errorf("end offset of %s/%d: %w", t, p.Partition, p.Error)
			}
			ends[t] += p.LastOffset
		}
	}
	return ends, nil
}

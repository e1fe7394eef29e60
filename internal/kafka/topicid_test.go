package kafka

import (
	"encoding/hex"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// The id of a topic stays, and is another one once the topic is made anew; the
// number of a life is not part of the name that Kafka knows.
func TestTopicIDTellsATopicMadeAnew(t *testing.T) {
	t.Parallel()
	c := client(t, broker(t, kfake.SeedTopics(2, "orders")), nil)
	id := func(topic string) string {
		t.Helper()
		s, err := c.TopicID(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := hex.DecodeString(s); err != nil || len(b) != 16 {
			t.Fatalf("the id is %q, want 32 hexadecimal digits", s)
		}
		return s
	}
	first := id("orders")
	if again, life := id("orders"), id("orders#7"); again != first || life != first {
		t.Errorf("ids %s, %s, %s of one topic", first, again, life)
	}
	if _, err := c.TopicID(t.Context(), "nowhere"); err == nil {
		t.Error("a topic that is not there has an id")
	}
	if _, err := c.client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{"orders"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "orders", NumPartitions: 2, ReplicationFactor: 1}}}); err != nil {
		t.Fatal(err)
	}
	if anew := id("orders"); anew == first {
		t.Errorf("the id of the new topic is that of the old one, %s", anew)
	}
}

// An old broker has no ids, and is not asked for any.
func TestKnowsVersion(t *testing.T) {
	answer := []byte{0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 11, 0, 3, 0, 0, 0, 9}
	for version, want := range map[int16]bool{9: true, 10: false} {
		if got, err := knowsVersion(answer, 3, version); err != nil || got != want {
			t.Errorf("Metadata %d: %v, %v; want %v", version, got, err, want)
		}
	}
	if _, err := knowsVersion(answer[:9], 3, 10); err == nil {
		t.Error("an answer that ends too early is taken")
	}
}

func FuzzParseTopicID(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x0a127.0.0.1\x00\x00#\x84\x00\x00\x02c\x00\x00\x00\x00\x02\x00\x00\x07orders0123456789abcdef\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if res, err := parseTopicID(b); err == nil && res.id != "" && len(res.id) != 32 {
			t.Errorf("id %q", res.id)
		}
	})
}

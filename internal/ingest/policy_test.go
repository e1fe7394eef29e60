package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// excerpts is a block that keeps the dead letters themselves.
type excerpts struct {
	block
	letters *[]DeadLetter
}

func (b *excerpts) AppendDeadLetter(d *DeadLetter) {
	*b.letters = append(*b.letters, *d)
	b.block.AppendDeadLetter(d)
}

type excerptStore struct {
	*store
	letters *[]DeadLetter
}

func (s excerptStore) NewBlock(TopicConfig) Block {
	return &excerpts{block: block{s: s.store}, letters: s.letters}
}

// A topic has its own place for messages that can't be read, or the general
// one, or none; and its excerpts can be left out.
func TestDeadLetterPolicy(t *testing.T) {
	for _, c := range []struct {
		general string
		topic   TopicConfig
		want    string // topic that the message goes to
		excerpt string
	}{
		{"", TopicConfig{}, "", "BAD"},
		{"dead", TopicConfig{}, "dead", "BAD"},
		{"dead", TopicConfig{DeadLetterTopic: "own"}, "own", "BAD"},
		{"", TopicConfig{DeadLetterTopic: "own", WithoutExcerpts: true}, "own", ""},
	} {
		m := &member{log: &log{messages: []Message{{Offset: 0, Time: time.Unix(1000, 0), Value: []byte("bad")}}, end: 1}, fault: func(string) error { return nil }}
		s := newStore()
		var letters []DeadLetter
		var mu sync.Mutex
		sent := ""
		conf := testConfig()
		conf.DeadLetterTopic = c.general
		c.topic.Name, c.topic.Format = "t", "numbers"
		p, err := New(conf, []TopicConfig{c.topic}, Deps{
			Source: source{m}, Sink: excerptStore{s, &letters}, Reached: s.reached, NewDecoder: func(TopicConfig) (Decoder, error) { return numbers{}, nil },
			Mask: func(s string) string { return "BAD" }, SchemaVersion: 1, Now: time.Now,
			Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
			DeadLetters: func(_ context.Context, topic string, messages []Message) error {
				mu.Lock()
				defer mu.Unlock()
				if len(messages) != 1 || string(messages[0].Value) != "bad" {
					return errors.New("not the message")
				}
				sent = topic
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		for range 1000 {
			m.mu.Lock()
			stored := m.commit.Offset == 1
			m.mu.Unlock()
			if stored {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		mu.Lock()
		if sent != c.want || len(letters) != 1 || letters[0].Excerpt != c.excerpt {
			t.Errorf("%+v: sent to %q, letters %+v", c, sent, letters)
		}
		mu.Unlock()
	}
}

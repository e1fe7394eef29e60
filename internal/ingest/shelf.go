package ingest

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// A shelf gives out the turns of large batches. Their blocks, which have grown,
// go from hand to hand while there is a backlog anywhere.
type shelf struct {
	turns *semaphore.Weighted

	mu     sync.Mutex
	used   int                // turns that are taken
	blocks map[string][]Block // by topic; with used never more than largeBatches
}

func newShelf() *shelf {
	return &shelf{turns: semaphore.NewWeighted(largeBatches), blocks: map[string][]Block{}}
}

// take waits for a turn; false if ctx has ended.
func (s *shelf) take(ctx context.Context) bool {
	if s.turns.Acquire(ctx, 1) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
	return true
}

// block returns a grown block for topic, nil if there is none.
func (s *shelf) block(topic string) Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.blocks[topic])
	if n == 0 {
		s.shrink(topic) // a new one will take its place
		return nil
	}
	b := s.blocks[topic][n-1]
	s.blocks[topic] = s.blocks[topic][:n-1]
	return b
}

// put ends a turn and takes its block back.
func (s *shelf) put(topic string, b Block) {
	b.Reset()
	s.mu.Lock()
	s.used--
	if s.used == 0 {
		clear(s.blocks) // the backlog is over
	} else {
		s.blocks[topic] = append(s.blocks[topic], b)
		s.shrink(topic)
	}
	s.mu.Unlock()
	s.turns.Release(1)
}

// shrink drops blocks that are too many, those of other topics first.
func (s *shelf) shrink(keep string) {
	total := s.used
	for _, bs := range s.blocks {
		total += len(bs)
	}
	for topic, bs := range s.blocks {
		for topic != keep && len(bs) > 0 && total > largeBatches {
			bs[len(bs)-1] = nil
			bs, total = bs[:len(bs)-1], total-1
		}
		s.blocks[topic] = bs
	}
}

package ingest

import (
	"fmt"
	"strings"
)

// A position is the metadata that goes with every committed offset: which life
// of the topic the offset is of and, before a batch is inserted, that the range
// from the offset to last goes to shard as one block.
type position struct {
	topic   string // as configured
	topicID string // Kafka's; "-" if it has none
	last    int64  // -1: no batch is announced
	shard   int
	schema  int
}

const positionFormat = "gatewatch/1 topic=%s id=%s last=%d shard=%d schema=%d"

func (p position) String() string {
	return fmt.Sprintf(positionFormat, p.topic, p.topicID, p.last, p.shard, p.schema)
}

// parsePosition reads metadata; ok is false if it is not ours. Metadata of a
// version that this build does not know is an error: going on would double.
func parsePosition(metadata string) (p position, ok bool, err error) {
	if !strings.HasPrefix(metadata, "gatewatch/") {
		return p, false, nil
	}
	if _, err := fmt.Sscanf(metadata, positionFormat, &p.topic, &p.topicID, &p.last, &p.shard, &p.schema); err != nil {
		return p, false, fmt.Errorf("the committed metadata %.80q is not of this version of gatewatch: let the version that wrote it finish its batch", metadata)
	}
	return p, true, nil
}

// Announced reports whether a commit announces a batch that may not be stored yet.
func (c Commit) Announced() bool {
	p, ok, err := parsePosition(c.Metadata)
	return err == nil && ok && p.last >= 0
}

package ingest

import (
	"fmt"
	"strings"
)

// An intent is what is committed as metadata before a batch is inserted: that
// the range from the committed offset to last goes to shard as one block.
type intent struct {
	last   int64
	shard  int
	schema int
}

const intentFormat = "gatewatch/1 last=%d shard=%d schema=%d"

func (i intent) String() string { return fmt.Sprintf(intentFormat, i.last, i.shard, i.schema) }

// parseIntent reads metadata; ok is false if it names no range. Metadata of a
// version that this build does not know is an error: going on would double.
func parseIntent(metadata string) (i intent, ok bool, err error) {
	if !strings.HasPrefix(metadata, "gatewatch/") {
		return i, false, nil
	}
	if _, err := fmt.Sscanf(metadata, intentFormat, &i.last, &i.shard, &i.schema); err != nil {
		return i, false, fmt.Errorf("the committed metadata %.80q is not of this version of gatewatch: let the version that wrote it finish its batch", metadata)
	}
	return i, true, nil
}

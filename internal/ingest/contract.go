package ingest

import (
	"context"
	"errors"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/audit"
	"gatewatch/internal/change"
	"gatewatch/internal/consumer"
	"gatewatch/internal/trace"
)

// A Message is one Kafka message. Key and Value alias the fetch buffer and die
// with the next Fetch of the same partition.
type Message struct {
	Offset     int64
	Time       time.Time // Kafka's timestamp
	Key, Value []byte
}

// A Commit is a committed offset with its metadata.
type Commit struct {
	Offset   int64 // -1: nothing committed yet
	Metadata string
}

// Fetched is an answer of Partition.Fetch.
type Fetched struct {
	Messages []Message
	// Next is the offset to ask for next. It passes control records and
	// aborted messages, so it can be beyond the last message + 1.
	Next int64
	// End is the partition's end offset (last stable offset) as of this answer,
	// and AsOf the moment just before it was asked for.
	End  int64
	AsOf time.Time
}

// A Partition is one partition that this process owns for one generation of
// the group. Its calls fail once the generation has ended.
type Partition interface {
	Topic() string
	ID() int32
	// TopicID is Kafka's id of the topic as it is now, empty if the brokers have
	// none. A topic that is deleted and made anew has another one.
	TopicID(ctx context.Context) (string, error)
	// Kept returns the offset of the first message that Kafka keeps and the end offset.
	Kept(ctx context.Context) (first, end int64, err error)
	// Committed reads the group's offset and metadata inside the generation.
	Committed(ctx context.Context) (Commit, error)
	// Start resolves where a partition without a commit begins: the offset of
	// the first message at or after t, or the end. The zero t means the first one kept.
	Start(ctx context.Context, t time.Time) (int64, error)
	// Fetch returns messages from offset on, waiting briefly if there are none.
	// It returns ErrOffsetOutOfRange if Kafka no longer (or not yet) has offset.
	Fetch(ctx context.Context, offset int64, maxBytes int) (Fetched, error)
	// Commit is acknowledged, or fails if another member owns the partition by now.
	Commit(ctx context.Context, c Commit) error
}

// A Source hands out partitions. Run joins the group and calls own in a
// goroutine of its own for every partition of every generation; own's context
// ends with the generation. Run returns when ctx ends, after every own has
// returned, or when own returns an error.
type Source interface {
	Run(ctx context.Context, own func(ctx context.Context, p Partition) error) error
}

// A Range is a batch: contiguous offsets of one partition, the unit of
// insertion and of deduplication. Its token is "topic:partition:first-last".
type Range struct {
	Topic       string
	Partition   int32
	First, Last int64
}

// Coordinates is where a row comes from.
type Coordinates struct {
	Offset    int64
	KafkaTime time.Time
	// Record is the record's index inside its message.
	Record int
}

// A DeadLetter is a message that can't be read, with its reason. Excerpt is masked.
type DeadLetter struct {
	Coordinates
	Reason  accesslog.Reason
	Detail  string
	Excerpt string
	Size    int
}

// A LedgerEntry accounts for every offset of a batch (DESIGN D3):
// Messages + Dead + Skipped + Lost = Last - First + 1, where Messages counts
// messages that gave rows (or, being empty arrays, none), and Lost those that
// Kafka's retention took before they were read.
type LedgerEntry struct {
	Range
	Format                        string
	TopicID                       string // Kafka's; empty if the brokers have none
	Shard                         int    // of the store; 0 is the first
	Messages, Dead, Skipped, Lost int64
	Rows                          int64
	EarliestEvent, LatestEvent    time.Time // zero if there are no rows
	FirstKafkaTime, LastKafkaTime time.Time
}

// A Block collects the rows of one batch column by column. It copies what it is
// given. A block belongs to one topic and is used by one goroutine at a time.
type Block interface {
	AppendEntry(c Coordinates, e *accesslog.Entry)
	AppendSpan(c Coordinates, s *trace.Span)
	AppendKeyEvent(c Coordinates, e *consumer.Event)
	AppendChange(c Coordinates, e *change.Event)
	AppendAudit(c Coordinates, e *audit.Event)
	AppendDeadLetter(d *DeadLetter)
	// Rows and Bytes say how large the block is, dead letters included.
	Rows() int
	Bytes() int
	// Insert writes the rows, then the dead letters, then the ledger entry, each
	// with the range's token, and returns when the store has acknowledged all. It
	// may be called again after an error: what had arrived counts once. An error
	// that a retry can't mend is a *PermanentError.
	Insert(ctx context.Context, l LedgerEntry) error
	Reset()
}

// A Sink makes blocks for a topic.
type Sink interface {
	NewBlock(topic TopicConfig) Block
}

// A PermanentError is one that no retry will mend, such as a missing right or column.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// ErrOffsetOutOfRange says that Kafka does not have an offset that was asked for.
var ErrOffsetOutOfRange = errors.New("Kafka does not have this offset")

// ErrFenced says that another member owns the partition by now.
var ErrFenced = errors.New("another member owns this partition")

// Records is what one message holds. The zero value is ready for use.
type Records struct {
	Entries   accesslog.Entries
	Spans     trace.Spans
	KeyEvents []consumer.Event
	Changes   []change.Event
	Audits    []audit.Event
}

// Events returns how many records there are besides entries and spans.
func (r *Records) Events() int { return len(r.KeyEvents) + len(r.Changes) + len(r.Audits) }

// Reset forgets all records.
func (r *Records) Reset() {
	r.Entries.Reset()
	r.Spans.Reset()
	r.KeyEvents, r.Changes, r.Audits = r.KeyEvents[:0], r.Changes[:0], r.Audits[:0]
}

// A Decoder reads one message, in whatever envelope, and normalises its
// records: entries come back masked, with outcome, route and key id. An error
// makes the message a dead letter. It is used by one goroutine at a time.
type Decoder interface {
	Decode(value []byte, out *Records) error
}

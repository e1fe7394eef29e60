package clickhouse

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"gatewatch/internal/ingest"
)

// insertTimeout bounds one insert. A server that is alive takes seconds.
const insertTimeout = 3 * time.Minute

// keptRows is the largest insert whose connection is kept.
const keptRows = 20_000

// A Writer writes the batches of ingest. It keeps connections of its own, one
// for every insert that runs at the same time. It is safe for concurrent use.
type Writer struct {
	conn *Conn

	mu   sync.Mutex
	idle map[int][]*ch.Client // by shard, the last one was used last; under mu
}

// NewWriter returns a writer into c's database.
func NewWriter(c *Conn) *Writer { return &Writer{conn: c, idle: map[int][]*ch.Client{}} }

// Close closes idle connections. Inserts that still run close theirs.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, list := range w.idle {
		for _, c := range list {
			_ = c.Close()
		}
	}
	clear(w.idle)
}

// insert sends one block of rows to a table of a shard, deduplicated by token there and in
// every view on it. An idle connection may have died since it was used last:
// then it is tried on another one.
func (w *Writer) insert(ctx context.Context, shard int, table string, input proto.Input, token string) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	q := ch.Query{
		Body:     "INSERT INTO " + quoteIdent(w.conn.config.stored()) + "." + table + " " + input.Columns() + " VALUES",
		Input:    input,
		Settings: insertSettings(token),
	}
	for {
		c, fresh, err := w.client(ctx, shard)
		if err == nil {
			if err = c.Do(ctx, q); err == nil {
				if input[0].Data.Rows() > keptRows {
					_ = c.Close() // its buffers have the size of the block
				} else {
					w.release(shard, c)
				}
				return nil
			}
			_ = c.Close()
		}
		if fresh || ErrorCode(err) != 0 || ctx.Err() != nil {
			return permanent(fmt.Errorf("insert %d rows into %s: %w", input[0].Data.Rows(), table, err))
		}
	}
}

// insertSettings make a block atomic: one token, one block in the table and one
// in every view, however many partitions it touches.
func insertSettings(token string) []ch.Setting {
	return []ch.Setting{
		{Key: "insert_deduplication_token", Value: token, Important: true},
		{Key: "insert_deduplicate", Value: "1", Important: true},
		{Key: "deduplicate_blocks_in_dependent_materialized_views", Value: "1", Important: true},
		{Key: "max_partitions_per_insert_block", Value: "0"},
		{Key: "async_insert", Value: "0"},
		// A block's groups are distinct; a second pass over them costs as much and finds nothing.
		{Key: "optimize_on_insert", Value: "0"},
		// A view's result must not be cut into blocks whose content differs from try to try.
		{Key: "min_insert_block_size_rows", Value: "16777216"},
		{Key: "min_insert_block_size_bytes", Value: "4294967296"},
	}
}

// client returns an idle connection or a fresh one, to the first replica of the
// shard that answers.
func (w *Writer) client(ctx context.Context, shard int) (c *ch.Client, fresh bool, err error) {
	w.mu.Lock()
	if list := w.idle[shard]; len(list) > 0 {
		c, w.idle[shard] = list[len(list)-1], list[:len(list)-1]
	}
	w.mu.Unlock()
	if c != nil {
		return c, false, nil
	}
	shards := w.conn.config.shards()
	if shard >= len(shards) {
		return nil, true, &ingest.PermanentError{Err: fmt.Errorf("a batch is of shard %d, but clickhouse.shards names %d", shard, len(shards))}
	}
	o := w.conn.opts
	for _, addr := range shards[shard] {
		c, err = ch.Dial(ctx, ch.Options{
			Address: addr, User: o.Auth.Username, Password: o.Auth.Password,
			TLS: o.TLS, DialTimeout: o.DialTimeout, ReadTimeout: time.Minute,
			Compression: wireCompression(addr), ClientName: "gatewatch-ingest",
		})
		if err == nil {
			return c, true, nil
		}
	}
	return nil, true, err
}

func (w *Writer) release(shard int, c *ch.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle[shard] = append(w.idle[shard], c)
}

// NewBlock implements ingest.Sink.
func (w *Writer) NewBlock(topic ingest.TopicConfig) ingest.Block {
	return &block{writer: w, topic: topic}
}

// wireCompression compresses blocks for a network; towards a server on this
// machine it would only cost both sides time.
func wireCompression(addr string) ch.Compression {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "localhost" || ip != nil && ip.IsLoopback()) {
		return ch.CompressionDisabled
	}
	return ch.CompressionLZ4
}

package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Wire returns the name by which Kafka knows a topic: what follows a # tells
// the lives of a topic that was deleted and made anew, in the store only.
func Wire(topic string) string {
	name, _, _ := strings.Cut(topic, "#")
	return name
}

// A topicIDRequest is Metadata v10 for one topic (Kafka protocol guide,
// "Metadata API"), of whose answer only the topic's id is read. kafka-go's own
// Metadata has none. A broker is asked first whether it knows that version.
type topicIDRequest struct{ topic string }

// A topicIDResponse is the topic's error and id.
type topicIDResponse struct {
	err int16
	id  string // 32 hexadecimal digits; empty if the broker has none
}

// ApiKey is part of protocol.Message.
func (*topicIDRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }

// ApiKey is part of protocol.Message.
func (*topicIDResponse) ApiKey() protocol.ApiKey { return protocol.Metadata }

const metadataVersion = 10

// Required makes the request a protocol.RawExchanger.
func (*topicIDRequest) Required(map[protocol.ApiKey]int16) bool { return true }

func (r *topicIDRequest) encode() []byte {
	b := header(protocol.Metadata, metadataVersion)
	b = append(b, 0)                   // no tags
	b = append(b, 2)                   // one topic
	b = append(b, make([]byte, 16)...) // by name, not by id
	b = binary.AppendUvarint(b, uint64(len(r.topic))+1)
	b = append(b, r.topic...)
	b = append(b, 0)       // no tags
	b = append(b, 0, 0, 0) // make no topic, report no permissions
	return append(b, 0)    // no tags
}

// RawExchange sends the request and reads the answer.
func (r *topicIDRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	b, err := exchange(rw, header(protocol.ApiVersions, 0), nil)
	if err != nil {
		return nil, err
	}
	knows, err := knowsVersion(b, protocol.Metadata, metadataVersion)
	if err != nil || !knows {
		return &topicIDResponse{}, err
	}
	if b, err = exchange(rw, r.encode(), b[:0]); err != nil {
		return nil, err
	}
	return parseTopicID(b)
}

// knowsVersion reads an ApiVersions v0 answer.
func knowsVersion(b []byte, api protocol.ApiKey, version int16) (bool, error) {
	r := reader{b: b}
	if code := r.i16(); code != 0 {
		return false, kafka.Error(code)
	}
	for n := r.i32(); n > 0 && r.err == nil; n-- {
		key, low, high := r.i16(), r.i16(), r.i16()
		if protocol.ApiKey(key) == api {
			return low <= version && version <= high, r.err
		}
	}
	return false, r.err
}

// parseTopicID reads the answer to a request for one topic.
func parseTopicID(b []byte) (*topicIDResponse, error) {
	r := reader{b: b}
	r.tags()
	r.skip(4) // throttle time
	for n := r.compact(); n > 0 && r.err == nil; n-- {
		r.skip(4) // node
		r.skip(r.compact())
		r.skip(4) // port
		r.skip(r.compact())
		r.tags()
	}
	r.skip(r.compact()) // cluster
	r.skip(4)           // controller
	if n := r.compact(); r.err == nil && n != 1 {
		return nil, fmt.Errorf("a Metadata answer about %d topics", n)
	}
	res := &topicIDResponse{err: r.i16()}
	r.skip(r.compact()) // name
	id := r.take(16)
	if r.err != nil {
		return nil, r.err
	}
	if res.id = fmt.Sprintf("%x", id); strings.Trim(res.id, "0") == "" {
		res.id = ""
	}
	return res, nil
}

// compact reads the length of a compact string or array; null is 0.
func (r *reader) compact() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(len(r.b))+1 {
		r.err, r.b = errShort, nil
		return 0
	}
	r.b = r.b[n:]
	return int(max(v, 1) - 1)
}

// tags passes over tagged fields.
func (r *reader) tags() {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err, r.b = errShort, nil
		return
	}
	r.b = r.b[n:]
	for ; v > 0 && r.err == nil; v-- {
		_, n := binary.Uvarint(r.b)
		if n <= 0 {
			r.err, r.b = errShort, nil
			return
		}
		r.b = r.b[n:]
		size, n := binary.Uvarint(r.b)
		if n <= 0 || size > uint64(len(r.b)) {
			r.err, r.b = errShort, nil
			return
		}
		r.b = r.b[n:]
		r.skip(int(size))
	}
}

// TopicID returns Kafka's id of a topic, which is another one once the topic is
// deleted and made anew. It is empty if the brokers have no ids (before Kafka 2.8).
func (c *Client) TopicID(ctx context.Context, topic string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ask := func() (protocol.Message, error) {
		return c.transport.RoundTrip(ctx, c.client.Addr, &topicIDRequest{topic: Wire(topic)})
	}
	m, err := ask()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // a pooled connection that a restart has closed
		m, err = ask()
	}
	if err != nil {
		return "", c.explain("read the id of topic "+topic, err)
	}
	res := m.(*topicIDResponse)
	if res.err != 0 {
		return "", c.explain("read the id of topic "+topic, kafka.Error(res.err))
	}
	return res.id, nil
}

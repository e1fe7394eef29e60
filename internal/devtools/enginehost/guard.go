package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
)

// A guard answers logins that the server would refuse, in the server's words:
// libchdb aborts the whole process when its native handler refuses one.
type guard struct {
	logins   map[string]string // passwords of users
	metadata string            // folder that has one file a database
}

func newGuard(dir string) (guard, error) {
	g := guard{metadata: filepath.Join(dir, "data", "metadata")}
	b, err := os.ReadFile(filepath.Join(dir, "logins.json"))
	if err != nil {
		return g, err
	}
	return g, json.Unmarshal(b, &g.logins)
}

// The error codes of ClickHouse (src/Common/ErrorCodes.cpp).
const (
	unknownDatabase      = 81
	authenticationFailed = 516
)

var plainName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// check reads a client's hello and returns the bytes that it read, and the
// refusal to send instead of passing them on, if any.
func (g guard) check(client net.Conn) (hello, refusal []byte, err error) {
	rec := &recorder{r: bufio.NewReaderSize(client, 4096)}
	kind, err := binary.ReadUvarint(rec)
	if err != nil || kind != 0 {
		return nil, nil, errors.New("not a hello")
	}
	if _, err := rec.text(); err != nil { // client name
		return nil, nil, err
	}
	for range 3 { // major, minor, protocol
		if _, err := binary.ReadUvarint(rec); err != nil {
			return nil, nil, err
		}
	}
	var fields [3]string
	for i := range fields {
		if fields[i], err = rec.text(); err != nil {
			return nil, nil, err
		}
	}
	database, user, password := fields[0], fields[1], fields[2]
	if want, ok := g.logins[user]; !ok || password != want {
		return nil, exception(authenticationFailed, user+": Authentication failed: password is incorrect, or there is no user with such name."), nil
	}
	if database != "" && !g.exists(database) {
		return nil, exception(unknownDatabase, "Database "+database+" does not exist."), nil
	}
	// What the reader holds beyond the hello belongs to the engine too.
	rest, _ := rec.r.Peek(rec.r.Buffered())
	return append(rec.seen, rest...), nil, nil
}

func (g guard) exists(database string) bool {
	if database == "default" || database == "system" {
		return true
	}
	_, err := os.Stat(filepath.Join(g.metadata, database+".sql"))
	return err == nil && plainName.MatchString(database)
}

// exception makes out a server exception of the native protocol.
func exception(code int32, message string) []byte {
	b := []byte{2}
	b = binary.LittleEndian.AppendUint32(b, uint32(code))
	for _, s := range []string{"DB::Exception", "DB::Exception: " + message, ""} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return append(b, 0)
}

// A recorder keeps what was read through it.
type recorder struct {
	r    *bufio.Reader
	seen []byte
}

func (r *recorder) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.seen = append(r.seen, b)
	}
	return b, err
}

func (r *recorder) text() (string, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return "", err
	}
	if n > 64<<10 {
		return "", fmt.Errorf("a name of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return "", err
	}
	r.seen = append(r.seen, b...)
	return string(b), nil
}

// Package jsonscan reads JSON (RFC 8259) in one pass, strictly and without
// allocating: strings alias the message unless they hold escapes or bad UTF-8,
// which are rewritten into an arena. Nesting is limited to MaxDepth.
package jsonscan

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"gatewatch/internal/accesslog"
)

// MaxDepth is how deep objects and arrays may be nested.
const MaxDepth = 64

// A Kind is what a value is.
type Kind uint8

// The kinds.
const (
	Null Kind = iota
	True
	False
	Number
	String
	Object
	Array
)

// A Value is a value of an object. Text is a string's content, a number's
// literal, or the whole text of an object or array.
type Value struct {
	Kind Kind
	Text string
}

// String returns a scalar's text; of an object or array, its JSON.
func (v Value) String() string {
	switch v.Kind {
	case True:
		return "true"
	case False:
		return "false"
	}
	return v.Text
}

// A Scanner reads one text. Its zero value must be given a text by Reset.
type Scanner struct {
	b     []byte
	pos   int
	arena *accesslog.Arena
	first bool // no member of the current object or array was read yet
}

// Reset starts on text b. Rewritten strings go to the arena.
func (s *Scanner) Reset(b []byte, arena *accesslog.Arena) {
	*s = Scanner{b: b, arena: arena}
}

func syntax(detail string) error {
	return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: detail}
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (s *Scanner) space() {
	for s.pos < len(s.b) {
		switch s.b[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *Scanner) peek() byte {
	s.space()
	if s.pos < len(s.b) {
		return s.b[s.pos]
	}
	return 0
}

// Peek returns the first byte of the next token, 0 at the end of the text.
func (s *Scanner) Peek() byte { return s.peek() }

// Open enters an object ('{') or array ('[').
func (s *Scanner) Open(c byte) error {
	if s.peek() != c {
		if s.pos == len(s.b) {
			return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
		}
		if c == '{' {
			return syntax("not a JSON object")
		}
		return syntax("not a JSON array")
	}
	s.pos++
	s.first = true
	return nil
}

// Enter enters an object ('{') or array ('['), or passes over a value that is neither.
func (s *Scanner) Enter(c byte) (bool, error) {
	if s.peek() != c {
		_, err := s.Value()
		return false, err
	}
	return true, s.Open(c)
}

// List calls element for each element of an array, which it must read; it
// passes over a value that is none.
func (s *Scanner) List(element func() error) error {
	if entered, err := s.Enter('['); err != nil || !entered {
		return err
	}
	for {
		more, err := s.More(']')
		if err != nil || !more {
			return err
		}
		if err := element(); err != nil {
			return err
		}
	}
}

// Members calls member for each key of an object, whose value it must read; it
// passes over a value that is none.
func (s *Scanner) Members(member func(key string) error) error {
	if entered, err := s.Enter('{'); err != nil || !entered {
		return err
	}
	for {
		key, ok, err := s.Key()
		if err != nil || !ok {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
	}
}

// Scalars calls scalar for each member of an object that is a scalar; objects
// and arrays in it are passed over.
func (s *Scanner) Scalars(scalar func(key string, v Value)) error {
	return s.Members(func(key string) error {
		v, err := s.Value()
		if err == nil && v.Kind != Object && v.Kind != Array {
			scalar(key, v)
		}
		return err
	})
}

// Key returns the next key of the open object; ok is false at its end.
func (s *Scanner) Key() (key string, ok bool, err error) {
	more, err := s.More('}')
	if err != nil || !more {
		return "", false, err
	}
	return s.key()
}

// Follows passes over the next member's key if member, as Member returns it,
// is how it is written; it is quicker than Key for a key that is expected.
func (s *Scanner) Follows(member string) bool {
	if s.first {
		member = member[1:] // no comma
	}
	end := s.pos + len(member)
	if end > len(s.b) || string(s.b[s.pos:end]) != member {
		return false
	}
	s.pos, s.first = end, false
	return true
}

// Member returns how an object without white space goes on with a key: comma,
// key and colon. It is empty for a key that JSON need not write as it is.
func Member(key string) string {
	for i := range len(key) {
		if c := key[i]; c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
			return ""
		}
	}
	return `,"` + key + `":`
}

func (s *Scanner) key() (key string, ok bool, err error) {
	if s.peek() != '"' {
		return "", false, syntax("a key is not a string")
	}
	if key, err = s.str(); err != nil {
		return "", false, err
	}
	if s.peek() != ':' {
		return "", false, syntax("no colon after a key")
	}
	s.pos++
	return key, true, nil
}

// More reports whether the open object or array, which ends with c, has another member.
func (s *Scanner) More(c byte) (bool, error) {
	switch next := s.peek(); {
	case next == c:
		s.pos++
		s.first = false
		return false, nil
	case s.first:
		s.first = false
		return true, nil
	case next == ',':
		s.pos++
		return true, nil
	}
	return false, syntax("no comma between members")
}

// Value reads the value at hand.
func (s *Scanner) Value() (Value, error) {
	switch c := s.peek(); c {
	case '"':
		t, err := s.str()
		return Value{String, t}, err
	case '{', '[':
		start := s.pos
		if err := s.skip(); err != nil {
			return Value{}, err
		}
		kind := Object
		if c == '[' {
			kind = Array
		}
		s.first = false
		return Value{kind, view(s.b[start:s.pos])}, nil
	case 't':
		return Value{Kind: True}, s.literal("true")
	case 'f':
		return Value{Kind: False}, s.literal("false")
	case 'n':
		return Value{Kind: Null}, s.literal("null")
	}
	start := s.pos
	if err := s.number(); err != nil {
		return Value{}, err
	}
	return Value{Number, view(s.b[start:s.pos])}, nil
}

// End checks that nothing but white space follows.
func (s *Scanner) End() error {
	if s.space(); s.pos < len(s.b) {
		return syntax("text after the value")
	}
	return nil
}

func (s *Scanner) literal(w string) error {
	if len(s.b)-s.pos < len(w) || string(s.b[s.pos:s.pos+len(w)]) != w {
		return syntax("a value is no JSON")
	}
	s.pos += len(w)
	return nil
}

func (s *Scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.b) && s.b[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

func (s *Scanner) at(c byte) bool { return s.pos < len(s.b) && s.b[s.pos] == c }

// number reads [-] int [frac] [exp] (RFC 8259 §6).
func (s *Scanner) number() error {
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if !s.digits() {
		return syntax("a value is no JSON")
	}
	if s.at('.') {
		s.pos++
		if !s.digits() {
			return syntax("a number ends with a point")
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if !s.digits() {
			return syntax("a number has an empty exponent")
		}
	}
	return nil
}

// skip reads the object or array at hand without recursion.
func (s *Scanner) skip() error {
	var stack [MaxDepth]byte // the closing bytes that are awaited
	depth := 0
	for {
		switch c := s.peek(); c {
		case '{', '[':
			if depth == MaxDepth {
				return &accesslog.ParseError{Reason: accesslog.ReasonTooDeep}
			}
			stack[depth] = c + 2 // '}' and ']' in ASCII
			depth++
			s.pos++
			s.first = true
		default:
			if _, err := s.Value(); err != nil { // a scalar
				return err
			}
		}
		for {
			more, err := s.More(stack[depth-1])
			if err != nil {
				return err
			}
			if more {
				break
			}
			if depth--; depth == 0 {
				return nil
			}
		}
		if stack[depth-1] == '}' {
			if err := s.skipKey(); err != nil {
				return err
			}
		}
	}
}

func (s *Scanner) skipKey() error {
	if s.peek() != '"' {
		return syntax("a key is not a string")
	}
	if _, err := s.str(); err != nil {
		return err
	}
	if s.peek() != ':' {
		return syntax("no colon after a key")
	}
	s.pos++
	return nil
}

// plain returns how many bytes from i on are neither quote, backslash, control
// nor beyond ASCII, eight at a time.
func plain(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	start := i
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		m := ((w - ones*0x20) | w | (quote - ones) | (slash - ones)) & highs
		if m != 0 {
			// The lowest mark is exact: borrows only spread upwards.
			return i + bits.TrailingZeros64(m)/8 - start
		}
	}
	for i < len(b) && b[i] >= 0x20 && b[i] < 0x80 && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i - start
}

// str reads the string at hand.
func (s *Scanner) str() (string, error) {
	start := s.pos + 1
	end := start + plain(s.b, start)
	for end < len(s.b) && s.b[end] >= 0x80 { // valid UTF-8 needs no rewriting either
		r, n := utf8.DecodeRune(s.b[end:])
		if r == utf8.RuneError && n == 1 {
			return s.rewrite(start, end)
		}
		end += n
		end += plain(s.b, end)
	}
	switch {
	case end >= len(s.b):
		return "", syntax("a string has no end")
	case s.b[end] == '"':
		s.pos = end + 1
		return view(s.b[start:end]), nil
	case s.b[end] == '\\':
		return s.rewrite(start, end)
	}
	return "", syntax("a control character in a string")
}

// rewrite reads a string that needs rewriting from i on.
func (s *Scanner) rewrite(start, i int) (string, error) {
	end := s.closing(i)
	if end < 0 {
		return "", syntax("a string has no end")
	}
	// No escape and no replacement is longer than three times what it replaces.
	out := append(s.arena.Grow(3*(end-start)), s.b[start:i]...)
	for i < end {
		switch c := s.b[i]; {
		case c == '\\':
			var n int
			if out, n = unescape(out, s.b[i:end]); n == 0 {
				return "", syntax("a bad escape in a string")
			}
			i += n
		case c < 0x20:
			return "", syntax("a control character in a string")
		case c < 0x80:
			n := max(1, plain(s.b[:end], i))
			out = append(out, s.b[i:i+n]...)
			i += n
		default:
			r, n := utf8.DecodeRune(s.b[i:end])
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	s.pos = end + 1
	s.arena.Keep(out)
	return view(out), nil
}

// closing finds the quote that ends the string.
func (s *Scanner) closing(i int) int {
	for ; i < len(s.b); i++ {
		switch s.b[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// unescape appends what the escape at the start of b stands for and returns
// its length, 0 if it is none.
func unescape(out, b []byte) ([]byte, int) {
	if len(b) < 2 {
		return out, 0
	}
	switch c := b[1]; c {
	case '"', '\\', '/':
		return append(out, c), 2
	case 'b':
		return append(out, '\b'), 2
	case 'f':
		return append(out, '\f'), 2
	case 'n':
		return append(out, '\n'), 2
	case 'r':
		return append(out, '\r'), 2
	case 't':
		return append(out, '\t'), 2
	case 'u':
		r, ok := hex4(b)
		if !ok {
			return out, 0
		}
		if utf16.IsSurrogate(r) {
			if low, ok := hex4(b[6:]); ok {
				if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
					return utf8.AppendRune(out, both), 12
				}
			}
			r = utf8.RuneError
		}
		return utf8.AppendRune(out, r), 6
	}
	return out, 0
}

// hex4 reads \uXXXX.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

package normalise

import (
	"encoding/base64"
	"strings"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/jsonscan"
)

// identify finds out who called: the consumer that the gateway names, else whom
// the credential names; and replaces the credential by its hash. A token is never
// verified here: the gateway did that, or refused the request. An e-mail address
// as consumer becomes a pseudonym.
func (n *Normaliser) identify(e *accesslog.Entry, arena *accesslog.Arena) {
	key := e.APIKey
	e.APIKey = ""
	if key == "" {
		key = queryKey(e.Query)
	}
	if key != "" {
		id := n.nameOf(key, arena)
		if id != "" {
			// Tokens change by the hour and passwords don't identify: who holds them does.
			key = id
			if e.Consumer.ID == "" {
				e.Consumer.ID = clip(id, maxName)
			}
		}
		e.Consumer.KeyID = n.keys.id(key, e.Time)
	}
	if strings.IndexByte(e.Consumer.ID, '@') >= 0 {
		e.Consumer.ID = n.keys.pseudonym(e.Consumer.ID, e.Time)
	}
}

// queryKey returns the value of a parameter that is an API key by its name.
func queryKey(query string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			continue
		}
		switch strings.ToLower(name) {
		case "api_key", "apikey", "api-key", "x-api-key", "access_token", "subscription-key":
			return value
		}
	}
	return ""
}

// nameOf returns whom a credential names; empty if it names nobody.
func (n *Normaliser) nameOf(key string, arena *accesslog.Arena) string {
	switch {
	case len(key) > 6 && strings.EqualFold(key[:6], "Basic "):
		return basicUser(strings.TrimSpace(key[6:]), arena)
	case strings.HasPrefix(key, "AWS4-HMAC-SHA256 "):
		_, id, _ := strings.Cut(key, "Credential=")
		id, _, _ = strings.Cut(id, "/")
		return id
	case strings.HasPrefix(key, "eyJ") && strings.Count(key, ".") == 2:
		return n.jwtClient(key, arena)
	}
	return ""
}

// basicUser returns the user of Basic credentials (RFC 7617), never the password.
func basicUser(text string, arena *accesslog.Arena) string {
	b, err := base64.StdEncoding.AppendDecode(arena.Grow(base64.StdEncoding.DecodedLen(len(text))), bytesOf(text))
	if err != nil {
		return ""
	}
	user, _, ok := strings.Cut(unsafe.String(unsafe.SliceData(b), len(b)), ":")
	if !ok {
		return ""
	}
	arena.Keep(b[:len(user)])
	return accesslog.Clean(user, arena)
}

// jwtClient returns the client that a JSON Web Token was made for (RFC 7519; RFC
// 9068 §2.2: client_id; OpenID Connect Core §2: azp), else its subject.
func (n *Normaliser) jwtClient(token string, arena *accesslog.Arena) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	payload = strings.TrimRight(payload, "=")
	b, err := base64.RawURLEncoding.AppendDecode(arena.Grow(base64.RawURLEncoding.DecodedLen(len(payload))), bytesOf(payload))
	if err != nil {
		return ""
	}
	arena.Keep(b)
	n.scan.Reset(b, arena)
	if n.scan.Open('{') != nil {
		return ""
	}
	found, rank := "", 4
	for {
		key, ok, err := n.scan.Key()
		if err != nil || !ok {
			return found
		}
		v, err := n.scan.Value()
		if err != nil {
			return found
		}
		if r := claimRank(key); r < rank && v.Kind == jsonscan.String && v.Text != "" {
			found, rank = v.Text, r
		}
	}
}

func claimRank(claim string) int {
	switch claim {
	case "client_id":
		return 1
	case "azp":
		return 2
	case "sub":
		return 3
	}
	return 4
}

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

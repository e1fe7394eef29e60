package normalise

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// maxKeys bounds each cache; a full one is emptied, which costs a hash per key again.
const maxKeys = 100_000

// keys hashes credentials with the pepper of their time.
type keys struct {
	peppers []pepper // by From, latest first
	sum     []byte   // scratch
}

type pepper struct {
	from       time.Time
	mac        hash.Hash
	ids        map[string][16]byte
	pseudonyms map[string]string
}

func newKeys(peppers []Pepper) keys {
	var k keys
	for _, p := range peppers {
		k.peppers = append(k.peppers, pepper{
			from: p.From, mac: hmac.New(sha256.New, p.Secret),
			ids: map[string][16]byte{}, pseudonyms: map[string]string{},
		})
	}
	slices.SortStableFunc(k.peppers, func(a, b pepper) int { return b.from.Compare(a.from) })
	return k
}

// at returns the pepper that is valid at t, the earliest one for times before all.
func (k *keys) at(t time.Time) *pepper {
	for i := range k.peppers {
		if p := &k.peppers[i]; !t.Before(p.from) {
			return p
		}
	}
	if len(k.peppers) == 0 {
		return nil
	}
	return &k.peppers[len(k.peppers)-1]
}

// id returns the first 128 bits of HMAC-SHA-256(pepper, key), zero without a pepper.
func (k *keys) id(key string, t time.Time) [16]byte {
	p := k.at(t)
	if p == nil {
		return [16]byte{}
	}
	if id, ok := p.ids[key]; ok {
		return id
	}
	id := k.hash(p, key)
	if len(p.ids) >= maxKeys {
		clear(p.ids)
	}
	p.ids[strings.Clone(key)] = id
	return id
}

// KeyIDs returns the ids that a key has, one for each pepper.
func (n *Normaliser) KeyIDs(key string) [][16]byte {
	var ids [][16]byte
	for i := range n.keys.peppers {
		ids = append(ids, n.keys.hash(&n.keys.peppers[i], key))
	}
	return ids
}

func (k *keys) hash(p *pepper, text string) (id [16]byte) {
	p.mac.Reset()
	p.mac.Write(unsafe.Slice(unsafe.StringData(text), len(text))) // never fails, doesn't keep or change it
	k.sum = p.mac.Sum(k.sum[:0])
	copy(id[:], k.sum)
	return id
}

// pseudonym names whom an e-mail address names, without the address.
func (k *keys) pseudonym(address string, t time.Time) string {
	p := k.at(t)
	if p == nil {
		return "{email}"
	}
	if s, ok := p.pseudonyms[address]; ok {
		return s
	}
	id := k.hash(p, address)
	s := "email-" + hex.EncodeToString(id[:6])
	if len(p.pseudonyms) >= maxKeys {
		clear(p.pseudonyms)
	}
	p.pseudonyms[strings.Clone(address)] = s
	return s
}

package jsonscan

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
)

// read returns a text's value as encoding/json would, for comparison.
func read(b []byte) (any, error) {
	var s Scanner
	var a accesslog.Arena
	s.Reset(b, &a)
	v, err := s.Value()
	if err != nil {
		return nil, err
	}
	if err := s.End(); err != nil {
		return nil, err
	}
	return expand(v, &a)
}

func expand(v Value, a *accesslog.Arena) (any, error) {
	var s Scanner
	s.Reset([]byte(v.Text), a)
	switch v.Kind {
	case Null:
		return nil, nil
	case True, False:
		return v.Kind == True, nil
	case Number:
		return json.Number(v.Text), nil
	case String:
		return v.Text, nil
	case Array:
		out := []any{}
		if err := s.Open('['); err != nil {
			return nil, err
		}
		for {
			more, err := s.More(']')
			if err != nil || !more {
				return out, err
			}
			v, err := s.Value()
			if err != nil {
				return nil, err
			}
			x, err := expand(v, a)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
	}
	out := map[string]any{}
	if err := s.Open('{'); err != nil {
		return nil, err
	}
	for {
		k, ok, err := s.Key()
		if err != nil || !ok {
			return out, err
		}
		v, err := s.Value()
		if err != nil {
			return nil, err
		}
		if out[k], err = expand(v, a); err != nil {
			return nil, err
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,{"b":null}],"c":"é\u00e9\ud83d\ude00\ud800","d":true}`, `[]`, `"\xff"`, `-0`, `[1,]`, `{"a":1,"a":2}`, strings.Repeat("[", 70)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := read(b)
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		var want any
		wantErr := d.Decode(&want)
		if wantErr == nil && d.More() || wantErr == nil && strings.Trim(string(b[d.InputOffset():]), " \t\r\n") != "" {
			wantErr = json.Unmarshal(b, &want)
			if wantErr == nil {
				t.Skip()
			}
		}
		if err != nil && strings.Count(string(b), "[")+strings.Count(string(b), "{") > MaxDepth {
			return // deeper than our limit
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("read(%q) = %v, encoding/json says %v", b, err, wantErr)
		}
		if err == nil {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			if string(g) != string(w) {
				t.Fatalf("read(%q) = %s, want %s", b, g, w)
			}
		}
	})
}

func TestBadJSON(t *testing.T) {
	type bad struct {
		ID       string `json:"id"`
		InputB64 string `json:"input_b64"`
		Expect   string `json:"expect"`
	}
	for _, c := range accesslogtest.Corpus[bad](t, "bad_json.jsonl") {
		b, err := base64.StdEncoding.DecodeString(c.InputB64)
		if err != nil {
			t.Fatal(err)
		}
		_, err = read(b)
		switch {
		case strings.Contains(c.Expect, "accept") && !strings.Contains(c.Expect, "either") && err != nil:
			t.Errorf("%s: %v, want it accepted", c.ID, err)
		case strings.Contains(c.Expect, "reject") && !strings.Contains(c.Expect, "either") && err == nil:
			t.Errorf("%s: accepted, want it rejected", c.ID)
		}
	}
}

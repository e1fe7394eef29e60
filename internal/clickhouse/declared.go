package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// settingDeclared is the setting that holds what files declared last.
const settingDeclared = "declared"

// A Declared is something that a file of gatewatch's own declares: an objective
// or an owner.
type Declared struct {
	Kind    string `json:"kind"` // slo or owner
	Name    string `json:"name"` // unique within its kind
	Service string `json:"service"`
	Text    string `json:"text"` // what it says, for people
	Digest  string `json:"digest"`
}

func (d Declared) key() string { return d.Kind + " " + d.Name }

// RecordDeclared writes what differs from the list that was recorded last as
// changes, beside releases and the like. The first list ever is no change, and
// the same edit found by several processes counts once.
func (c *Conn) RecordDeclared(ctx context.Context, list []Declared) error {
	list = slices.SortedFunc(slices.Values(list), func(a, b Declared) int { return strings.Compare(a.key(), b.key()) })
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encode what is declared: %w", err)
	}
	before, err := c.Setting(ctx, settingDeclared)
	if err != nil || before == string(text) {
		return err
	}
	if before != "" {
		var former []Declared
		if err := json.Unmarshal([]byte(before), &former); err != nil {
			return fmt.Errorf("read setting %s: %w", settingDeclared, err)
		}
		sum := sha256.Sum256([]byte(before + "\n" + string(text)))
		if err := c.insertEdits(ctx, edits(former, list), hex.EncodeToString(sum[:])); err != nil {
			return fmt.Errorf("write down changed declarations: %w", err)
		}
	}
	return c.SetSetting(ctx, settingDeclared, string(text))
}

// edits returns what differs, each with what to say of it in Text.
func edits(former, list []Declared) (out []Declared) {
	was := map[string]Declared{}
	for _, d := range former {
		was[d.key()] = d
	}
	for _, d := range list {
		old, ok := was[d.key()]
		delete(was, d.key())
		what := ""
		switch {
		case !ok:
			what = fmt.Sprintf("%s %s added: %s", d.Kind, d.Name, d.Text)
		case old.Text != d.Text:
			what = fmt.Sprintf("%s %s: %s instead of %s", d.Kind, d.Name, d.Text, old.Text)
		case old.Digest != d.Digest:
			what = fmt.Sprintf("%s %s edited", d.Kind, d.Name)
		default:
			continue
		}
		d.Text = what
		out = append(out, d)
	}
	for _, d := range former {
		if _, gone := was[d.key()]; gone {
			d.Text = fmt.Sprintf("%s %s removed", d.Kind, d.Name)
			out = append(out, d)
		}
	}
	return out
}

// insertEdits writes changes in one insert, which token makes count once.
func (c *Conn) insertEdits(ctx context.Context, list []Declared, token string) error {
	if len(list) == 0 {
		return nil
	}
	rows, args := make([]string, len(list)), []any{}
	for i, d := range list {
		rows[i] = "(now64(3), ?, ?, ?, 'gatewatch')"
		args = append(args, d.Service, d.Kind, d.Text)
	}
	return c.Exec(ctx, "INSERT INTO change_event (time, service, kind, what, who) SETTINGS insert_deduplication_token = "+
		quoteString(token)+" VALUES "+strings.Join(rows, ", "), args...)
}

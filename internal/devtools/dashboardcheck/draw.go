package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// A drawing is what the page that draws a board is given.
type drawing struct {
	Title     string           `json:"title"`
	From      time.Time        `json:"from"`
	To        time.Time        `json:"to"`
	Variables []string         `json:"variables"`
	Panels    []map[string]any `json:"panels"`
}

// columnPixels is how wide a column of the grid is drawn.
const columnPixels = 58

// draw writes for each board a file with its panels as they are in the JSON, and
// the frames that their queries give over the range that the board opens with.
func (c *checker) draw(ctx context.Context, boards []board, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for i := range boards {
		b := &boards[i]
		text, err := os.ReadFile(filepath.Join(from, b.File))
		if err != nil {
			return err
		}
		var whole struct {
			Panels []map[string]any
			Time   struct{ From string }
		}
		if err := json.Unmarshal(text, &whole); err != nil {
			return err
		}
		narrow := *c
		narrow.from = c.to.Add(-spanOf(whole.Time.From))
		out := drawing{Title: b.Title, From: narrow.from, To: narrow.to}
		vars, _ := narrow.selection(ctx, b)
		for _, v := range b.Templating.List {
			value := "All"
			if len(vars[v.Name]) > 0 {
				value = strings.Join(vars[v.Name], ", ")
			}
			if v.Type == "query" {
				out.Variables = append(out.Variables, v.Label+": "+value)
			}
		}
		for j, p := range b.Panels {
			raw := whole.Panels[j]
			if p.Type == "row" && len(p.Panels) > 0 {
				delete(raw, "panels")
			}
			var frames []any
			for _, t := range p.Targets {
				if t.RawSQL == "" {
					continue
				}
				narrow.points = p.GridPos.W * columnPixels
				if o := narrow.query(ctx, t.Target, vars); o.Err == nil {
					frames = append(frames, jsonFrame(o.Frame))
				}
			}
			raw["frames"] = frames
			out.Panels = append(out.Panels, raw)
		}
		f, err := json.Marshal(out)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, b.File), f, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// spanOf reads a range such as now-6h.
func spanOf(from string) time.Duration {
	text := strings.TrimPrefix(from, "now-")
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, _ := time.ParseDuration(days + "h")
		return 24 * d
	}
	d, _ := time.ParseDuration(text)
	return d
}

// jsonFrame is a frame as Grafana's components take it.
func jsonFrame(f *data.Frame) any {
	var fields []map[string]any
	for _, x := range f.Fields {
		kind := "string"
		switch {
		case x.Type().Time():
			kind = "time"
		case x.Type().Numeric():
			kind = "number"
		case x.Type().JSON():
			kind = "other"
		}
		values := make([]any, f.Rows())
		for i := range values {
			v, ok := x.ConcreteAt(i)
			if !ok {
				continue
			}
			values[i] = v
			switch v := v.(type) {
			case time.Time:
				values[i] = v.UnixMilli()
			case float64:
				if math.IsNaN(v) || math.IsInf(v, 0) {
					values[i] = nil
				}
			}
		}
		fields = append(fields, map[string]any{"name": x.Name, "type": kind, "labels": x.Labels, "values": values})
	}
	return map[string]any{"fields": fields}
}

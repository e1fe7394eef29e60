package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gatewatch/internal/devstack/panelcheck"
)

// A board is a dashboard as far as its queries go.
type board struct {
	File        string
	UID         string
	Title       string
	Description string
	Editable    bool
	Refresh     string
	Tags        []string
	Panels      []panel
	Links       []link
	Templating  struct{ List []variable }
	Annotations struct{ List []annotation }
}

// A datasource names who answers a query.
type datasource struct{ Type, UID string }

// A panel is one of a board; a row that is closed holds panels of its own.
type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  datasource
	Targets     []target
	Panels      []panel
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			Unit    string
			NoValue string
			Links   []link
		}
		Overrides []overrides
	}
}

type overrides struct {
	Matcher struct {
		ID      string
		Options json.RawMessage
	}
	Properties []struct {
		ID    string
		Value json.RawMessage
	}
}

type target struct {
	panelcheck.Target
	Datasource datasource
	Expr       string // of Prometheus
}

type link struct {
	Title, Type, URL string
	Tags             []string
	KeepTime         bool
	IncludeVars      bool
}

type variable struct {
	Name, Label, Type string
	Query             json.RawMessage
	Datasource        datasource
	Refresh           int
	Multi, IncludeAll bool
}

type annotation struct {
	Name       string
	Datasource datasource
	Enable     bool
	Target     target
}

// readBoards reads all dashboards of a folder.
func readBoards(dir string) ([]board, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var list []board
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		b := board{File: filepath.Base(f)}
		if err := json.Unmarshal(text, &b); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		list = append(list, b)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no dashboards in %s", dir)
	}
	return list, nil
}

// all returns the panels that draw something, those of closed rows too.
func (b *board) all() (list []panel) {
	for _, p := range b.Panels {
		if p.Type == "row" {
			list = append(list, p.Panels...)
			continue
		}
		list = append(list, p)
	}
	return list
}

// links returns all links that a reader of the panel can follow.
func (p *panel) links() []link {
	list := slices.Clone(p.FieldConfig.Defaults.Links)
	for _, o := range p.FieldConfig.Overrides {
		for _, prop := range o.Properties {
			var of []link
			if prop.ID == "links" && json.Unmarshal(prop.Value, &of) == nil {
				list = append(list, of...)
			}
		}
	}
	return list
}

// sql returns a variable's query.
func (v *variable) sql() string {
	var q struct{ RawSQL string }
	if v.Type != "query" || json.Unmarshal(v.Query, &q) != nil {
		return ""
	}
	return q.RawSQL
}

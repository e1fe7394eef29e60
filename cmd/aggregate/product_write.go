package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

// write writes the answer in the form that was asked for. Without any row the
// answer is that there is not enough data to say.
func (p *product) write(ctx context.Context, env *daemon.Env) error {
	w := env.Stdout
	switch p.flags.output {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		if err := e.Encode(&p.result); err != nil {
			return err
		}
	case "csv":
		t, err := p.export()
		if err != nil {
			return err
		}
		if err := writeRowsCSV(w, t.Rows); err != nil {
			return err
		}
	case "parquet":
		t, err := p.export()
		if err != nil {
			return err
		}
		columns, rows := plainRows(t.Rows)
		if err := clickhouse.WriteParquet(ctx, p.conf.ClickHouse, columns, rows, w); err != nil {
			return err
		}
	default:
		if err := p.writeTables(w); err != nil {
			return err
		}
	}
	for _, t := range p.result.Tables {
		if reflect.ValueOf(t.Rows).Len() > 0 {
			return nil
		}
	}
	return daemon.Unknown(nil)
}

func (p *product) writeTables(w io.Writer) error {
	if p.result.markdown != "" {
		_, err := io.WriteString(w, p.result.markdown)
		return err
	}
	zone := p.window.Zone
	const layout = "2006-01-02 15:04"
	fmt.Fprintf(w, "%s %s to %s, days and months in %s\n", p.result.Question, p.window.From.In(zone).Format(layout), p.window.To.In(zone).Format(layout), zone)
	for _, t := range p.result.Tables {
		fmt.Fprintf(w, "\n%s\n", t.title)
		if reflect.ValueOf(t.Rows).Len() == 0 {
			fmt.Fprintln(w, t.empty)
			continue
		}
		header, rows, left := tableRows(t.Rows, zone)
		if err := writeAligned(w, header, rows, left); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	for _, n := range p.result.Notes {
		fmt.Fprintln(w, n)
	}
	_, err := fmt.Fprintln(w, p.result.line())
	return err
}

// A field of a row: json names it for machines, title for people, show says how
// a number is written: share, ms, seconds, days.
type rowField struct {
	index             int
	name, title, show string
	kind              reflect.Type
}

func rowFields(rows any) []rowField {
	t := reflect.TypeOf(rows).Elem()
	var fields []rowField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, rowField{i, name, f.Tag.Get("title"), f.Tag.Get("show"), f.Type})
	}
	return fields
}

// tableRows turns rows into cells for people. Columns without a title are left
// out; texts come first and stand at the left.
func tableRows(rows any, zone *time.Location) (header []string, cells [][]string, left int) {
	var fields []rowField
	for _, f := range rowFields(rows) {
		if f.title != "" {
			fields = append(fields, f)
			header = append(header, f.title)
			if f.kind.Kind() == reflect.String && left == len(fields)-1 {
				left++
			}
		}
	}
	v := reflect.ValueOf(rows)
	for i := range v.Len() {
		var row []string
		for _, f := range fields {
			row = append(row, showCell(v.Index(i).Field(f.index), f.show, zone))
		}
		cells = append(cells, row)
	}
	return header, cells, left
}

func showCell(v reflect.Value, show string, zone *time.Location) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "-"
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case time.Time:
		if show == "day" {
			return x.In(zone).Format(time.DateOnly)
		}
		return x.In(zone).Format("2006-01-02 15:04")
	case bool:
		if x {
			return "yes"
		}
		return "-"
	case string:
		if x == "" {
			return "-"
		}
		return short(labelled{"", x})
	case float64:
		return showNumber(x, show)
	}
	if v.CanInt() {
		return grouped(v.Int())
	}
	if v.CanUint() {
		return grouped(int64(v.Uint()))
	}
	return fmt.Sprint(v.Interface())
}

func showNumber(x float64, show string) string {
	switch show {
	case "share":
		return fmt.Sprintf("%.1f %%", 100*x)
	case "share3":
		return fmt.Sprintf("%.3f %%", 100*x)
	case "ms":
		return milliseconds(x)
	case "seconds":
		return span(time.Duration(x * float64(time.Second)))
	case "amount":
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

// span writes a length of time in its two largest units.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d m %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d m", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// plainRows turns rows into columns of types that ClickHouse knows and values
// that JSON writes as it reads them.
func plainRows(rows any) (columns []clickhouse.ExportColumn, list []map[string]any) {
	fields := rowFields(rows)
	for _, f := range fields {
		kind, optional := f.kind, false
		if kind.Kind() == reflect.Pointer {
			kind, optional = kind.Elem(), true
		}
		t := "String"
		switch {
		case kind == reflect.TypeFor[time.Time]():
			t = "DateTime64(6, 'UTC')"
		case kind.Kind() == reflect.Float64:
			t = "Float64"
		case kind.Kind() == reflect.Bool:
			t = "Bool"
		case kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Uint64:
			t = "Int64"
		}
		if optional {
			t = "Nullable(" + t + ")"
		}
		columns = append(columns, clickhouse.ExportColumn{Name: f.name, Type: t})
	}
	v := reflect.ValueOf(rows)
	for i := range v.Len() {
		row := map[string]any{}
		for _, f := range fields {
			row[f.name] = plainValue(v.Index(i).Field(f.index))
		}
		list = append(list, row)
	}
	return columns, list
}

func plainValue(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if t, ok := reflect.TypeAssert[time.Time](v); ok {
		return t.UTC().Format("2006-01-02 15:04:05.000000")
	}
	switch v.Kind() {
	case reflect.Map, reflect.Slice, reflect.Struct:
		b, err := json.Marshal(v.Interface())
		if err != nil {
			return fmt.Sprint(v.Interface())
		}
		return string(b)
	}
	return v.Interface()
}

func writeRowsCSV(w io.Writer, rows any) error {
	c := csv.NewWriter(w)
	columns, list := plainRows(rows)
	header := make([]string, len(columns))
	for i, col := range columns {
		header[i] = col.Name
	}
	if err := c.Write(header); err != nil {
		return err
	}
	for _, row := range list {
		cells := make([]string, len(columns))
		for i, col := range columns {
			switch x := row[col.Name].(type) {
			case nil:
			case float64:
				cells[i] = strconv.FormatFloat(x, 'g', -1, 64)
			default:
				cells[i] = fmt.Sprint(x)
			}
		}
		if err := c.Write(cells); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

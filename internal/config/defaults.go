package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Defaults prints every field with its default as YAML. Fields without a
// default are empty; a list shows the form of one item in a comment.
func Defaults() string {
	var b strings.Builder
	c := DefaultConfig()
	printStruct(&b, reflect.ValueOf(c), "", 0)
	return b.String()
}

func printStruct(b *strings.Builder, v reflect.Value, comment string, depth int) {
	indent := comment + strings.Repeat("  ", depth)
	for i := range v.NumField() {
		name, inline := tag(v.Type().Field(i))
		f := v.Field(i)
		switch {
		case inline:
			printStruct(b, f, comment, depth)
		case name == "":
		case f.Kind() == reflect.Struct:
			fmt.Fprintf(b, "%s%s:\n", indent, name)
			printStruct(b, f, comment, depth+1)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			fmt.Fprintf(b, "%s%s: []\n%s# - each with:\n", indent, name, indent)
			printStruct(b, reflect.Zero(f.Type().Elem()), comment+strings.Repeat("  ", depth)+"#   ", 0)
		case f.Kind() == reflect.Map && f.Type().Elem().Kind() == reflect.Struct:
			fmt.Fprintf(b, "%s%s: {} # name: {%s}\n", indent, name, strings.Join(keys(f.Type().Elem()), ", "))
		default:
			fmt.Fprintf(b, "%s%s:%s\n", indent, name, defaultText(f))
		}
	}
}

// defaultText is a value as YAML, with a space before it unless it is empty.
func defaultText(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return " " + FormatDuration(time.Duration(v.Int()))
	case v.Kind() == reflect.Slice:
		return " []"
	case v.Kind() == reflect.Map:
		return " {}"
	case v.Kind() == reflect.String && v.Len() == 0:
		return ` ""`
	case v.CanInt() && v.Int() >= 1<<20 && v.Int()%(1<<20) == 0:
		return fmt.Sprintf(" %dMiB", v.Int()>>20)
	}
	return fmt.Sprintf(" %v", v.Interface())
}

// FormatDuration writes whole years and days as ParseDuration reads them.
func FormatDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d%(365*day) == 0:
		return fmt.Sprintf("%dy", d/(365*day))
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	s = strings.TrimSuffix(s, "m0s")
	if s != d.String() {
		s += "m"
	}
	return strings.Replace(s, "h0m", "h", 1)
}

package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/daemon"
)

// A decoder fills a Config from YAML nodes. It is strict where the YAML
// library's own decoding is lenient: unknown and repeated keys and values of
// another kind are faults, and all of them are reported, with their lines.
type decoder struct {
	file   string
	lines  map[string]int // path of each value in the file → its line
	faults []error
}

var durationType = reflect.TypeFor[time.Duration]()

func (d *decoder) decode(n *yaml.Node, c *Config) { d.value(n, reflect.ValueOf(c).Elem(), "") }

func (d *decoder) fault(n *yaml.Node, format string, args ...any) {
	d.faults = append(d.faults, &Fault{d.file, n.Line, fmt.Sprintf(format, args...)})
}

// value decodes n into v, a settable value at path.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	d.lines[path] = n.Line
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // an empty value keeps the default
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s: want keys with values (%s)", orTop(path), strings.Join(keys(v.Type()), ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if d.repeated(seen, k) {
			continue
		}
		f, ok := field(v, k.Value)
		if !ok {
			text := fmt.Sprintf("unknown key %q in %s", k.Value, orTop(path))
			if near := Nearest(k.Value, keys(v.Type())); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			} else {
				text += "; known: " + strings.Join(keys(v.Type()), ", ")
			}
			d.fault(k, "%s", text)
			continue
		}
		d.value(val, f, join(path, k.Value))
		d.lines[join(path, k.Value)] = k.Line
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "%s: want a list, such as [a, b]", path)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s: want keys with values", path)
		return
	}
	m := reflect.MakeMap(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.fault(k, "%s: a key must be a word", path)
			continue
		}
		if d.repeated(seen, k) {
			continue
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		// A mapped field is most often only its path.
		if fm, ok := reflect.TypeAssert[*fieldMapping](elem.Addr()); ok && val.Kind == yaml.ScalarNode {
			fm.Path = val.Value
			d.lines[join(path, k.Value)] = val.Line
		} else {
			d.value(val, elem, join(path, k.Value))
		}
		m.SetMapIndex(reflect.ValueOf(k.Value), elem)
	}
	v.Set(m)
}

func (d *decoder) repeated(seen map[string]int, k *yaml.Node) bool {
	if line, ok := seen[k.Value]; ok {
		d.fault(k, "key %q is already set in line %d", k.Value, line)
		return true
	}
	seen[k.Value] = k.Line
	return false
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, "%s: want one value", path)
		return
	}
	switch {
	case v.Type() == durationType:
		x, err := daemon.ParseDuration(n.Value)
		if err != nil {
			d.fault(n, "%s: %v", path, err)
			return
		}
		v.SetInt(int64(x))
	case v.Kind() == reflect.String:
		v.SetString(n.Value)
	case v.Kind() == reflect.Bool:
		var b bool
		if n.Decode(&b) != nil {
			d.fault(n, "%s: %q: want true or false", path, n.Value)
			return
		}
		v.SetBool(b)
	case v.CanInt():
		x, ok := parseSize(n.Value)
		if !ok {
			d.fault(n, "%s: %q: want a whole number, for sizes also such as 128MiB", path, n.Value)
			return
		}
		v.SetInt(x)
	case v.CanFloat():
		x, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			d.fault(n, "%s: %q: want a number", path, n.Value)
			return
		}
		v.SetFloat(x)
	default:
		d.fault(n, "%s: a field of type %s can't be set", path, v.Type())
	}
}

// parseSize reads a whole number with an optional unit of bytes.
func parseSize(s string) (int64, bool) {
	shift, number := 0, s
	for unit, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			shift, number = by, strings.TrimSpace(rest)
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(number, "_", ""), 10, 64)
	if err != nil || n > math.MaxInt64>>shift || n < math.MinInt64>>shift {
		return 0, false
	}
	return n << shift, true
}

// field returns the field of struct v with that YAML key, looking into inlined structs.
func field(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		name, inline := tag(v.Type().Field(i))
		if inline {
			if f, ok := field(v.Field(i), key); ok {
				return f, true
			}
		} else if name == key && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// keys lists the YAML keys of a struct type in the order of its fields.
func keys(t reflect.Type) []string {
	var all []string
	for field := range t.Fields() {
		name, inline := tag(field)
		if inline {
			all = append(all, keys(field.Type)...)
		} else if name != "" {
			all = append(all, name)
		}
	}
	return all
}

func tag(f reflect.StructField) (name string, inline bool) {
	name, opt, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name, opt == "inline"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orTop(path string) string {
	if path == "" {
		return "the file's top level"
	}
	return path
}

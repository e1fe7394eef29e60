package jsonlog

import "gatewatch/internal/accesslog/jsonscan"

// text returns a scalar's text; ok is false if the value is absent: null, an
// object, an array, an empty string or a dash, as gateways write what they don't have.
func text(v jsonscan.Value) (string, bool) {
	switch v.Kind {
	case jsonscan.String:
		return v.Text, v.Text != "" && v.Text != "-"
	case jsonscan.Number:
		return v.Text, true
	case jsonscan.True:
		return "true", true
	case jsonscan.False:
		return "false", true
	}
	return "", false
}

// value reads the value at hand; of an array it returns the first string, as
// loggers of header values write them, or null if its first is none.
func (d *Decoder) value() (jsonscan.Value, error) {
	if d.scan.Peek() != '[' {
		return d.scan.Value()
	}
	first := jsonscan.Value{Kind: jsonscan.Null}
	if err := d.scan.Open('['); err != nil {
		return first, err
	}
	for n := 0; ; n++ {
		more, err := d.scan.More(']')
		if err != nil || !more {
			return first, err
		}
		v, err := d.scan.Value()
		if err != nil {
			return first, err
		}
		if n == 0 && v.Kind == jsonscan.String {
			first = v
		}
	}
}

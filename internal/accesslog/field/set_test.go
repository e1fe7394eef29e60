package field_test

import (
	"testing"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
)

// The common name of a client's certificate is the consumer, unless the log names one.
func TestClientSubject(t *testing.T) {
	subject, consumer := &field.Rule{Field: field.ClientSubject}, &field.Rule{Field: field.Consumer}
	for dn, want := range map[string]string{
		"CN=acme,OU=Shop,O=Acme": "acme",
		"O=Acme, CN=acme shop":   "acme shop",
		"/C=DE/O=Acme/CN=acme":   "acme",
		"acme":                   "acme",
		"O=MYCN=x,OU=y":          "O=MYCN=x,OU=y",
		"-":                      "",
	} {
		w := field.NewSetter(nil)
		var e accesslog.Entry
		w.Begin()
		if err := w.Set(subject, 0, dn, &e); err != nil || e.Consumer.ID != want {
			t.Errorf("%q: %v, %q, want %q", dn, err, e.Consumer.ID, want)
		}
	}
	for _, first := range []*field.Rule{subject, consumer} {
		w := field.NewSetter(nil)
		var e accesslog.Entry
		w.Begin()
		for _, r := range []*field.Rule{first, subject, consumer} {
			text := "named"
			if r == subject {
				text = "CN=cert"
			}
			if err := w.Set(r, 0, text, &e); err != nil {
				t.Fatal(err)
			}
		}
		if e.Consumer.ID != "named" {
			t.Errorf("consumer %q, want the one that is named", e.Consumer.ID)
		}
	}
}

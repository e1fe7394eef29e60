// Package apache decodes Apache httpd's access logs: the formats `common` and
// `combined` of mod_log_config, also with the virtual host first.
package apache

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/clf"
)

const (
	doc   = "https://httpd.apache.org/docs/current/mod/mod_log_config.html"
	lacks = "time spent, upstream, host: no latency, and errors are told by status only"
)

// Formats returns the formats of Apache httpd.
func Formats() []accesslog.Format {
	return []accesslog.Format{
		{Name: "apache_common", Summary: "Apache httpd, Common Log Format", Doc: doc, Lacks: lacks, New: newCommon},
		{Name: "apache_combined", Summary: "Apache httpd, combined", Doc: doc, Lacks: lacks, New: newCombined},
	}
}

func newCommon(o accesslog.Options) (accesslog.Decoder, error) {
	return clf.New(clf.Options{Location: o.Location}), nil
}

func newCombined(o accesslog.Options) (accesslog.Decoder, error) {
	return clf.New(clf.Options{Location: o.Location, Combined: true}), nil
}

// Package apache decodes Apache httpd's access logs: the formats `common` and
// `combined` of mod_log_config, also with the virtual host first, and whatever
// a user's own LogFormat writes.
package apache

import (
	"errors"
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/clf"
	"gatewatch/internal/accesslog/logformat"
)

const (
	doc   = "https://httpd.apache.org/docs/current/mod/mod_log_config.html"
	lacks = "time spent, upstream, host: no latency, and errors are told by status only"

	combined = ` %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"`
)

// Formats returns the formats of Apache httpd.
func Formats() []accesslog.Format {
	return []accesslog.Format{
		{Name: "apache_common", Summary: "Apache httpd, Common Log Format", Doc: doc, Lacks: lacks, New: newCommon},
		{Name: "apache_combined", Summary: "Apache httpd, combined", Doc: doc, Lacks: lacks, New: newCombined},
		{
			Name: "apache_vhost_combined", Summary: "Apache httpd, combined with the virtual host first, as Debian has it", Doc: doc,
			Lacks: "time spent, upstream: no latency, and errors are told by status only", New: newVhost,
		},
		{
			Name: "apache_custom", Summary: "Apache httpd, text by your own LogFormat", Doc: doc, Needs: "log_format",
			Lacks: "what the LogFormat doesn't name", New: newCustom,
		},
	}
}

func newCommon(o accesslog.Options) (accesslog.Decoder, error) {
	return clf.New(clf.Options{Location: o.Location}), nil
}

func newCombined(o accesslog.Options) (accesslog.Decoder, error) {
	return clf.New(clf.Options{Location: o.Location, Combined: true}), nil
}

func newVhost(o accesslog.Options) (accesslog.Decoder, error) {
	var ts []logformat.Template
	for _, vhost := range []string{"%v:%p", "%v"} {
		t, err := compile(vhost + combined)
		if err != nil {
			return nil, err
		}
		t.More = true
		ts = append(ts, t)
	}
	return logformat.New(logformat.Options{Location: o.Location}, ts...)
}

func newCustom(o accesslog.Options) (accesslog.Decoder, error) {
	if strings.TrimSpace(o.LogFormat) == "" {
		return nil, errors.New("log_format is missing: the LogFormat line of Apache's configuration")
	}
	t, err := compile(o.LogFormat)
	if err != nil {
		return nil, err
	}
	// No worker means no balancer, not that no upstream was reached: a plain
	// ProxyPass has none either. So UpstreamKnown stays false.
	return logformat.New(logformat.Options{Location: o.Location}, t)
}

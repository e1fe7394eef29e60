// Package apache decodes Apache httpd's access logs: the formats `common` and
// `combined` of mod_log_config, also with the virtual host first.
package apache

import (
	"time"

	"gatewatch/internal/accesslog/clf"
)

// NewCommon returns a decoder of "%h %l %u %t \"%r\" %>s %b".
func NewCommon(loc *time.Location) *clf.Decoder { return clf.New(clf.Options{Location: loc}) }

// NewCombined returns a decoder of the same with "%{Referer}i" and "%{User-agent}i".
func NewCombined(loc *time.Location) *clf.Decoder {
	return clf.New(clf.Options{Location: loc, Combined: true})
}

package nginx

import (
	"time"

	"gatewatch/internal/accesslog/clf"
)

// NewCombined returns a decoder of nginx's predefined format combined
// (ngx_http_log_module, log_format), also with further fields behind it.
func NewCombined(loc *time.Location) *clf.Decoder {
	return clf.New(clf.Options{Location: loc, Combined: true})
}

package nginx

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/clf"
)

// newCombined returns a decoder of nginx's predefined format combined
// (ngx_http_log_module, log_format), also with further fields behind it.
func newCombined(o accesslog.Options) (accesslog.Decoder, error) {
	return clf.New(clf.Options{Location: o.Location, Combined: true}), nil
}

package gatewaystat

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatewatch/internal/aggregate"
)

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, body, metric string
		want               int64
		fault              string
	}{
		{"nginx", "Active connections: 291 \nserver accepts handled requests\n 16630948 16630948 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n", "", 31070465, ""},
		{"Envoy", "# TYPE envoy_http_downstream_rq_total counter\nenvoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"ingress\"} 40\nenvoy_http_downstream_rq_total{envoy_http_conn_manager_prefix=\"admin\"} 2\n", "", 42, ""},
		{"Kong", "# TYPE kong_http_requests_total counter\nkong_http_requests_total{service=\"a\",code=\"200\"} 7\nkong_http_requests_total{service=\"a\",code=\"500\"} 1e3\n", "", 1007, ""},
		{"APISIX", "# TYPE apisix_http_requests_total gauge\napisix_http_requests_total 12\n", "", 12, ""},
		{"named", "my_requests 5\nkong_http_requests_total 7\n", "my_requests", 5, ""},
		{"none", "up 1\n", "", 0, "set metric"},
		{"a histogram", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n", "h", 0, "neither a counter"},
		{"no metrics", "<html>", "", 0, "neither stub_status nor Prometheus"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.body) }))
		n, err := Read(t.Context(), aggregate.Gateway{Node: "gw", URL: server.URL, Metric: c.metric})
		server.Close()
		if n != c.want || (c.fault == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %d, %v; want %d, %q", c.name, n, err, c.want, c.fault)
		}
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if _, err := Read(t.Context(), aggregate.Gateway{URL: server.URL}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a missing page: %v", err)
	}
}

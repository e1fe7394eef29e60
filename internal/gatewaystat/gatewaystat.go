// Package gatewaystat reads how many requests a gateway says it has served: from
// its Prometheus endpoint or from nginx's stub_status page.
package gatewaystat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"gatewatch/internal/aggregate"
)

// maxBody bounds an answer; Envoy's with many clusters has some megabytes.
const maxBody = 64 << 20

// known are the counters of requests that gateways have, by their documentation.
// The first one that an endpoint has is taken.
var known = []string{
	"envoy_http_downstream_rq_total",       // Envoy: HTTP connection manager statistics
	"kong_http_requests_total",             // Kong: Prometheus plugin
	"apisix_http_requests_total",           // APISIX: prometheus plugin
	"traefik_entrypoint_requests_total",    // Traefik: entry point metrics
	"haproxy_frontend_http_requests_total", // HAProxy: its exporter
	"nginx_ingress_controller_requests",    // ingress-nginx
	"nginx_http_requests_total",            // nginx-prometheus-exporter
	"caddy_http_requests_total",            // Caddy
}

// Read returns how many requests g has served since it started.
func Read(ctx context.Context, g aggregate.Gateway) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s", g.URL, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return 0, err
	}
	if n, ok := stubStatus(string(body)); ok {
		return n, nil
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		return 0, fmt.Errorf("%s is neither stub_status nor Prometheus text: %w", g.URL, err)
	}
	names := known
	if g.Metric != "" {
		names = []string{g.Metric}
	}
	i := slices.IndexFunc(names, func(name string) bool { return families[name] != nil })
	if i < 0 {
		return 0, fmt.Errorf("%s has no %s: set metric", g.URL, strings.Join(names, ", "))
	}
	return total(families[names[i]])
}

// stub is the third line of stub_status: accepts, handled, requests
// (https://nginx.org/en/docs/http/ngx_http_stub_status_module.html).
var stub = regexp.MustCompile(`(?s)^Active connections: \d+.*server accepts handled requests\s+\d+\s+\d+\s+(\d+)`)

func stubStatus(text string) (int64, bool) {
	m := stub.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

var errNotCounter = errors.New("is neither a counter, a gauge nor untyped")

// total sums all series of a metric.
func total(f *dto.MetricFamily) (int64, error) {
	var sum float64
	for _, m := range f.GetMetric() {
		switch {
		case m.Counter != nil:
			sum += m.GetCounter().GetValue()
		case m.Gauge != nil:
			sum += m.GetGauge().GetValue()
		case m.Untyped != nil:
			sum += m.GetUntyped().GetValue()
		default:
			return 0, fmt.Errorf("%s %w", f.GetName(), errNotCounter)
		}
	}
	return int64(sum), nil
}

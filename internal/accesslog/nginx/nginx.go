// Package nginx decodes nginx access logs: JSON by a log_format whose keys are
// nginx's own variable names (deploy/gateways/nginx shows it), the predefined
// text format combined, the formats of distributions and products that build
// on nginx, and whatever a user's own log_format writes.
package nginx

import (
	"errors"
	"net/netip"
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/clf"
	"gatewatch/internal/accesslog/logformat"
)

const (
	doc          = "https://nginx.org/en/docs/http/ngx_http_log_module.html"
	lacksTimes   = "time spent, upstream, host: no latency, and errors are told by status only"
	lacksTimesOf = "time spent, upstream: no latency, and errors are told by status only"
)

// The formats of others, as log_format. X is what holds nothing of use.
const (
	combined  = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`
	bunkerweb = `$http_host $remote_addr - $request_id $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`
	fluentd   = `$remote_addr $http_host $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"`
	timed     = `[$time_local] $host $remote_addr $request_time "$request" $status $body_bytes_sent $X $http_referer $http_user_agent`
	ingress   = combined + ingressEnd
	// Until 0.27 the address came a second time, in brackets.
	ingressOld = `$remote_addr - [$X] - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"` + ingressEnd
	ingressEnd = ` $request_length $request_time [$proxy_upstream_name] [$X] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status`
	npmHead    = `[$time_local] $upstream_cache_status $upstream_status $status - $request_method $scheme $http_host "$request_uri" `
	npmCached  = `[$time_local] $status - $request_method $scheme $http_host "$request_uri" `
	npmClient  = `[Client $remote_addr] [Length $body_bytes_sent] [Gzip $gzip_ratio] `
	npmTail    = `"$http_user_agent" "$http_referer"`
)

// Formats returns the formats of nginx.
func Formats() []accesslog.Format {
	const npmDoc = "https://github.com/NginxProxyManager/nginx-proxy-manager/blob/develop/docker/rootfs/etc/nginx/conf.d/include/log.conf"
	return []accesslog.Format{
		{Name: "nginx_json", Summary: "nginx, JSON with nginx's variable names as keys", Doc: doc, New: newJSON},
		{Name: "nginx_combined", Summary: "nginx, predefined text format combined", Doc: doc, Lacks: lacksTimes, New: newCombined},
		{
			Name: "nginx_custom", Summary: "nginx, text by your own log_format", Doc: doc, Needs: "log_format",
			Lacks: "what the log_format doesn't name", New: newCustom,
		},
		{
			Name: "nginx_main", Summary: "nginx, format main of the packages: combined and X-Forwarded-For", Doc: doc, Lacks: lacksTimes,
			New: predefined(nil, combined+` "$http_x_forwarded_for"`, combined+` $http_x_forwarded_for`),
		},
		{
			Name: "nginx_vhost_combined", Summary: "nginx, combined with the virtual host first", Doc: doc, Lacks: lacksTimesOf,
			New: predefined(nil, `$http_host `+combined),
		},
		{
			Name: "nginx_xff_combined", Summary: "nginx, combined with X-Forwarded-For in quotes first", Doc: doc, Lacks: lacksTimes,
			New: predefined(firstPublic, `"$http_x_forwarded_for" `+combined, `$http_x_forwarded_for `+combined),
		},
		{
			Name: "nginx_custom_request_time", Summary: "nginx, time and host first, request time before the request", Doc: doc,
			Lacks: "upstream: errors are told by status only", New: predefined(nil, timed),
		},
		{
			Name: "nginx_ingress", Summary: "ingress-nginx, default format upstreaminfo",
			Doc:   "https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/",
			Lacks: "host", New: predefined(known, ingressOld+` $req_id`, ingressOld, ingress+` $req_id`, ingress),
		},
		{
			Name: "nginx_proxy_manager", Summary: "Nginx Proxy Manager, formats proxy and standard", Doc: npmDoc,
			Lacks: "time spent, protocol: no latency, and errors are told by status only",
			New: predefined(nil,
				npmHead+npmClient+`[Sent-to $upstream_addr] `+npmTail, npmCached+npmClient+`[Sent-to $upstream_addr] `+npmTail,
				npmHead+npmClient+npmTail, npmCached+npmClient+npmTail),
		},
		{
			Name: "nginx_bunkerweb", Summary: "BunkerWeb, default format", Doc: "https://docs.bunkerweb.io/latest/features/", Lacks: lacksTimesOf,
			New: predefined(nil, bunkerweb),
		},
		{
			Name: "nginx_fluentd_host", Summary: "nginx, as Fluentd's parser template for nginx has it: host for ident",
			Doc: "https://docs.fluentd.org/parser/nginx", Lacks: lacksTimesOf,
			New: predefined(nil, fluentd+` "$http_x_forwarded_for"`, fluentd+` $http_x_forwarded_for`, fluentd),
		},
	}
}

func newCombined(o accesslog.Options) (accesslog.Decoder, error) {
	return clf.New(clf.Options{Location: o.Location, Combined: true}), nil
}

func newCustom(o accesslog.Options) (accesslog.Decoder, error) {
	if strings.TrimSpace(o.LogFormat) == "" {
		return nil, errors.New("log_format is missing: the line of nginx's configuration")
	}
	t, err := compile(o.LogFormat)
	if err != nil {
		return nil, err
	}
	opts := logformat.Options{Location: o.Location}
	for _, p := range t.Parts {
		opts.UpstreamKnown = opts.UpstreamKnown || p.Name == "$upstream_addr" || p.Name == "$upstream_status"
	}
	return logformat.New(opts, t)
}

// predefined returns what makes decoders for lines of any of the log_formats.
func predefined(finish func(*accesslog.Entry), texts ...string) func(accesslog.Options) (accesslog.Decoder, error) {
	return func(o accesslog.Options) (accesslog.Decoder, error) {
		var ts []logformat.Template
		for _, text := range texts {
			t, err := compile(text)
			if err != nil {
				return nil, err
			}
			t.More = true
			ts = append(ts, t)
		}
		return logformat.New(logformat.Options{Location: o.Location, Finish: finish}, ts...)
	}
}

// known marks entries of a format that names the upstream of each request that had one.
func known(e *accesslog.Entry) { e.UpstreamKnown = true }

// firstPublic takes the first public address of the chain of proxies for the
// client's: those before it are of the client's own network. Without any the
// first counts.
func firstPublic(e *accesslog.Entry) {
	chain := e.ForwardedFor
	first := ""
	for chain != "" {
		var item string
		item, chain, _ = strings.Cut(chain, ",")
		item = strings.TrimSpace(item)
		a, err := netip.ParseAddr(item)
		if err != nil {
			continue
		}
		if first == "" {
			first = item
		}
		if a.IsGlobalUnicast() && !a.IsPrivate() {
			e.SetClient(item)
			return
		}
	}
	if a, err := netip.ParseAddr(e.ClientIP); first != "" && (err != nil || a.IsPrivate() || !a.IsGlobalUnicast()) {
		e.SetClient(first)
	}
}

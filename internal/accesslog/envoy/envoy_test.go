package envoy

import (
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/outcome"
)

func decode(t testing.TB, msg string) accesslog.Entry {
	t.Helper()
	d, err := newJSON(accesslog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out accesslog.Entries
	if err := d.Decode([]byte(msg), &out); err != nil {
		t.Fatalf("%s: %v", msg, err)
	}
	return out.All()[0]
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct{ status, flags, details, want string }{
		{"200", "-", "via_upstream", "none upstream yes none"},
		{"404", "-", "via_upstream", "client_not_found upstream yes stated"},
		{"503", "-", "via_upstream", "upstream_5xx upstream yes stated"},
		{"503", "UF,URX", "upstream_reset_before_response_started{connection_failure,connect_error:_111}", "upstream_connect gateway no stated"},
		{"503", "UF", "upstream_reset_before_response_started{remote_connection_failure,TLS_error:_268435703}", "upstream_tls gateway no stated"},
		{"503", "UF", "upstream_reset_before_response_started{connection_timeout}", "upstream_connect gateway no stated"},
		{"503", "UH", "no_healthy_upstream", "gateway_no_upstream gateway no stated"},
		{"503", "UO", "upstream_reset_before_response_started{overflow}", "breaker_open gateway no stated"},
		{"503", "UC", "upstream_reset_before_response_started{connection_termination}", "upstream_reset gateway yes stated"},
		{"503", "URX", "via_upstream", "upstream_5xx upstream yes stated"},
		{"504", "UT", "upstream_response_timeout", "upstream_timeout gateway yes stated"},
		{"504", "UpstreamRequestTimeout", "-", "upstream_timeout gateway yes stated"},
		{"504", "-", "upstream_per_try_timeout", "upstream_timeout gateway yes stated"},
		{"404", "NR", "route_not_found", "gateway_no_route gateway no stated"},
		{"503", "NC", "cluster_not_found", "gateway_no_upstream gateway no stated"},
		{"429", "RL", "request_rate_limited", "client_quota gateway no stated"},
		{"429", "-", "local_rate_limited", "client_quota gateway no stated"},
		{"403", "UAEX", "ext_authz_denied", "client_forbidden gateway no stated"},
		{"401", "UAEX", "ext_authz_denied", "client_auth gateway no stated"},
		{"401", "-", "jwt_authn_access_denied{Jwt_is_expired}", "client_auth gateway no stated"},
		{"403", "-", "rbac_access_denied_matched_policy[none]", "client_forbidden gateway no stated"},
		{"0", "DC", "downstream_remote_disconnect", "client_cancelled client unknown stated"},
		{"400", "DPE", "http1.codec_error", "client_bad_request client no stated"},
		{"503", "OM", "overload", "gateway_overload gateway no stated"},
		{"503", "DF", "dns_resolution_failure", "upstream_dns gateway no stated"},
		{"502", "UPE", "upstream_protocol_error", "upstream_protocol gateway yes stated"},
		{"301", "-", "direct_response", "none gateway no none"},
		{"413", "-", "request_payload_too_large", "client_too_large gateway no stated"},
	} {
		e := decode(t, `{"response_code":`+c.status+`,"method":"GET","response_flags":"`+c.flags+`","response_code_details":"`+c.details+`"}`)
		o := e.Outcome
		got := o.Class.String() + " " + o.Responder.String() + " " + o.UpstreamReached.String() + " " + o.Evidence.String()
		if got != c.want {
			t.Errorf("%s %s %s: got %s, want %s", c.status, c.flags, c.details, got, c.want)
		}
	}
	if o := decode(t, `{"response_code":503,"method":"GET"}`).Outcome; o != (accesslog.Outcome{}) {
		t.Errorf("nothing stated, got %+v", o)
	}
}

// Every flag that Envoy's documentation lists has a row.
func TestTableIsComplete(t *testing.T) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, word := range table.Words("flag") {
		rows[word] = true
	}
	for f := range strings.FieldsSeq("UH UF UO NR URX NC DT UR UC UT LR DC LH RL UAEX RLSE IH SI DPE UPE UMSDR OM DF DO DR DI FI NFCF RFCF UDO") {
		if !rows[f] {
			t.Errorf("no row for flag %s", f)
		}
	}
}

// Every detail that Envoy's documentation lists says something, for a request that Envoy refused.
func TestDetailsAreComplete(t *testing.T) {
	const details = `absolute_path_rejected admin_filter_response cluster_not_found downstream_local_disconnect downstream_remote_disconnect
		duration_timeout direct_response filter_chain_not_found filter_removed_required_headers internal_redirect low_version maintenance_mode
		max_duration_timeout missing_host_header missing_path_rejected no_healthy_upstream overload path_normalization_failed
		request_headers_failed_strict_check request_overall_timeout request_payload_exceeded_retry_buffer_limit request_payload_too_large
		response_payload_too_large route_configuration_not_found route_not_found stream_idle_timeout upgrade_failed
		upstream_max_stream_duration_reached upstream_per_try_timeout upstream_reset_after_response_started{x}
		upstream_reset_before_response_started{x} upstream_response_timeout via_upstream http1.body_disallowed http1.codec_error
		http1.connection_header_rejected http1.content_length_and_chunked_not_allowed http1.content_length_not_allowed
		http1.headers_too_large http1.invalid_characters http1.invalid_transfer_encoding http1.invalid_url http1.too_many_headers
		http1.transfer_encoding_not_allowed http1.unexpected_underscore http2.inbound_empty_frames_flood http2.invalid.header.field
		http2.outbound_frames_flood http2.too_many_headers http2.unexpected_underscore http2.unknown.nghttp2.error
		http2.violation.of.messaging.rule`
	for d := range strings.FieldsSeq(details) {
		if o := decode(t, `{"response_code":500,"method":"GET","response_code_details":"`+d+`"}`).Outcome; o.Evidence != accesslog.EvidenceStated {
			t.Errorf("%s: %+v", d, o)
		}
	}
}

// The same facts under all the names that people give them.
func TestSpellings(t *testing.T) {
	for _, msg := range []string{
		`{"start_time":"2026-01-02T03:04:05.678Z","method":"GET","path":"/a?b","response_code":200,"duration":"12","x-forwarded-for":"192.0.2.7, 198.51.100.1",":authority":"h:8080","user-agent":"ua","x-envoy-upstream-service-time":"10","upstream_cluster":"c","x-request-id":"r"}`,
		`{"@timestamp":"2026-01-02T03:04:05.678Z",":method":"GET",":path":"/a?b","status":"200","duration_ms":12,"x_forwarded_for":"192.0.2.7","authority":"h:8080","user_agent":"ua","upstream_service_time":10,"upstream_cluster":"c","request_id":"r"}`,
		`{"timestamp":"2026-01-02T03:04:05.678Z","request_method":"GET","x-envoy-origin-path":"/a?b","path":"/rewritten","status_code":200,"duration":12,"downstream_remote_address":"192.0.2.7:4711","x-forwarded-for":"203.0.113.1","host":"h:8080","user-agent":"ua","x_envoy_upstream_service_time":10,"service":"c","upstream_cluster":"other","x_request_id":"r"}`,
	} {
		e := decode(t, msg)
		if e.Time.UnixMilli() != 1767323045678 || !e.TimeIsStart || e.Method != "GET" || e.Target != "/a?b" || e.Path != "/a" || e.Status != 200 ||
			e.Latency.Total.V != 12*time.Millisecond || e.Latency.Upstream.V != 10*time.Millisecond || e.ClientIP != "192.0.2.7" ||
			e.Host != "h" || e.Authority != "h:8080" || e.UserAgent != "ua" || e.Service != "c" || e.RequestID != "r" {
			t.Errorf("%s: %+v", msg, e)
		}
	}
}

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, Formats()) }

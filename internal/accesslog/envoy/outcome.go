package envoy

import (
	_ "embed"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed outcomes.tsv
var outcomesTSV string

// stated says what e's flags and details state.
func stated(table *outcome.Table, e *accesslog.Entry) accesslog.Outcome {
	if e.Flags == "" && e.Details == "via_upstream" && e.Status > 0 && e.Status < 400 {
		return accesslog.Outcome{Responder: accesslog.ResponderUpstream, UpstreamReached: accesslog.ReachedYes}
	}
	return table.Of(e)
}

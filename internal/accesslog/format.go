package accesslog

import "time"

// A Format is one way in which a gateway writes its access log. The package of
// each gateway lists its formats.
type Format struct {
	Name    string // as a topic's configuration gives it
	Summary string // gateway and variant, on one line
	Doc     string // address of the vendor's own description
	Lacks   string // what lines of this format can't tell, and what that costs; empty if nothing
	Needs   string // the key of a topic's configuration that New can't do without: log_format, mapping; else empty
	New     func(Options) (Decoder, error)
}

// Options is what a topic's configuration says about its lines.
type Options struct {
	// Location of times without a zone; nil is UTC.
	Location *time.Location
	// LogFormat is the user's own format string, for formats that take one.
	LogFormat string
	// Mapping says where fields are in an object, by field name, for format json.
	Mapping map[string]Source
}

// A Source is where a field is in a JSON object and how to read it.
type Source struct {
	Path   string // dotted; \. is a dot inside a key
	Unit   string // of a duration or epoch: s, ms, us, ns; empty: ms, or what an epoch's magnitude says
	Layout string // of a time: rfc3339, epoch, clf or a Go layout; empty: by its look
}

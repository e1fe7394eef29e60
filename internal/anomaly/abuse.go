package anomaly

import "fmt"

// An Activity is what one caller did on one operation in an hour.
type Activity struct {
	// Subject is a key or, of requests without one, a client address.
	Subject
	Operation string // METHOD route
	Requests  int64
	// Refused counts 401 and 403, Missing 404 and the like, Succeeded 2xx.
	Refused, Missing, Succeeded int64
	// Objects is how many different paths were asked for, Credentials how many
	// different keys were presented.
	Objects, Credentials int64
	// Minutes of the hour with a request.
	Minutes int64
	// Template says that the route has a parameter, Reads that the method is GET or HEAD,
	// Login that the operation makes a session or token.
	Template, Reads, Login bool
}

// Where abuse begins, per hour. They are far above what a client does that
// makes mistakes; scraping is also measured against the other callers.
const (
	stuffingRefused     = 60
	stuffingShare       = 0.7
	stuffingCredentials = 10
	enumerationMissing  = 100
	enumerationShare    = 0.3
	enumerationObjects  = 0.8 // different paths a request
	scrapingObjects     = 500
	scrapingTypical     = 10 // times what is typical on the operation
)

// Abuse returns the shape of abuse that an activity has. typical is the median
// number of different objects that callers of the operation asked for.
func Abuse(a Activity, typical float64) (Finding, bool) {
	f := Finding{Subject: a.Subject}
	n := float64(max(1, a.Requests))
	switch {
	case a.Refused >= stuffingRefused && float64(a.Refused) >= stuffingShare*n && (a.Credentials >= stuffingCredentials || a.Login):
		f.Kind, f.Value, f.Score = "credential_stuffing", float64(a.Refused), float64(a.Refused)/stuffingRefused
		f.Evidence = fmt.Sprintf("%d of %d requests to %s refused, with %d different credentials, %d succeeded", a.Refused, a.Requests, a.Operation, a.Credentials, a.Succeeded)
	case a.Template && a.Missing >= enumerationMissing && float64(a.Missing) >= enumerationShare*n && float64(a.Objects) >= enumerationObjects*n:
		f.Kind, f.Value, f.Score = "enumeration", float64(a.Missing), float64(a.Missing)/enumerationMissing
		f.Evidence = fmt.Sprintf("%d different objects of %s tried in %d requests, %d do not exist", a.Objects, a.Operation, a.Requests, a.Missing)
	case a.Reads && a.Template && float64(a.Objects) >= max(scrapingObjects, scrapingTypical*typical) && float64(a.Objects) >= enumerationObjects*n:
		f.Kind, f.Value, f.Score = "scraping", float64(a.Objects), float64(a.Objects)/max(scrapingObjects, scrapingTypical*typical)
		f.Evidence = fmt.Sprintf("%d different objects of %s read in %d minutes, others read %.0f", a.Objects, a.Operation, a.Minutes, typical)
	default:
		return f, false
	}
	return f, true
}

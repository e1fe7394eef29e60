package scenario

import "time"

// A Label is what is true of a scenario, and what an alerter should say of it.
type Label struct {
	Name     string    `json:"name"` // of the shop, with which the names of all that is in it begin
	Kind     string    `json:"kind"`
	From, To time.Time // of the incident
	Note     string    `json:"note"` // what happened, for people
	// Pages are what should be paged, one each; none: nobody is to be woken.
	Pages []Page `json:"pages"`
	// Ticket is the kind of signal that should be told without waking anybody;
	// empty: none is asked for.
	Ticket string `json:"ticket,omitempty"`
}

// A Page is one incident that somebody is to be woken for.
type Page struct {
	Service string `json:"service"`
	Owner   string `json:"owner"`
	// Suspects are the right answers as "dimension=value"; for a pair of dimensions
	// joined by a comma. Empty: nothing stands out.
	Suspects []string `json:"suspects"`
	// Reach are the right names of the blast radius, each with the value that it
	// concerns behind "=" where it concerns one.
	Reach []string `json:"reach"`
	// Routes, Regions and Clients are those affected; empty: all.
	Routes  []string `json:"routes,omitempty"`
	Regions []string `json:"regions,omitempty"`
	Clients []string `json:"clients,omitempty"`
	// Runbooks are those that fit; the first is the best.
	Runbooks []string `json:"runbooks"`
	// Latency says that it is slowness, not failure.
	Latency bool `json:"latency,omitempty"`
}

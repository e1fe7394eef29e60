package alert

// A Kind is what an alert is about. Its name is stored, and runbooks match it.
type Kind string

// The kinds of signal.
const (
	SLOBurn         Kind = "slo_burn"
	LatencyBurn     Kind = "latency_burn"
	DataIncomplete  Kind = "data_incomplete"
	ClientErrors    Kind = "client_errors"
	TrafficLost     Kind = "traffic_lost"
	Breaker         Kind = "breaker_open"
	ConsumerFailing Kind = "consumer_failing"
	UnusualTraffic  Kind = "unusual_traffic"
	UnusualUse      Kind = "unusual_use"
	QuotaForecast   Kind = "quota_forecast"
	Sunset          Kind = "version_sunset"
	LoggingGap      Kind = "logging_gap"
	StaleData       Kind = "stale_data"
	DeadLetters     Kind = "dead_letters"
	TrafficDip      Kind = "traffic_dip"
	DeliveryFailing Kind = "delivery_failing"
	RetentionAtRisk Kind = "retention_at_risk"
	DiskFilling     Kind = "disk_filling"
	BudgetLow       Kind = "budget_low"
)

// A KindInfo describes a kind: the one place where kinds are listed.
type KindInfo struct {
	Kind     Kind
	Name     string   // of the alert, its label alertname
	Severity Severity // that it has; of objectives the windows say
	Meaning  string
}

// Kinds returns all kinds.
func Kinds() []KindInfo {
	return []KindInfo{
		{SLOBurn, "SLOBurn", Page, "an objective's error budget burns too fast"},
		{LatencyBurn, "SLOBurn", Page, "too many answers are slower than promised"},
		{DataIncomplete, "DataIncomplete", Page, "data has not been complete for 10 minutes under an objective that pages: nothing can be judged"},
		{ClientErrors, "ClientErrors", Page, "a class of client errors leaves what is usual for many consumers of a service at once: an expired certificate, an identity provider that is down, a lost route, a wrong limit"},
		{TrafficLost, "TrafficLost", Page, "Kafka is complete, but a service or node has less than a twentieth of its usual requests for 3 minutes"},
		{Breaker, "BreakerOpen", Ticket, "a circuit breaker refuses requests"},
		{ConsumerFailing, "ConsumerFailing", Ticket, "most requests of one consumer fail, those of the others do not"},
		{UnusualTraffic, "UnusualTraffic", Ticket, "a service has far more requests than at this hour of the week"},
		{UnusualUse, "UnusualUse", Ticket, "a consumer's requests leave what is usual at this hour of the week"},
		{QuotaForecast, "QuotaForecast", Ticket, "a consumer will use up its quota before the period ends"},
		{Sunset, "VersionSunset", Ticket, "keys still call a version that will be switched off soon"},
		{LoggingGap, "LoggingGap", Ticket, "a service writes traces but no access log"},
		{StaleData, "StaleData", Ticket, "a topic has been behind for some minutes"},
		{DeadLetters, "DeadLetters", Ticket, "more than a hundredth of a topic's messages can't be read"},
		{TrafficDip, "TrafficDip", Ticket, "a service has less than half of its usual requests for 15 minutes"},
		{RetentionAtRisk, "RetentionAtRisk", Ticket, "messages wait for so long that Kafka will delete them unread"},
		{DiskFilling, "DiskFilling", Ticket, "a disk of ClickHouse will be full within a week"},
		{BudgetLow, "BudgetLow", Ticket, "an objective has less than a tenth of its error budget left, though nothing burns fast"},
		{DeliveryFailing, "DeliveryFailing", Page, "no Alertmanager takes alerts"},
	}
}

// Info returns the description of a kind, and false if there is none of that name.
func (k Kind) Info() (KindInfo, bool) {
	for _, i := range Kinds() {
		if i.Kind == k {
			return i, true
		}
	}
	return KindInfo{}, false
}

package accesslog

import "time"

// refusedWithin is how quickly a refused connection fails; a response that
// breaks off takes longer.
const refusedWithin = 5 * time.Millisecond

// Infer derives an outcome from status, upstream status and times, for
// gateways that state no reason of their own. Statuses are those of RFC 9110
// §15, 499 is nginx's (ngx_http_request.h: NGX_HTTP_CLIENT_CLOSED_REQUEST).
func Infer(e *Entry) Outcome {
	if e.Status == 0 && !e.NoResponse && e.Method == "" && e.Path == "" && e.RequestLine == "" && e.Flags == "" {
		return Outcome{Evidence: EvidenceNone} // the log tells nothing of the answer
	}
	o := Outcome{Evidence: EvidenceInferred}
	switch {
	case e.Upstream != "" || e.UpstreamStatus != 0 || e.Latency.Upstream.OK:
		o.UpstreamReached = ReachedYes
	case e.UpstreamKnown:
		o.UpstreamReached = ReachedNo
	}
	o.Responder = answered(e, o.UpstreamReached)
	if e.Status < 400 && e.Status > 0 {
		o.Evidence = EvidenceNone
		return o
	}
	if o.Class = clientClass(e.Status); o.Class != ErrorNone {
		if o.Class == ClientCancelled {
			o.Responder = ResponderClient
		}
		return o
	}
	o.Class, o.Responder, o.UpstreamReached = serverClass(e, o)
	return o
}

// answered says whose status it is, as far as the upstream's status tells.
func answered(e *Entry, reached Reached) Responder {
	switch {
	case reached == ReachedNo:
		return ResponderGateway
	case reached == ReachedYes && e.UpstreamStatus == e.Status:
		return ResponderUpstream
	case reached == ReachedYes && e.UpstreamStatus != 0:
		return ResponderGateway
	}
	return ResponderUnknown
}

func clientClass(status int) ErrorClass {
	switch status {
	case 400, 422:
		return ClientBadRequest
	case 401:
		return ClientAuth
	case 403:
		return ClientForbidden
	case 404, 405, 410:
		return ClientNotFound
	case 408:
		return ClientTimeout
	case 413, 414, 431:
		return ClientTooLarge
	case 429:
		return ClientQuota
	case 499:
		return ClientCancelled
	}
	if status >= 400 && status < 500 {
		return ClientOther
	}
	return ErrorNone
}

// ClassOfStatus returns the class of a status that the given responder chose itself.
func ClassOfStatus(status int, r Responder) ErrorClass {
	if status > 0 && status < 400 {
		return ErrorNone
	}
	if c := clientClass(status); c != ErrorNone {
		return c
	}
	switch {
	case status >= 500 && r == ResponderUpstream:
		return Upstream5xx
	case status >= 500 && r == ResponderGateway:
		return GatewayInternal
	}
	return ErrorUnknown
}

func serverClass(e *Entry, o Outcome) (ErrorClass, Responder, Reached) {
	quick := e.Latency.Upstream.OK && e.Latency.Upstream.V < refusedWithin
	switch {
	case e.Status == 504:
		return UpstreamTimeout, ResponderGateway, o.UpstreamReached
	case e.Status == 502 && o.UpstreamReached == ReachedYes && quick:
		return UpstreamConnect, ResponderGateway, ReachedNo
	case e.Status == 502 && o.UpstreamReached == ReachedYes && e.Latency.Upstream.OK:
		return UpstreamReset, ResponderGateway, ReachedYes
	case e.Status == 502 && o.UpstreamReached == ReachedNo:
		return GatewayNoUpstream, ResponderGateway, ReachedNo
	case e.Status == 502:
		return UpstreamProtocol, ResponderGateway, o.UpstreamReached
	case o.Responder == ResponderUpstream:
		return Upstream5xx, ResponderUpstream, ReachedYes
	case o.UpstreamReached == ReachedNo && e.Status == 503:
		return GatewayOverload, ResponderGateway, ReachedNo
	case o.UpstreamReached == ReachedNo:
		return GatewayInternal, ResponderGateway, ReachedNo
	case o.UpstreamReached == ReachedYes && e.UpstreamStatus == 0:
		return Upstream5xx, ResponderUpstream, ReachedYes
	case o.UpstreamReached == ReachedYes:
		return GatewayInternal, ResponderGateway, ReachedYes
	}
	return ErrorUnknown, ResponderUnknown, ReachedUnknown
}

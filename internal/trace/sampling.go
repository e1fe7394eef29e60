package trace

import (
	"strconv"
	"strings"
)

// maxWeight is the largest weight that OpenTelemetry's thresholds can state.
const maxWeight = 1 << 56

// SetTraceState reads how many spans s stands for from the OpenTelemetry member
// of a tracestate: th, a rejection threshold of up to 14 hexadecimal digits, which
// must not be above the randomness rv; or the older p, a power of two
// (https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/).
func (s *Span) SetTraceState(state string) {
	if w := stateWeight(state); w > 0 {
		s.Weight = w
	}
}

// stateWeight returns the weight that a tracestate states, 0 if none.
func stateWeight(state string) float64 {
	for state != "" {
		var member string
		member, state, _ = strings.Cut(state, ",")
		value, ok := strings.CutPrefix(strings.TrimSpace(member), "ot=")
		if !ok {
			continue
		}
		return memberWeight(value)
	}
	return 0
}

// memberWeight reads the value of the member ot.
func memberWeight(value string) float64 {
	weight := 0.0
	var threshold, randomness uint64
	explicit := false
	for value != "" {
		var sub string
		sub, value, _ = strings.Cut(value, ";")
		key, v, _ := strings.Cut(sub, ":")
		switch key {
		case "th":
			t, ok := parseThreshold(v)
			if !ok {
				return 0
			}
			threshold, weight = t, thresholdWeight(t)
		case "rv":
			r, err := strconv.ParseUint(v, 16, 64)
			randomness, explicit = r, err == nil && len(v) == 14
		case "p":
			if n, err := strconv.ParseUint(v, 10, 8); err == nil && n <= 62 && weight == 0 {
				weight = float64(uint64(1) << n)
			}
		}
	}
	if explicit && threshold > randomness {
		return 0 // inconsistent: such a span would have been dropped
	}
	return weight
}

func parseThreshold(s string) (uint64, bool) {
	if s == "" || len(s) > 14 {
		return 0, false
	}
	t, err := strconv.ParseUint(s, 16, 64)
	return t << (4 * (14 - len(s))), err == nil
}

func thresholdWeight(t uint64) float64 { return maxWeight / float64(maxWeight-t) }

// statedWeight returns the weight that an attribute states, 0 if none: a
// tracestate that was kept as a tag, a threshold
// (OpenTelemetry Collector, probabilisticsamplerprocessor), a probability,
// Jaeger's sampler.param where sampler.type is probabilistic
// (https://www.jaegertracing.io/docs/1.76/architecture/sampling/), or Honeycomb's
// SampleRate, which is one in N.
func statedWeight(a Attr, sampler string) float64 {
	switch a.Key {
	case "":
		return 0
	case "w3c.tracestate":
		return stateWeight(a.Value)
	case "sampling.threshold":
		if t, ok := parseThreshold(a.Value); ok {
			return thresholdWeight(t)
		}
		return 0
	case "sampler.param":
		if sampler != "probabilistic" {
			return 0
		}
	}
	f, err := strconv.ParseFloat(a.Value, 64)
	if err != nil || !(f > 0) {
		return 0
	}
	// A rate above 1 is one in N.
	if f < 1 {
		f = 1 / f
	} else if a.Key != "SampleRate" && a.Key != "sampling.rate" && f != 1 {
		return 0
	}
	if f > maxWeight {
		return 0
	}
	return f
}

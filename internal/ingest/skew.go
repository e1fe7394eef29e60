package ingest

import (
	"fmt"
	"time"
)

// A zoneSkew notices logs that are written in local time without a zone: then
// event minus Kafka time sits near one whole quarter hour for nearly all messages.
type zoneSkew struct {
	quarter int64 // the quarter hour that most of the recent events sit at
	share   float64
	begun   bool
}

const (
	quarterHour = 15 * time.Minute
	// skewJitter is how far from the quarter hour shipping delay puts an event.
	skewJitter = 2 * time.Minute
	skewWeight = 0.02
	skewShare  = 0.9
)

func (z *zoneSkew) see(ahead time.Duration) {
	q := int64((ahead + skewJitter).Truncate(quarterHour) / quarterHour)
	off := ahead - time.Duration(q)*quarterHour
	hit := q > 0 && off.Abs() <= skewJitter
	switch {
	case !z.begun: // the very first message decides alone, so that none is lost
		z.begun = true
		if hit {
			z.quarter, z.share = q, 1
		}
	case hit && q == z.quarter:
		z.share += skewWeight * (1 - z.share)
	case hit && z.share < 0.1:
		z.quarter, z.share = q, max(z.share, skewWeight)
	default:
		z.share -= skewWeight * z.share
	}
}

func (z *zoneSkew) likely() bool { return z.share >= skewShare }

func (z *zoneSkew) zone() string {
	d := time.Duration(z.quarter) * quarterHour
	if d%time.Hour == 0 {
		return fmt.Sprintf("UTC+%d", d/time.Hour)
	}
	return fmt.Sprintf("UTC+%d:%02d", d/time.Hour, d%time.Hour/time.Minute)
}

package ownership

import (
	"time"

	"github.com/chronik-stream/chronik/metastore"
)

// A broker whose lease lapses again and again, say because its link to the metadata
// store comes and goes, loses its partitions each time, and each time would get them
// back after RebalanceDelay: every move stops their producers for a moment. So who
// comes back once more within quietTime is waited for twice as long as the last
// time, up to holdMax. A first restart is no flapping, and what nobody owns does not
// wait.
const (
	quietTime = 10 * time.Minute
	holdMax   = time.Minute
)

// lives are the brokers' sessions, as this one saw them come.
type lives map[metastore.BrokerID]*lived

type lived struct {
	session metastore.Session
	since   time.Time
	returns int // in a row, each within quietTime of the one before
}

// see takes notice of a broker that is there.
func (l lives) see(b metastore.Broker, now time.Time) {
	known := l[b.ID]
	switch {
	case known == nil:
		l[b.ID] = &lived{session: b.Session, since: now}
	case known.session != b.Session:
		if now.Sub(known.since) > quietTime {
			known.returns = 0
		}
		known.session, known.since = b.Session, now
		known.returns++
	}
}

// hold is how long a broker is still to stay before it is given partitions that
// others serve, when after the first return it is delay.
func (l lives) hold(b metastore.BrokerID, delay time.Duration, now time.Time) time.Duration {
	known := l[b]
	if known == nil || known.returns < 2 {
		return 0
	}
	for range known.returns - 1 {
		if delay *= 2; delay >= holdMax {
			delay = holdMax
			break
		}
	}
	return delay - now.Sub(known.since)
}

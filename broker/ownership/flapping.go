package ownership

import (
	"time"

	"github.com/chronik-stream/chronik/metastore"
)

// A broker whose lease lapses again and again, say because its link to the metadata
// store comes and goes, loses its partitions each time, and each time would get them
// back after RebalanceDelay: every move stops their producers for a moment. And the
// consumer groups that it coordinates have to find their coordinator twice. So who
// comes back once more within quietTime is waited for twice as long as the last
// time, up to holdMax. A first restart is no flapping, and what nobody owns does not
// wait.
const (
	quietTime = 10 * time.Minute
	holdMax   = time.Minute
)

// Lives are the brokers' sessions, as one of them saw them come. It belongs to one
// goroutine.
type Lives map[metastore.BrokerID]*lived

type lived struct {
	session metastore.Session
	since   time.Time
	returns int // in a row, each within quietTime of the one before
}

// See takes notice of the brokers that are there, and not draining.
func (l Lives) See(v *metastore.View, now time.Time) {
	for _, b := range v.Brokers() {
		if !v.Draining(b.ID) {
			l.see(b, now)
		}
	}
}

func (l Lives) see(b metastore.Broker, now time.Time) {
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

// Hold is how long a broker is still to stay before it is given what others serve,
// when after the first return it is delay: 0 or less for one that does not flap.
func (l Lives) Hold(b metastore.BrokerID, delay time.Duration, now time.Time) time.Duration {
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

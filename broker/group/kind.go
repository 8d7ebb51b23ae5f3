package group

import (
	"time"

	"github.com/chronik-stream/chronik/internal/format"
)

// kind is the state of one group in the protocol that it speaks. All its steps
// are pure: time comes in, and what is to be said or stored comes out.
type kind interface {
	// Expire does what is due at now; Next returns when that is, zero for never.
	Expire(now time.Time)
	Next() time.Time

	// Take returns the answers to parked requests of the steps since the last
	// Take. Those without an error are held back until the state is stored.
	Take() []Answer

	// Changed reports whether Durable returns something else since Changed was
	// called last. It may be wrong in saying yes.
	Changed() bool
	// Durable is what the next life of the coordinator has to know. No Head:
	// nothing. It belongs to the caller.
	Durable() Stored

	// Idle reports whether the state has no members, present or expected.
	Idle() bool
	// Summary is the line of the group in a list.
	Summary() Summary

	// Subscribed reports whether a member reads the topic, or may.
	Subscribed(topic string) bool
	// Since returns from when on an offset of a topic, committed at a time, is on
	// its way to expire; false while it is not.
	Since(topic string, committed time.Time) (time.Time, bool)
}

// The kinds of groups, by the names that Kafka's tools show.
const (
	Classic  = "classic"
	Consumer = "consumer"
)

// Summary is one line about a group.
type Summary struct {
	Kind         string // Classic or Consumer
	ProtocolType string
	Phase        Phase
	Generation   int32 // or group epoch
	Members      int
	Reason       string // why it rebalances, or did last; "" is not known
}

// A stored head begins with the kind of the state.
const (
	headClassic  = 1
	headConsumer = 2
)

// restore is the reverse of kind.Durable. Members have a whole session timeout
// from now.
func restore(stored Stored, limits Limits, now time.Time) (kind, error) {
	switch {
	case len(stored.Head) == 0:
		return nil, nil
	case stored.Head[0] == headClassic:
		return restoreClassic(stored, limits, now)
	case stored.Head[0] == headConsumer:
		return restoreConsumers(stored, limits.consumer(), now)
	}
	return nil, format.Version(0, int(stored.Head[0]), headConsumer)
}

// summarize reads what a stored head tells.
func summarize(head []byte) (Summary, error) {
	switch {
	case len(head) == 0:
		return Summary{}, format.Corrupt(0, "cut off")
	case head[0] == headClassic:
		h, err := decodeClassicHead(head)
		return h.summary(), err
	case head[0] == headConsumer:
		return summarizeConsumers(head)
	}
	return Summary{}, format.Version(0, int(head[0]), headConsumer)
}

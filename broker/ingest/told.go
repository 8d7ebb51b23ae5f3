package ingest

import (
	"fmt"
	"maps"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/producer"
)

// After a takeover under durability=wal, the same batch may come twice: from its
// producer, which has no answer for it, and from the former owner's write-ahead log.
// Under its own number it is known again, whichever comes first. But a producer that
// is told of a gap, since what it had sent before is in that log, begins a new epoch,
// and what it sends under that nobody knows again. So producers come first: salvage
// finds in the log what they have sent.

// told is a producer that was told of a gap.
type told struct{ first, last time.Time }

const (
	// toldMax bounds how many are remembered. With more, salvage waits for all, as it
	// would for one.
	toldMax = 10_000
	// toldTimes bounds for how long salvage waits for a producer that is told again
	// and again, in times of Config.SalvageAfter: the gap that a takeover leaves is
	// the first.
	toldTimes = 3
)

// left is for how long salvage still waits.
func (t told) left(now time.Time, after time.Duration) time.Duration {
	return min(after-now.Sub(t.last), toldTimes*after-now.Sub(t.first))
}

// longAgo tells whether what a producer is told next counts as its first again.
func (p *Partition) longAgo(t told, now time.Time) bool {
	return now.Sub(t.last) > toldTimes*p.log.opts.SalvageAfter
}

// forgetTold forgets the producers that were told of nothing for long. Holds p.mu.
func (p *Partition) forgetTold(now time.Time) {
	maps.DeleteFunc(p.told, func(_ int64, t told) bool { return p.longAgo(t, now) })
}

// tell is told that a batch was refused because of a gap. Holds p.mu.
func (p *Partition) tell(h batch.Header) {
	if p.log.opts.SalvageAfter <= 0 {
		return
	}
	now := time.Now()
	t, known := p.told[h.ProducerID]
	switch {
	case !known && len(p.told) == toldMax:
		clear(p.told)
		if p.longAgo(p.allTold, now) {
			p.allTold.first = now
		}
		p.allTold.last = now
		return
	case !known || p.longAgo(t, now):
		t.first = now
	}
	if p.told == nil {
		p.told = map[int64]told{}
	}
	t.last = now
	p.told[h.ProducerID] = t
}

// salvageNow refuses what is salvaged while its producer may be sending it again, and
// when another broker has salvaged something since its sender looked: that may be the
// same, under another epoch of its producer. Batches under identities of their own
// were found to be missing when that time was over. Holds p.mu.
func (p *Partition) salvageNow(h batch.Header) error {
	if !h.Idempotent() {
		return nil
	}
	if left := p.goesFirst(h); left > 0 {
		return fmt.Errorf("%w: producer %d goes first for %s", core.ErrSalvageLater, h.ProducerID, left.Round(time.Millisecond))
	}
	if seen := h.BaseOffset - 1; seen < p.salvaged {
		return fmt.Errorf("%w up to %d, below %d", core.ErrSalvageStale, seen, p.salvaged)
	}
	return nil
}

// goesFirst is how long salvage still waits for the producer of a batch. Holds p.mu.
func (p *Partition) goesFirst(h batch.Header) time.Duration {
	if producer.IsSalvage(h.ProducerID) {
		return 0
	}
	now, after := time.Now(), p.log.opts.SalvageAfter
	left := p.allTold.left(now, after)
	if t, known := p.told[h.ProducerID]; known {
		left = max(left, t.left(now, after))
	}
	return left
}

package ingest

import (
	"fmt"
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
	// toldMax bounds how many are remembered. With more, salvage waits for all.
	toldMax = 10_000
	// toldTimes bounds for how long salvage waits for a producer that is told again
	// and again, in times of Config.SalvageAfter: the gap that a takeover leaves is
	// the first.
	toldTimes = 3
)

// tell is told that a batch was refused because of a gap. Holds p.mu.
func (p *Partition) tell(h batch.Header) {
	now := time.Now()
	t, known := p.told[h.ProducerID]
	switch {
	case !known && len(p.told) == toldMax:
		clear(p.told)
		p.heldFrom = now
		return
	case !known:
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
	if h.BaseOffset < p.salvaged {
		return fmt.Errorf("%w up to %d, below %d", core.ErrSalvageStale, h.BaseOffset, p.salvaged)
	}
	if producer.IsSalvage(h.ProducerID) {
		return nil
	}
	after := p.log.opts.SalvageAfter
	left := after - time.Since(p.heldFrom)
	if t, known := p.told[h.ProducerID]; known {
		left = max(left, min(after-time.Since(t.last), toldTimes*after-time.Since(t.first)))
	}
	if left > 0 {
		return fmt.Errorf("%w: producer %d goes first for %s", core.ErrSalvageLater, h.ProducerID, left.Round(time.Millisecond))
	}
	return nil
}

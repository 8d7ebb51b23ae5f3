package tail

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// store keeps the records of one partition from some offset on, in the form that
// its readers want. One goroutine appends.
type store interface {
	// append takes records in order of offset; those it has already are left out,
	// markers of transactions only move the position.
	append(records []*kgo.Record) error
	// position is the offset up to which the partition was read.
	position() int64
	// take holds the records from w.First on.
	take(ctx context.Context, w Want) (held, error)
	// delete takes note that the log begins at start now, beyond what was read.
	delete(start int64)
	// trim lets go of records below the mark, and reports whether the mark has
	// overtaken the reader, which then has to go on at it.
	trim(mark int64) (overtaken bool)
	// close drops everything; what is held stays until it is released.
	close()
}

// held is what a query has of a partition until it releases it.
type held struct {
	files       []File
	splits      []Split
	start, next int64
	release     func()
}

// progress is how far a partition was read, and in which leader epochs.
type progress struct {
	at    atomic.Int64 // next, for those who only look
	start atomic.Int64 // below it records were deleted that the reader did not get

	mu     sync.Mutex
	first  int64 // records below it are gone
	next   int64 // the reader's position: every committed record below it is here
	epochs []run // of the records from first on, rising
	closed bool
}

// run is where the records of a leader epoch end.
type run struct {
	epoch int32
	next  int64
}

func (p *progress) begin(first int64) {
	p.first, p.next = first, first
	p.at.Store(first)
}

// position is the offset up to which the partition was read.
func (p *progress) position() int64 { return p.at.Load() }

// note keeps the epoch of the records that were read last.
func (p *progress) note(epoch int32) {
	if last := len(p.epochs) - 1; last >= 0 && p.epochs[last].epoch == epoch {
		p.epochs[last].next = p.next
		return
	}
	p.epochs = append(p.epochs, run{epoch, p.next})
}

// forgetEpochs lets go of what is known of records below first.
func (p *progress) forgetEpochs() {
	p.epochs = slices.DeleteFunc(p.epochs, func(r run) bool { return r.next <= p.first })
}

// cutOff reports whether records are here that a change of leaders has taken
// out of the log.
func (p *progress) cutOff(epochEnd func(int32) (int64, bool)) bool {
	return epochEnd != nil && slices.ContainsFunc(p.epochs, func(r run) bool {
		end, ended := epochEnd(r.epoch)
		return ended && end < r.next
	})
}

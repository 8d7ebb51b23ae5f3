package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/topic"
)

const (
	appendRecords = 200 // at once, between which queries get their turn

	freezeBytes = 4 << 20  // of records that a split in memory takes, before another begins
	pieceBytes  = 64 << 20 // up to which pieces at rest are merged, pieceFan at a time
	pieceFan    = 4
)

// index holds the records of one partition from first on as splits: pieces that
// change no more, and one that grows.
//
// Statistics of terms are sums over splits, so a query has to get exactly the
// records from its mark on, and not some below it too: a piece that has both is
// cut. What a mark has overtaken is gone for all, as ErrTrimmed tells those that
// still come with the mark before.
type index struct {
	progress

	ctx       context.Context // of the reader
	partition topic.Partition
	dir       string
	budget    *budget
	log       *slog.Logger

	freezeBytes, pieceBytes int64

	options textindex.Options
	frozen  []*piece // rising
	live    *piece
	mark    int64 // of the last trim

	work    sync.Mutex // of who puts pieces in the place of others; taken before mu
	tending bool
	tended  sync.WaitGroup
}

func newIndex(ctx context.Context, dir string, p topic.Partition, o textindex.Options, first int64, b *budget, log *slog.Logger) *index {
	x := &index{ctx: ctx, partition: p, dir: dir, budget: b, log: log, options: o, freezeBytes: freezeBytes, pieceBytes: pieceBytes}
	x.begin(first)
	x.live = x.newPiece(first)
	return x
}

func (x *index) newPiece(first int64) *piece {
	return &piece{index: x, first: first, next: first, options: x.options, memory: textindex.NewMemory(x.options)}
}

// configure lets further records be indexed with other options.
func (x *index) configure(o textindex.Options) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || o.Settings() == x.options.Settings() {
		return
	}
	x.options = o
	if x.live.documents() > 0 {
		x.freeze()
		return
	}
	empty := x.newPiece(x.live.first)
	empty.next = x.live.next
	x.live = empty
}

// append implements store.
func (x *index) append(records []*kgo.Record) error {
	for some := range slices.Chunk(records, appendRecords) {
		if err := x.appendSome(some); err != nil {
			return err
		}
	}
	return nil
}

func (x *index) appendSome(records []*kgo.Record) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil
	}
	defer func() { x.at.Store(x.next) }()
	for _, r := range records {
		if r.Offset < x.next {
			continue
		}
		if !r.Attrs.IsControl() {
			if err := x.add(r); err != nil {
				return fmt.Errorf("index the record of %s at offset %d: %w", x.partition, r.Offset, err)
			}
		}
		x.next = r.Offset + 1
		x.live.next = x.next
		x.note(r.LeaderEpoch)
	}
	x.live.count(x.live.memory.Bytes())
	if x.live.raw >= x.freezeBytes {
		x.freeze()
	}
	return nil
}

func (x *index) add(r *kgo.Record) error {
	record := textindex.Record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	err := x.live.memory.Append(record)
	if errors.Is(err, textindex.ErrFull) {
		x.freeze()
		err = x.live.memory.Append(record)
	}
	x.live.raw += int64(len(r.Key) + len(r.Value))
	return err
}

// freeze begins a new piece behind the live one. The caller holds mu.
func (x *index) freeze() {
	x.frozen = append(x.frozen, x.live)
	x.live = x.newPiece(x.next)
	x.tend()
}

// take implements store.
func (x *index) take(ctx context.Context, w Want) (held, error) {
	for {
		h, cut, err := x.hold(w)
		if cut == 0 {
			return h, err
		}
		if err := x.cut(ctx, cut); err != nil {
			return held{}, err
		}
	}
}

// hold is take, unless a piece has to be cut before, where it says.
func (x *index) hold(w Want) (h held, cut int64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.start.Store(max(x.start.Load(), w.Start))
	first := max(w.First, x.start.Load())
	switch {
	case x.closed:
		return h, 0, errRestarted
	case first < x.first:
		return h, 0, fmt.Errorf("%w: %s begins at %d, not at %d", ErrTrimmed, x.partition, x.first, first)
	case x.cutOff(w.EpochEnd):
		return h, 0, fmt.Errorf("%w: records of %s were cut off", errRestarted, x.partition)
	}
	x.mark = max(x.mark, first)
	if x.live.has(first) {
		x.freeze()
	}
	if slices.ContainsFunc(x.frozen, func(p *piece) bool { return p.has(first) }) {
		return h, first, nil
	}
	var pieces []*piece
	for _, p := range append(slices.Clip(x.frozen), x.live) {
		if p.next <= first || p.documents() == 0 {
			continue
		}
		p.users++
		pieces = append(pieces, p)
		h.splits = append(h.splits, Split{p.split(), x.partition.Index, p.first, p.next, p.options.Analyzer})
	}
	h.start, h.next, h.release = x.start.Load(), x.next, func() { x.release(pieces...) }
	return h, 0, nil
}

func (x *index) release(pieces ...*piece) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range pieces {
		if p.users--; p.users == 0 && p.gone {
			p.remove()
		}
	}
}

// delete implements store.
func (x *index) delete(start int64) {
	x.start.Store(max(x.start.Load(), start))
	x.trim(start)
}

// trim implements store. A piece that has records on both sides of the mark is cut
// in the background, or by the first query that comes with it.
func (x *index) trim(mark int64) (overtaken bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.mark = max(x.mark, mark)
	x.drop(mark)
	switch {
	case x.next <= mark:
		overtaken = x.next < mark
		x.live.drop()
		x.next = mark
		x.at.Store(mark)
		x.live = x.newPiece(mark)
		x.first = mark
	case x.live.has(mark):
		x.freeze()
	}
	x.forgetEpochs()
	x.tend()
	return overtaken
}

// drop lets go of the frozen pieces below an offset. The caller holds mu.
func (x *index) drop(below int64) {
	keep := 0
	for keep < len(x.frozen) && x.frozen[keep].next <= below {
		x.frozen[keep].drop()
		keep++
	}
	x.frozen = x.frozen[keep:]
	x.first = max(x.first, x.live.first)
	if len(x.frozen) > 0 {
		x.first = x.frozen[0].first
	}
}

// close implements store.
func (x *index) close() {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return
	}
	x.closed = true
	for _, p := range append(x.frozen, x.live) {
		p.drop()
	}
	x.frozen = nil
	x.mu.Unlock()
	x.tended.Wait()
}

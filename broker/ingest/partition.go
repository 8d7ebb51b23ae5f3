package ingest

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// ErrNotInTail: the offset lies below the tail; it is committed, read it there.
var ErrNotInTail = errors.New("offset is not in the tail")

// Partition is one partition that this broker owns. Its methods may be called
// at once.
type Partition struct {
	ID    topic.Partition
	Epoch metastore.Epoch
	log   *Log

	// sealed is the producers' state as of the last seal. It belongs to the
	// sealing goroutine.
	sealed  *producer.Table
	expired time.Time // when producers were last forgotten; the sealing goroutine's too

	hasty atomic.Bool // its records are embedded once they are committed

	mu        sync.Mutex
	refused   error // why nothing is accepted or told any more
	object    bool  // durability: the high watermark is the committed next
	starts    []metastore.EpochStart
	logStart  int64
	next      int64 // the next offset to give
	synced    int64 // everything below is durable in the WAL
	committed int64 // everything below is committed
	visible   int64 // the high watermark: what readers have been told never goes back
	entries   []*entry
	producers *producer.Table
	missed    map[int64]missed // by producers that are not known yet; nil: nothing
	told      map[int64]told   // by producers that may be sending again; nil: nobody
	allTold   told             // all of them may be, from the take on
	salvaged  int64            // the offset behind what was salvaged last
	waiters   map[*Waiter]struct{}
}

// missed is a producer's first batch that was refused.
type missed struct {
	epoch    int16
	sequence int32
	at       time.Time
}

const (
	// missedMax bounds how many are remembered, missedFor how long.
	missedMax = 10_000
	missedFor = time.Minute
)

// miss is told of a batch that is refused though nothing is wrong with it. What
// its producer has sent behind it must not be appended before it comes again:
// where the producer is known a gap in its sequence shows that.
func (p *Partition) miss(h batch.Header) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.missHeld(h)
}

// missHeld is miss for who holds p.mu.
func (p *Partition) missHeld(h batch.Header) {
	if !h.Idempotent() || p.producers.Knows(h.ProducerID) || p.misses(h) {
		return
	}
	if p.missed == nil || len(p.missed) >= missedMax {
		p.missed = map[int64]missed{}
	}
	p.missed[h.ProducerID] = missed{h.ProducerEpoch, h.BaseSequence, time.Now()}
}

// misses tells whether a batch lies behind one that was refused and did not come
// again. Holds p.mu.
func (p *Partition) misses(h batch.Header) bool {
	m, ok := p.missed[h.ProducerID]
	return ok && m.epoch == h.ProducerEpoch && m.sequence < h.BaseSequence && time.Since(m.at) < missedFor
}

func newPartition(l *Log, a Adoption) (*Partition, []*entry) {
	p := &Partition{
		ID: a.Partition, Epoch: a.Owner.Epoch, log: l,
		object: a.Object, starts: a.Owner.Starts, logStart: a.LogStart,
		next: a.Committed, synced: a.Committed, committed: a.Committed,
		producers: producer.NewTable(a.Producers), sealed: producer.NewTable(a.Producers),
		waiters: map[*Waiter]struct{}{},
	}
	p.Hasten(a.Hasty)
	now := time.Now()
	p.allTold = told{now, now}
	for _, r := range a.Recovered {
		e := &entry{
			Frame: r.Frame, header: r.Header, part: p, next: r.Header.Next(), appended: appendTime(r.Header),
			begun: int64(now.Sub(l.born)),
		}
		p.entries = append(p.entries, e)
		remember(p.producers, e, now.UnixMilli())
		p.next, p.synced = e.next, e.next
	}
	p.salvaged = p.next
	p.advance()
	return p, p.entries
}

func appendTime(h batch.Header) int64 {
	if h.Attributes.LogAppendTime() {
		return h.MaxTimestamp
	}
	return -1
}

func producerOf(h batch.Header) producer.Append {
	return producer.Append{ID: h.ProducerID, Epoch: h.ProducerEpoch, FirstSequence: h.BaseSequence, LastSequence: h.LastSequence()}
}

func remember(t *producer.Table, e *entry, nowMs int64) {
	if e.header.Idempotent() {
		t.Apply(producerOf(e.header), e.First, e.appended, nowMs)
	}
}

// append gives the batch its offsets and puts it into the WAL.
func (p *Partition) append(h batch.Header, records []byte, o core.AppendOptions) (core.Pending, error) {
	wait := o.Object && o.Acks == -1
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != nil {
		p.missHeld(h)
		return nil, p.refused
	}
	p.object = o.Object
	if o.Salvage {
		if err := p.salvageNow(h); err != nil {
			return nil, err
		}
	}
	if h.Idempotent() {
		duplicate, err := p.producers.Check(producerOf(h))
		if err != nil && o.Salvage && p.producers.Had(producerOf(h)) {
			duplicate, err = &producer.Batch{First: -1, Timestamp: -1}, nil
		}
		if err == nil && len(p.missed) > 0 && p.misses(h) {
			err = producer.ErrOutOfOrderSequence
		}
		switch {
		case err != nil:
			if !o.Salvage && errors.Is(err, producer.ErrOutOfOrderSequence) {
				p.tell(h)
			}
			return nil, refusal(err, h)
		case duplicate != nil:
			p.log.budget.give(int64(len(records)))
			r := &repeat{part: p, entry: p.find(duplicate.First), first: duplicate.First, stamp: duplicate.Timestamp, object: wait}
			if r.first < 0 && len(p.entries) > 0 {
				r.entry = p.entries[len(p.entries)-1] // it may be any before
			}
			return r, nil
		}
	}
	batch.PatchOffset(records, p.next, int32(p.Epoch))
	h.BaseOffset, h.LeaderEpoch = p.next, int32(p.Epoch)
	now := time.Now()
	e := &entry{
		Frame:  wal.Frame{Partition: p.ID, Epoch: int32(p.Epoch), First: p.next},
		header: h, part: p, next: h.Next(), appended: appendTime(h), object: wait, begun: int64(now.Sub(p.log.born)),
	}
	group, err := p.log.wal.Append(e, records)
	if err != nil {
		if errors.Is(err, disk.ErrFull) {
			p.log.metrics.budgetRefusals.WithLabelValues("disk_full").Inc()
		}
		p.missHeld(h)
		return nil, fmt.Errorf("%w: %w", core.ErrStorage, err)
	}
	e.group = group
	delete(p.missed, h.ProducerID)
	p.next = e.next
	if o.Salvage {
		p.salvaged = p.next
	}
	p.entries = append(p.entries, e)
	remember(p.producers, e, now.UnixMilli())
	return e, nil
}

// expire forgets the producers that were idle for too long, at most once a
// minute. It is called by the sealing goroutine.
func (p *Partition) expire(now time.Time, idleMax time.Duration) {
	if now.Sub(p.expired) < time.Minute {
		return
	}
	p.expired = now
	before := now.Add(-idleMax).UnixMilli()
	p.sealed.Expire(before)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.producers.Expire(before)
	p.forgetTold(now)
}

func refusal(err error, h batch.Header) error {
	kind := core.ErrOutOfOrderSequence
	switch {
	case errors.Is(err, producer.ErrDuplicateSequence):
		kind = core.ErrDuplicateSequence
	case errors.Is(err, producer.ErrInvalidEpoch):
		kind = core.ErrInvalidProducerEpoch
	}
	return fmt.Errorf("%w: producer %d epoch %d sequence %d", kind, h.ProducerID, h.ProducerEpoch, h.BaseSequence)
}

// find returns the entry that begins at first, if it is in the tail. Holds p.mu.
func (p *Partition) find(first int64) *entry {
	if i := p.index(first); i < len(p.entries) && p.entries[i].First == first {
		return p.entries[i]
	}
	return nil
}

// index is that of the first entry that ends behind offset. Holds p.mu.
func (p *Partition) index(offset int64) int {
	return sort.Search(len(p.entries), func(i int) bool { return p.entries[i].next > offset })
}

// syncedTo is told by the syncing goroutine that everything below next is durable.
func (p *Partition) syncedTo(next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced = max(p.synced, next)
	if p.advance(); p.visible < p.synced && len(p.waiters) > 0 {
		p.log.hurry()
	}
}

// committedTo is told that everything below next is committed.
func (p *Partition) committedTo(next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = max(p.committed, next)
	p.advance()
}

// advance moves the high watermark and wakes those who wait for it. Holds p.mu.
func (p *Partition) advance() {
	high := p.synced
	if p.object {
		high = p.committed
	}
	if high <= p.visible {
		return
	}
	p.visible = high
	for w := range p.waiters {
		w.wake()
	}
}

// fail is told that the WAL could not make a batch durable.
func (p *Partition) fail(err error) { p.close(fmt.Errorf("%w: %w", core.ErrStorage, err)) }

// Pause stops accepting and telling, as a first step to a release. What was
// accepted before it returns is in the WAL's queue, or durable.
func (p *Partition) Pause() { p.close(core.ErrMoving) }

// Resume takes Pause back. That is sound as long as no release was sent.
func (p *Partition) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == core.ErrMoving {
		p.refused = nil
	}
}

// Settled tells whether everything that was ever accepted is known to be
// committed, and the offset behind it.
func (p *Partition) Settled() (next int64, settled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next, p.committed == p.next
}

// close refuses everything from now on, and wakes those who wait.
func (p *Partition) close(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == nil || p.refused == core.ErrMoving {
		p.refused = why
	}
	for w := range p.waiters {
		w.wake()
	}
}

// dropThrough forgets the entries up to and including e: they are committed.
func (p *Partition) dropThrough(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.index(e.First); i < len(p.entries) && p.entries[i] == e {
		clear(p.entries[:i+1])
		p.entries = p.entries[i+1:]
	}
}

// DropBelow forgets committed batches below an offset: they are in log files, and
// what compaction by key takes out of these is not to live on in memory. Their
// bytes count until those before them leave the tail.
func (p *Partition) DropBelow(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.entries) && p.entries[n].next <= min(offset, p.committed) {
		n++
	}
	clear(p.entries[:n])
	p.entries = p.entries[n:]
}

// dropEvicted forgets a committed entry, and all before it, if its bytes are not
// in memory: from now on readers find it in its segment.
func (p *Partition) dropEvicted(e *entry) {
	p.mu.Lock()
	evicted := e.Batch == nil
	p.mu.Unlock()
	if evicted {
		p.dropThrough(e)
	}
}

// bytesOf returns an entry's batch, from memory or from the WAL.
func (p *Partition) bytesOf(e *entry) ([]byte, error) {
	p.mu.Lock()
	b := e.Batch
	p.mu.Unlock()
	if b != nil {
		return b, nil
	}
	return p.log.wal.Read(&e.Frame)
}

// evict forgets the bytes of an entry that is not committed: they are in the WAL.
func (p *Partition) evict(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Batch = nil
}

// LogStart is the first offset that readers may ask for.
func (p *Partition) LogStart() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logStart
}

// Configure takes over what the catalog says: the log start, which never goes
// back, and the topic's durability.
func (p *Partition) Configure(logStart int64, object bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logStart = max(p.logStart, logStart)
	p.object = object
	p.advance()
}

// Hasten says whether the records are embedded once they are committed, so that
// segments are to be sealed sooner.
func (p *Partition) Hasten(hasty bool) { p.hasty.Store(hasty) }

// Bounds are the offsets as readers may know them. The last stable offset is the
// high watermark: there are no transactions.
func (p *Partition) Bounds() (core.Bounds, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return core.Bounds{LogStart: p.logStart, HighWatermark: p.visible, LastStable: p.visible}, p.refused
}

// CheckEpoch compares a client's idea of the leader epoch with the truth; −1 is
// no idea. Errors: core.ErrFencedEpoch, core.ErrUnknownEpoch.
func (p *Partition) CheckEpoch(current metastore.Epoch) error {
	switch {
	case current < 0 || current == p.Epoch:
		return nil
	case current < p.Epoch:
		return core.ErrFencedEpoch
	default:
		return core.ErrUnknownEpoch
	}
}

// epochEnd returns the largest epoch ≤ epoch that has records and the offset at
// which it ended, the high watermark for the current one. An epoch of the future
// is (−1, −1); one before all that have records ended where the first began.
func (p *Partition) epochEnd(epoch metastore.Epoch) (found metastore.Epoch, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch < 0 || epoch > p.Epoch {
		return -1, -1
	}
	found, end = epoch, p.visible
	for _, s := range p.starts {
		if s.Epoch <= epoch {
			found = s.Epoch
		} else {
			end = min(end, s.First)
		}
	}
	return found, end
}

// End is the offset that the next record will get: above the high watermark
// while some are not durable enough to be seen.
func (p *Partition) End() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// Tail is what Read found.
type Tail struct {
	Batches [][]byte
	Next    int64 // offset behind the last batch
	Bytes   int
	Needs   int // bytes of the first batch, when that alone is too large
}

// Read returns whole batches from the one that holds first on, as far as they
// are visible and fit into bytesMax; the first may have firstMax. Empty when
// first is the high watermark. Errors: ErrNotInTail, a format.Error for a batch
// that was evicted and is damaged in the WAL.
func (p *Partition) Read(first int64, bytesMax, firstMax int) (Tail, error) {
	picked, t, err := p.pick(first, bytesMax, firstMax)
	if err != nil || len(picked) == 0 {
		return t, err
	}
	for i, e := range picked {
		if t.Batches[i] != nil {
			continue
		}
		b, err := p.log.wal.Read(&e.Frame)
		if errors.Is(err, wal.ErrGone) {
			return Tail{}, ErrNotInTail // committed meanwhile
		}
		if err != nil {
			return Tail{}, err
		}
		t.Batches[i] = b
	}
	return t, nil
}

func (p *Partition) pick(first int64, bytesMax, firstMax int) ([]*entry, Tail, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := Tail{Next: first}
	if first >= p.visible {
		return nil, t, nil
	}
	i := p.index(first)
	switch {
	case i == len(p.entries), p.entries[i].First > first && first < p.committed:
		return nil, t, ErrNotInTail
	case p.entries[i].First > first:
		return nil, t, format.In("write-ahead log", format.Corrupt(p.entries[i].Position.Offset,
			"offsets %d to %d of %s did not survive, the damage was reported at start", first, p.entries[i].First, p.ID))
	}
	var picked []*entry
	for ; i < len(p.entries); i++ {
		e := p.entries[i]
		if e.First > t.Next && len(picked) > 0 || e.next > p.visible {
			break
		}
		if t.Bytes+int(e.Length) > bytesMax && (len(picked) > 0 || int(e.Length) > firstMax) {
			if len(picked) == 0 {
				t.Needs = int(e.Length)
			}
			break
		}
		picked = append(picked, e)
		t.Batches = append(t.Batches, e.Batch)
		t.Bytes += int(e.Length)
		t.Next = e.next
	}
	return picked, t, nil
}

// Waiter is woken when any of the partitions that it watches has something new.
type Waiter struct {
	C    chan struct{} // receives after a change; changes may be merged
	list []*Partition
}

// NewWaiter returns a Waiter that watches nothing. Close it.
func NewWaiter() *Waiter { return &Waiter{C: make(chan struct{}, 1)} }

func (w *Waiter) wake() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// Watch adds a partition. Look at its bounds afterwards, not before.
func (w *Waiter) Watch(p *Partition) {
	p.mu.Lock()
	p.waiters[w] = struct{}{}
	behind := p.visible < p.synced
	p.mu.Unlock()
	w.list = append(w.list, p)
	if behind {
		p.log.hurry()
	}
}

// Close stops watching.
func (w *Waiter) Close() {
	for _, p := range w.list {
		p.mu.Lock()
		delete(p.waiters, w)
		p.mu.Unlock()
	}
}

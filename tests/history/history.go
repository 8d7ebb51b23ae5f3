// Package history records what clients of a log were told, and checks that a log
// that keeps its promises can have told them so.
//
// A workload names each record once (Writer.Send), says what became of it, and
// what readers, groups and whoever looks at the metadata saw. At the end the whole
// log is read back (History.Final) and Check counts: what was acknowledged and is
// lost, what is there twice, in another order, or changed after somebody had read
// it. Every count but those of the first rows of the table is to be zero, and each
// that is not comes with its first witnesses.
//
// It knows nothing of how the log is reached: simulations, crash tests and the
// local cluster use it alike. Methods may be called at once; what is recorded is
// ordered by when they are called, so call them as close to the event as can be:
// before a request is sent, and after its answer came.
package history

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Partition is a partition of a topic, under whatever name the workload has for
// it: topics that are made again under the same name need different ones here.
type Partition struct {
	Topic string
	Index int32
}

// String is how a partition is named in witnesses.
func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Index) }

// Topic says what a topic promises. The zero value promises everything.
type Topic struct {
	// Object: acks=all means committed in the bucket and the metadata store, and
	// readers see only what is committed. With acks=1 only the disk of the owner
	// has a record for a moment; should others take over in that moment, it comes
	// back as a new one (see Salvaged), which no reader has seen before. So may one
	// that was not acknowledged.
	Object bool
	// Expires: the start of the log may rise, by retention or DeleteRecords.
	Expires bool
	// Retention: what expires does so at this age (History.Starts); 0: at any.
	Retention time.Duration
	// Retained: so many records stay, whatever their age; 0: maybe none.
	Retained int64
	// Trimmed: the start of the log rises as DeleteRecords asks (History.Trim),
	// and no further.
	Trimmed bool
	// Holes: offsets may be missing between others, as after key compaction. What
	// is acknowledged may be missing if a record of the same key came after it; of
	// a record without a key nobody could tell that it is lost.
	Holes bool
	// TombstonesKept: where there are holes, a tombstone that nothing takes the
	// place of is there for so long at least.
	TombstonesKept time.Duration
	// Salvaged: an owner may have been away for longer than the grace under
	// durability=wal. What it had acknowledged comes back as new records, once,
	// and its readers have seen what then was at another offset.
	Salvaged bool
}

// Item is one record as a reader got it.
type Item struct {
	Offset int64
	Value  []byte
}

// None is the offset of what has none: no group's commit yet.
const None int64 = -1

// History is what happened. Make one with New.
type History struct {
	mu         sync.Mutex
	now        int64 // counts events
	topics     map[string]Topic
	writers    map[string]*Writer
	order      []*Writer
	partitions map[Partition]*partition
	groups     map[groupKey]*groupPartition
	sessions   map[int64]int64 // last commit of each session
	commits    int64           // how many were seen
	reads      int64           // records that readers got
	queries    int64           // that were answered
	trims      int64           // DeleteRecords that were acknowledged
	found      map[Kind]*finding
}

type partition struct {
	p         Partition
	seen      map[int64]sight // what readers got, by offset
	changed   []change        // what readers got where another record was seen before
	gaps      []gap           // offsets that a reader was not given
	acked     []*Send         // at a known offset
	readable  int64           // below it all is acknowledged so that it can be read
	committed int64           // below it all is committed
	final     *Final
	trimAsked int64 // DeleteRecords may have raised the start of the log up to here
	trimmed   int64 // and has, up to here
	gone      bool  // its topic was deleted
	starts    []start
	tombs     map[string][]*Send // tombstones by key
}

// start is where a log begins from some time on.
type start struct {
	offset int64
	at     time.Time
}

type sight struct {
	id ID
	by string
}

type change struct {
	offset int64
	sight
}

type gap struct {
	first, next int64
	by          string
	of          *Query // which may not have asked for all; nil: of a reader
}

// New returns an empty history.
func New() *History {
	return &History{
		topics: map[string]Topic{}, writers: map[string]*Writer{}, partitions: map[Partition]*partition{},
		groups: map[groupKey]*groupPartition{}, sessions: map[int64]int64{}, found: map[Kind]*finding{},
	}
}

// Topic says what is promised of a topic, before anything is recorded of it.
func (h *History) Topic(name string, t Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.topics[name] = t
}

// tick counts an event; the caller holds the lock.
func (h *History) tick() int64 {
	h.now++
	return h.now
}

func (h *History) partition(p Partition) *partition {
	known := h.partitions[p]
	if known == nil {
		known = &partition{p: p, seen: map[int64]sight{}, tombs: map[string][]*Send{}}
		h.partitions[p] = known
	}
	return known
}

// Acks is what a writer waits for.
type Acks int

// The acknowledgements of Kafka.
const (
	AcksAll Acks = iota
	AcksLeader
	AcksNone // whatever it is told means nothing
)

// WriterOptions are how a writer writes.
type WriterOptions struct {
	Idempotent bool // its records may not be there twice, and keep their order
	Acks       Acks
}

// Writer is one producer. It is known by its name in each record that it writes.
type Writer struct {
	h     *History
	name  string
	o     WriterOptions
	sends []*Send // by number
}

// Writer returns the writer of that name, which must be new and without slashes.
func (h *History) Writer(name string, o WriterOptions) *Writer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writers[name] != nil {
		panic(fmt.Sprintf("history: two writers are called %q", name)) // a mistake of the test
	}
	w := &Writer{h: h, name: name, o: o}
	h.writers[name] = w
	h.order = append(h.order, w)
	return w
}

// outcome is what a writer knows of a record.
type outcome uint8

const (
	open outcome = iota // no answer yet: may be there, or come yet
	acked
	unknown
	refused // told that it is not there
)

// Send is one record on its way.
type Send struct {
	ID      ID
	w       *Writer
	p       Partition
	key     string
	tomb    bool
	at      time.Time // not later than its timestamp, if that is taken now
	invoked int64
	done    int64
	outcome outcome
	offset  int64
}

// Send names the next record of the writer, which is about to be sent to p. Its
// outcome is to be told once; a record without one may be in the log or not.
func (w *Writer) Send(p Partition) *Send { return w.SendKey(p, "") }

// SendKey is Send of a record with a key, which tells records that take each
// other's place where Topic.Holes is set. The empty key is none.
func (w *Writer) SendKey(p Partition, key string) *Send {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	s := &Send{ID: ID{Writer: w.name, Number: int64(len(w.sends))}, w: w, p: p, key: key, at: time.Now(), invoked: w.h.tick(), offset: None}
	w.sends = append(w.sends, s)
	w.h.partition(p)
	return s
}

// SendTombstone is SendKey of a record that deletes its key. It has no value to
// name it: the workload sees to it that readers find its name elsewhere.
func (w *Writer) SendTombstone(p Partition, key string) *Send {
	s := w.SendKey(p, key)
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	s.tomb = true
	part := w.h.partition(p)
	part.tombs[key] = append(part.tombs[key], s)
	return s
}

// Acked says that the record was acknowledged, at that offset; None if the
// answer named none, as for a duplicate.
func (s *Send) Acked(offset int64) {
	h := s.w.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.end(acked) || s.w.o.Acks == AcksNone {
		return
	}
	s.offset = offset
	if offset == None {
		return
	}
	p, t := h.partition(s.p), h.topics[s.p.Topic]
	p.acked = append(p.acked, s)
	if t.Object && s.w.o.Acks != AcksAll {
		return // it may be read once it is committed
	}
	p.readable = max(p.readable, offset+1)
	if t.Object && h.commits > 0 && offset >= p.committed {
		h.find(EarlyAck, "%s at %s offset %d, where %d is the committed next", s.ID, s.p, offset, p.committed)
	}
}

// Unknown says that the writer has given up: the record may be there or not.
func (s *Send) Unknown() {
	s.w.h.mu.Lock()
	defer s.w.h.mu.Unlock()
	s.end(unknown)
}

// Refused says that the writer was told, so that it may rely on it, that the
// record is not in the log and will not be.
func (s *Send) Refused() {
	s.w.h.mu.Lock()
	defer s.w.h.mu.Unlock()
	s.end(refused)
}

func (s *Send) end(o outcome) bool {
	if s.outcome != open {
		s.w.h.find(Twice, "%s was %s and then %s", s.ID, s.outcome, o)
		return false
	}
	s.outcome, s.done = o, s.w.h.tick()
	return true
}

func (o outcome) String() string {
	return [...]string{"under way", "acknowledged", "of unknown outcome", "refused"}[o]
}

// Read says that a reader who asked for what is at from and after got these
// records, as far as they came: the first of them is to be the first there is.
// from may be None, for a reader that does not know where it was.
func (h *History) Read(reader string, p Partition, from int64, items ...Item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick()
	h.read(reader, h.partition(p), from, items)
}

// read returns what is next for the reader; the caller holds the lock.
func (h *History) read(reader string, part *partition, from int64, items []Item) (next int64) {
	p := part.p
	for _, item := range items {
		h.reads++
		if from != None && item.Offset > from {
			part.gaps = append(part.gaps, gap{first: from, next: item.Offset, by: reader})
		}
		if from != None && item.Offset < from {
			h.find(Disorder, "%s of %s was given offset %d when %d was the next", reader, p, item.Offset, from)
		}
		from = item.Offset + 1
		id, err := Parse(item.Value)
		if err != nil {
			h.find(Garbled, "%s read offset %d of %s: %v", reader, item.Offset, p, err)
			continue
		}
		switch old, ok := part.seen[item.Offset]; {
		case !ok:
			part.seen[item.Offset] = sight{id, reader}
		case old.id != id:
			part.changed = append(part.changed, change{item.Offset, sight{id, reader}})
		}
	}
	return from
}

// Latest is a question for the end of the log.
type Latest struct {
	h     *History
	p     Partition
	floor int64
}

// Latest says that the end of a partition's log is about to be asked for, by a
// reader to whom everything acknowledged has to be shown.
func (h *History) Latest(p Partition) *Latest {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick()
	l := &Latest{h: h, p: p}
	if !h.topics[p.Topic].Salvaged {
		l.floor = h.partition(p).readable
	}
	return l
}

// Got says what the answer was: the offset that the next record will have.
func (l *Latest) Got(next int64) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	l.h.tick()
	if next < l.floor {
		l.h.find(Stale, "the end of %s is told as %d, when offset %d had been acknowledged", l.p, next, l.floor-1)
		return
	}
	// What was shown once is shown to all who ask from now on.
	part := l.h.partition(l.p)
	part.readable = max(part.readable, next)
}

// Trim is a DeleteRecords.
type Trim struct {
	h *History
	p Partition
}

// Trim says that all below an offset is about to be deleted. Unless it is told
// that this was done, it may come to be or not.
func (h *History) Trim(p Partition, before int64) *Trim {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick()
	part := h.partition(p)
	part.trimAsked = max(part.trimAsked, before)
	return &Trim{h, p}
}

// Acked says where the log is told to start now.
func (t *Trim) Acked(low int64) {
	t.h.mu.Lock()
	defer t.h.mu.Unlock()
	t.h.tick()
	part := t.h.partition(t.p)
	part.trimmed = max(part.trimmed, low)
	t.h.trims++
}

// Starts says where the log of a partition is seen to begin now, by whoever sees
// the metadata store's every change.
func (h *History) Starts(p Partition, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	part, t := h.partition(p), h.topics[p.Topic]
	last := part.start()
	if offset == last {
		return
	}
	h.tick()
	if offset < last {
		h.find(Undeleted, "%s starts at %d, and has started at %d before", p, offset, last)
	} else if left := part.committed - offset; t.Retained > 0 && left < t.Retained {
		h.find(Lost, "%s starts at %d and has %d records, of which %d were to stay", p, offset, left, t.Retained)
	}
	part.starts = append(part.starts, start{offset, time.Now()})
}

// Start is where the log of a partition was seen to begin last.
func (h *History) Start(p Partition) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.partition(p).start()
}

// start is Start of this partition.
func (p *partition) start() int64 {
	if len(p.starts) == 0 {
		return 0
	}
	return p.starts[len(p.starts)-1].offset
}

// startBefore is where the log began at a time.
func (p *partition) startBefore(at time.Time) (offset int64) {
	for _, s := range p.starts {
		if s.at.Before(at) {
			offset = s.offset
		}
	}
	return offset
}

// Deleted says that a topic was deleted with all that was in it, which needs not
// be read back. A topic that is made again in its place needs another name here.
func (h *History) Deleted(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick()
	for p, part := range h.partitions {
		if p.Topic == topic {
			part.gone = true
		}
	}
}

// Range is a part of a segment.
type Range struct {
	Partition   Partition
	First, Next int64
}

// Committed says that a broker's session has committed a segment, as whoever
// sees the metadata store's every change saw it.
func (h *History) Committed(session, sequence int64, segment string, ranges ...Range) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick()
	h.commits++
	if last := h.sessions[session]; sequence != last+1 {
		h.find(CommitOrder, "segment %s is number %d of session %d, after number %d", segment, sequence, session, last)
	}
	h.sessions[session] = max(h.sessions[session], sequence)
	for _, r := range ranges {
		p := h.partition(r.Partition)
		switch {
		case r.First < p.committed:
			h.find(CommitTwice, "segment %s of session %d commits [%d, %d) of %s, where all below %d is committed",
				segment, session, r.First, r.Next, r.Partition, p.committed)
		case r.First > p.committed && !h.topics[r.Partition.Topic].starts():
			h.find(CommitGap, "segment %s of session %d commits [%d, %d) of %s, where %d is the committed next",
				segment, session, r.First, r.Next, r.Partition, p.committed)
		}
		p.committed = max(p.committed, r.Next)
	}
}

// Final is the log of a partition as it is when all is over.
type Final struct {
	h     *History
	start int64
	next  int64
	items []finalItem
	at    time.Time
}

type finalItem struct {
	offset int64
	id     ID
	ok     bool // its bytes are a record's
}

// Final says that a partition is read back from its start, when nothing writes
// any more. Add gives what is there.
func (h *History) Final(p Partition, start int64) *Final {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &Final{h: h, start: start, next: start, at: time.Now()}
	h.partition(p).final = f
	return f
}

// Add gives the next records of the log.
func (f *Final) Add(items ...Item) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	for _, item := range items {
		id, err := Parse(item.Value)
		if err != nil {
			f.h.find(Garbled, "at the end, at offset %d: %v", item.Offset, err)
		}
		f.items = append(f.items, finalItem{item.Offset, id, err == nil})
		f.next = max(f.next, item.Offset+1)
	}
}

// lacks tells whether nothing was at an offset, of what was read back.
func (f *Final) lacks(offset int64) bool {
	return offset >= f.start && offset < f.next && !slices.ContainsFunc(f.items, func(item finalItem) bool { return item.offset == offset })
}

// Rise says that the log has come to begin there while it was read: what is
// below does not count.
func (f *Final) Rise(start int64) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.start, f.next = max(f.start, start), max(f.next, start)
	f.items = slices.DeleteFunc(f.items, func(item finalItem) bool { return item.offset < f.start })
}

// End says where the log ends: the offset that the next record would have.
func (f *Final) End(next int64) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	f.next = max(f.next, next)
}

// Report counts a breach that the workload found by itself.
func (h *History) Report(k Kind, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.find(k, format, args...)
}

package producer

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Errors of Check, each Kafka's error of the same name.
var (
	// ErrDuplicateSequence: a duplicate of a batch that is no longer remembered, or one
	// that never came and is passed by.
	ErrDuplicateSequence = errors.New("duplicate sequence number, older than the batches remembered")
	// ErrOutOfOrderSequence: batches between the last one and this are missing, or
	// it comes before the first that was ever appended.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidEpoch: a newer incarnation of the producer has written.
	ErrInvalidEpoch = errors.New("producer epoch is older than the current one")
)

// errBeforeFirst is ErrOutOfOrderSequence for what comes before the first batch of
// its producer that is known.
var errBeforeFirst = fmt.Errorf("%w: it comes before the first that is known", ErrOutOfOrderSequence)

// Append is what the header of a batch says of its producer.
type Append struct {
	ID            int64
	Epoch         int16
	FirstSequence int32
	LastSequence  int32
}

// salvageFirst is the first of the producer ids under which batches are salvaged.
// None of them is ever given to a client.
const salvageFirst = 1 << 62

// SalvageID is the producer id for batches of a partition that were written under
// a leader epoch, which one broker had, and are appended again as new ones. Their
// sequences are distances in the log of that epoch: they rise, and have gaps
// where batches were appended again under their own producer.
func SalvageID(epoch int32) int64 { return salvageFirst | int64(epoch) }

// IsSalvage tells whether a producer id is one of those under which batches are salvaged.
func IsSalvage(id int64) bool { return id >= salvageFirst }

// salvageBatchFirst is the first of those that are given to single batches.
const salvageBatchFirst = salvageFirst | 1<<61

// SalvageBatchID is the producer id under which one batch of a producer is
// appended that cannot be any more under the producer's own, from sequence 0 on.
// It is made from what the producer called the batch, and from nothing else: the
// batch may be in the write-ahead logs of several brokers, each of which salvages
// it, and is to be appended once.
//
//	bits 63…61  01 1
//	     60…45  of SHA-256(producer id): the producer's Kin
//	     44…0   of SHA-256(producer id, epoch, sequence)
func SalvageBatchID(id int64, epoch int16, sequence int32) int64 {
	var name [8 + 2 + 4]byte
	binary.BigEndian.PutUint64(name[:], uint64(id))
	binary.BigEndian.PutUint16(name[8:], uint16(epoch))
	binary.BigEndian.PutUint32(name[10:], uint32(sequence))
	sum := sha256.Sum256(name[:])
	return Kin(id) | int64(binary.BigEndian.Uint64(sum[:])>>(64-kinShift))
}

// kinShift is how many bits of a batch's name are its own.
const kinShift = 45

// Kin is what the names of all batches of a producer that are salvaged begin with,
// by the producer's id or by one of these names. One in 65,536 other producers has
// the same.
func Kin(id int64) int64 {
	if id >= salvageBatchFirst {
		return id >> kinShift << kinShift
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(id)))
	return salvageBatchFirst | int64(binary.BigEndian.Uint16(sum[:]))<<kinShift
}

// Table is what one partition knows of its producers. It is not safe for
// concurrent use: it belongs to whoever serialises the partition's appends.
type Table struct {
	states map[int64]*State
	named  int // of the states, those of batches that were salvaged under a name of their own
}

// NewTable returns a table that begins with states, which it copies.
func NewTable(states []State) *Table {
	t := &Table{states: make(map[int64]*State, len(states))}
	for _, s := range states {
		s.Batches, s.Past = slices.Clone(s.Batches), slices.Clone(s.Past)
		s.Run = max(s.Run, s.Remembered())
		t.put(&s)
	}
	return t
}

// put adds a state, or replaces one.
func (t *Table) put(s *State) {
	if t.states[s.ID] == nil && s.ID >= salvageBatchFirst {
		t.named++
	}
	t.states[s.ID] = s
}

func (t *Table) remove(id int64) {
	if t.states[id] != nil && id >= salvageBatchFirst {
		t.named--
	}
	delete(t.states, id)
}

// Check tells whether a batch may be appended. duplicate is not nil when it was
// already, and is what is remembered of it. The table is not changed.
//
// A batch that was salvaged under a name of its own was appended, too: its producer
// may send it once more, or another broker that has it salvage it under its
// producer, when what the first salvage was refused for is there. And its producer
// may go on behind it.
//
// A producer that is not known is accepted at any sequence (KIP-360: its state
// may have expired); a known one must begin a new epoch at 0 and go on without
// a gap. Sequences wrap from the largest int32 to 0. Those of a salvage have gaps.
func (t *Table) Check(a Append) (duplicate *Batch, err error) {
	duplicate, err = t.check(a)
	if duplicate != nil || err != nil && err != errBeforeFirst {
		return duplicate, err
	}
	b := t.salvaged(a.ID, a.Epoch, a.FirstSequence)
	switch {
	case b == nil:
		return nil, err
	case length(*b) != length(Batch{FirstSequence: a.FirstSequence, LastSequence: a.LastSequence}):
		return nil, ErrDuplicateSequence // the rest of it is elsewhere
	}
	return b, nil
}

// salvaged returns what is remembered of a producer's batch that was salvaged under
// a name of its own, nil for any other.
func (t *Table) salvaged(id int64, epoch int16, sequence int32) *Batch {
	if t.named == 0 || id < 0 || id >= salvageFirst {
		return nil
	}
	s := t.states[SalvageBatchID(id, epoch, sequence)]
	if s == nil || len(s.Batches) == 0 {
		return nil
	}
	return &s.Batches[0]
}

// length is how far a batch reaches: one less than it has records.
func length(b Batch) int32 { return (b.LastSequence - b.FirstSequence) & math.MaxInt32 }

// follows tells whether a begins at the sequence next, or behind batches that were
// salvaged under names of their own, one after the other from there on: clients
// take a gap where they see none for a loss, and some of them end.
func (t *Table) follows(a Append, next int32) bool {
	for range t.named {
		if a.FirstSequence == next {
			return true
		}
		b := t.salvaged(a.ID, a.Epoch, next)
		if b == nil {
			return false
		}
		next = Successor((next + length(*b)) & math.MaxInt32)
	}
	return a.FirstSequence == next
}

// check is Check by the producer's own state.
func (t *Table) check(a Append) (duplicate *Batch, err error) {
	s := t.states[a.ID]
	switch {
	case s == nil:
		return nil, nil
	case a.Epoch < s.Epoch:
		return nil, ErrInvalidEpoch
	case a.Epoch > s.Epoch:
		if !t.follows(a, 0) {
			return nil, ErrOutOfOrderSequence
		}
		return nil, nil
	case len(s.Batches) == 0:
		return nil, nil
	}
	for i := range s.Batches {
		if b := &s.Batches[i]; b.FirstSequence == a.FirstSequence && b.LastSequence == a.LastSequence {
			return b, nil
		}
	}
	last := s.Batches[len(s.Batches)-1].LastSequence
	if t.follows(a, Successor(last)) {
		return nil, nil
	}
	if a.ID >= salvageFirst && Before(last, a.FirstSequence) {
		return nil, nil
	}
	// An unknown producer is accepted at any sequence, so what comes before its
	// first batch was never appended: one that was refused, while those that were
	// sent behind it were not. Called a duplicate, it would be taken for stored.
	if len(s.Batches) < BatchesMax && a.ID < salvageFirst && Before(a.FirstSequence, s.Batches[0].FirstSequence) {
		return nil, errBeforeFirst
	}
	if Before(a.LastSequence, last) || a.LastSequence == last {
		return nil, ErrDuplicateSequence
	}
	return nil, ErrOutOfOrderSequence
}

// Apply remembers a batch that Check let pass, or that was found in a log.
func (t *Table) Apply(a Append, first, timestamp, nowMs int64) {
	s := t.states[a.ID]
	if s == nil {
		s = &State{ID: a.ID, Epoch: a.Epoch}
		t.put(s)
	}
	// In a log there may be gaps: behind them the producer had been forgotten when it
	// wrote on, or something is damaged. No run goes on over one.
	n := int64(length(Batch{FirstSequence: a.FirstSequence, LastSequence: a.LastSequence})) + 1
	switch {
	case a.Epoch < s.Epoch: // it had been forgotten
		s.Batches, s.Past = s.Batches[:0], nil
	case a.Epoch > s.Epoch:
		if t.follows(a, 0) { // what is not in a was salvaged under names of its own
			n = int64(a.LastSequence) + 1
		}
		s.pass()
		s.Batches = s.Batches[:0]
	case len(s.Batches) > 0:
		if last := s.Batches[len(s.Batches)-1].LastSequence; t.follows(a, Successor(last)) {
			n = int64(s.Run) + int64((a.LastSequence-last)&math.MaxInt32)
		}
	}
	s.Epoch, s.Run = a.Epoch, int32(min(n, RunMax))
	if len(s.Batches) == BatchesMax {
		s.Batches = slices.Delete(s.Batches, 0, 1)
	}
	s.Batches = append(s.Batches, Batch{FirstSequence: a.FirstSequence, LastSequence: a.LastSequence, First: first, Timestamp: timestamp})
	s.LastUsed = nowMs
}

// pass makes the run of an epoch one that is past.
func (s *State) pass() {
	if s.Run == 0 {
		return
	}
	if len(s.Past) == RunsMax {
		s.Past = slices.Delete(s.Past, 0, 1)
	}
	s.Past = append(s.Past, Run{s.Epoch, s.Batches[len(s.Batches)-1].LastSequence, s.Run})
}

// Had tells whether a batch was appended for certain, though it may not be
// remembered: the producer has gone on behind it without a gap.
func (t *Table) Had(a Append) bool {
	s := t.states[a.ID]
	if s == nil {
		return false
	}
	if n := len(s.Batches); n > 0 && a.Epoch == s.Epoch {
		return Run{s.Epoch, s.Batches[n-1].LastSequence, s.Run}.has(a.FirstSequence, a.LastSequence)
	}
	return slices.ContainsFunc(s.Past, func(r Run) bool { return r.Epoch == a.Epoch && r.has(a.FirstSequence, a.LastSequence) })
}

// Expire forgets the producers that were last used before ms.
func (t *Table) Expire(ms int64) {
	for id, s := range t.states {
		if s.LastUsed < ms {
			t.remove(id)
		}
	}
}

// Knows tells whether anything is known of a producer.
func (t *Table) Knows(id int64) bool { return t.states[id] != nil }

// Len is the number of producers known.
func (t *Table) Len() int { return len(t.states) }

// State returns a copy of what is known of one producer.
func (t *Table) State(id int64) (State, bool) {
	s, ok := t.states[id]
	if !ok {
		return State{}, false
	}
	c := *s
	c.Batches, c.Past = slices.Clone(s.Batches), slices.Clone(s.Past)
	return c, true
}

// Snapshot returns a copy of all states, sorted by producer id.
func (t *Table) Snapshot() []State {
	all := make([]State, 0, len(t.states))
	for id := range t.states {
		s, _ := t.State(id)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b State) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Merge returns older with the states of newer in place of its own, sorted by
// producer id. Both hold whole states, so the newer one says all.
func Merge(older, newer []State) []State {
	t := NewTable(older)
	for _, s := range NewTable(newer).states {
		t.put(s)
	}
	return t.Snapshot()
}

// Successor is the sequence behind n: it wraps from the largest int32 to 0.
func Successor(n int32) int32 {
	if n == math.MaxInt32 {
		return 0
	}
	return n + 1
}

// Before tells whether sequence a lies before b on the circle of sequences:
// less than half of it behind.
func Before(a, b int32) bool {
	return a != b && (b-a)&math.MaxInt32 < 1<<30
}

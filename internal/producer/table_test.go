package producer

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

func TestCheckFollowsKafkasRules(t *testing.T) {
	table := NewTable(nil)
	seq := int32(0)
	for i := range int64(7) {
		table.Apply(Append{ID: 1, Epoch: 3, FirstSequence: seq, LastSequence: seq + 9}, 100+i*10, -1, i)
		seq += 10
	}
	cases := []struct {
		name      string
		a         Append
		duplicate int64 // offset of the original, −1 none
		err       error
	}{
		{"the next batch", Append{1, 3, 70, 79}, -1, nil},
		{"a repeat of the last", Append{1, 3, 60, 69}, 160, nil},
		{"a repeat of the fifth last", Append{1, 3, 20, 29}, 120, nil},
		{"a repeat that is forgotten", Append{1, 3, 10, 19}, -1, ErrDuplicateSequence},
		{"a gap", Append{1, 3, 80, 89}, -1, ErrOutOfOrderSequence},
		{"an old epoch", Append{1, 2, 0, 0}, -1, ErrInvalidEpoch},
		{"a new epoch from zero", Append{1, 4, 0, 5}, -1, nil},
		{"a new epoch from elsewhere", Append{1, 4, 70, 79}, -1, ErrOutOfOrderSequence},
		{"an unknown producer from anywhere", Append{2, 0, 500, 509}, -1, nil},
	}
	for _, c := range cases {
		d, err := table.Check(c.a)
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
		if got := int64(-1); true {
			if d != nil {
				got = d.First
			}
			if got != c.duplicate {
				t.Errorf("%s: duplicate of offset %d, want %d", c.name, got, c.duplicate)
			}
		}
	}
}

func TestWhatWasNeverAppendedIsNoDuplicate(t *testing.T) {
	table := NewTable(nil)
	for seq := int32(10); seq < 50; seq += 10 { // the one from 0 was refused, these were not
		table.Apply(Append{1, 0, seq, seq + 9}, int64(seq), -1, 0)
		if d, err := table.Check(Append{1, 0, 0, 9}); d != nil || !errors.Is(err, ErrOutOfOrderSequence) {
			t.Errorf("behind the batch of %d: %v %v", seq, d, err)
		}
	}
	if _, err := table.Check(Append{1, 0, 15, 19}); !errors.Is(err, ErrDuplicateSequence) {
		t.Errorf("a part of what is there: %v", err)
	}
	table.Apply(Append{1, 0, 50, 59}, 50, -1, 0)
	if _, err := table.Check(Append{1, 0, 0, 9}); !errors.Is(err, ErrDuplicateSequence) {
		t.Errorf("behind as many batches as a client has under way: %v", err)
	}
}

func TestSequencesWrapToZero(t *testing.T) {
	table := NewTable(nil)
	table.Apply(Append{1, 0, math.MaxInt32 - 1, math.MaxInt32}, 0, -1, 0)
	if _, err := table.Check(Append{1, 0, 0, 3}); err != nil {
		t.Errorf("sequence 0 behind the largest: %v", err)
	}
	table.Apply(Append{1, 0, 0, 3}, 2, -1, 0)
	if d, err := table.Check(Append{1, 0, math.MaxInt32 - 1, math.MaxInt32}); d == nil || err != nil {
		t.Errorf("repeat across the wrap: %v %v", d, err)
	}
	if _, err := table.Check(Append{1, 0, math.MaxInt32 - 9, math.MaxInt32 - 8}); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Errorf("before all that was appended, across the wrap: %v", err)
	}
	for seq := int32(4); seq < 10; seq += 2 {
		table.Apply(Append{1, 0, seq, seq + 1}, int64(seq)+2, -1, 0)
	}
	if _, err := table.Check(Append{1, 0, math.MaxInt32 - 9, math.MaxInt32 - 8}); !errors.Is(err, ErrDuplicateSequence) {
		t.Errorf("forgotten batch across the wrap: %v", err)
	}
}

func TestSequencesOfASalvageRiseWithGaps(t *testing.T) {
	table := NewTable(nil)
	id := SalvageID(7)
	table.Apply(Append{id, 0, 10, 19}, 100, -1, 0)
	if d, err := table.Check(Append{id, 0, 50, 59}); d != nil || err != nil {
		t.Errorf("behind a gap: %v %v", d, err)
	}
	table.Apply(Append{id, 0, 50, 59}, 110, -1, 0)
	if d, err := table.Check(Append{id, 0, 50, 59}); d == nil || d.First != 110 || err != nil {
		t.Errorf("a repeat: %v %v", d, err)
	}
	if _, err := table.Check(Append{id, 0, 30, 39}); !errors.Is(err, ErrDuplicateSequence) {
		t.Errorf("before the last: %v", err)
	}
	if _, err := table.Check(Append{SalvageID(8), 0, 3, 4}); err != nil {
		t.Errorf("another epoch's: %v", err)
	}
}

func TestSnapshotRestoresATable(t *testing.T) {
	table := NewTable(nil)
	for id := range int64(20) {
		table.Apply(Append{id, 1, 0, 4}, id, 7, 1000+id)
	}
	if restored := NewTable(table.Snapshot()); !reflect.DeepEqual(restored.Snapshot(), table.Snapshot()) {
		t.Error("a table made from a snapshot differs from the original")
	}
	table.Expire(1010)
	if table.Len() != 10 {
		t.Errorf("%d producers after expiry, want 10", table.Len())
	}
	newer := NewTable([]State{{ID: 15, Epoch: 9, LastUsed: 1}})
	merged := NewTable(Merge(table.Snapshot(), newer.Snapshot()))
	if s, _ := merged.State(15); s.Epoch != 9 || merged.Len() != 10 {
		t.Errorf("merge kept epoch %d of %d producers", s.Epoch, merged.Len())
	}
}

// A batch that is salvaged under a name of its own is known again, whoever sends
// it, and also with more or fewer of its records.
func TestABatchOfASalvageIsKnownByItsProducersName(t *testing.T) {
	id := SalvageBatchID(7, 2, 100)
	if id < salvageFirst || id != SalvageBatchID(7, 2, 100) {
		t.Fatal(id)
	}
	for _, other := range []int64{SalvageBatchID(8, 2, 100), SalvageBatchID(7, 3, 100), SalvageBatchID(7, 2, 101), SalvageID(1<<31 - 1)} {
		if other == id {
			t.Errorf("%d twice", id)
		}
	}
	table := NewTable(nil)
	table.Apply(Append{id, 0, 0, 4}, 1000, -1, 0)
	if b, err := table.Check(Append{id, 0, 0, 4}); b == nil || b.First != 1000 || err != nil {
		t.Error(b, err)
	}
	for last, want := range map[int32]error{2: ErrDuplicateSequence, 6: ErrOutOfOrderSequence} {
		if b, err := table.Check(Append{id, 0, 0, last}); b != nil || err != want {
			t.Error(last, b, err)
		}
	}
}

func TestABatchThatWasSalvagedUnderItsNameIsNotAppendedUnderItsProducer(t *testing.T) {
	table := NewTable(nil)
	table.Apply(Append{7, 2, 90, 99}, 500, -1, 0)
	table.Apply(Append{SalvageBatchID(7, 2, 110), 0, 0, 9}, 1000, -1, 0)
	table.Apply(Append{SalvageBatchID(7, 2, 120), 0, 0, 3}, 1010, -1, 5)
	if b, err := table.Check(Append{7, 2, 100, 109}); b != nil || err != nil {
		t.Errorf("what comes before it: %v %v", b, err)
	}
	table.Apply(Append{7, 2, 100, 109}, 1014, -1, 5)
	for range 2 {
		if b, err := table.Check(Append{7, 2, 110, 119}); b == nil || b.First != 1000 || err != nil {
			t.Errorf("the batch itself: %v %v", b, err)
		}
		if b, err := table.Check(Append{8, 2, 110, 119}); b != nil || err != nil {
			t.Errorf("another producer's: %v %v", b, err)
		}
		table = NewTable(Merge(nil, table.Snapshot())) // as a manifest keeps it
	}
	table.Apply(Append{7, 2, 110, 119}, 1024, -1, 5)
	if b, err := table.Check(Append{7, 2, 120, 129}); b != nil || !errors.Is(err, ErrDuplicateSequence) {
		t.Errorf("one of which a part was salvaged: %v %v", b, err)
	}
	table.Expire(5)
	if table.named != 1 {
		t.Errorf("%d names are left, want 1", table.named)
	}
}

// A producer goes on behind its batches that were salvaged under names of their own,
// as if they had been appended under its own.
func TestAProducerGoesOnBehindWhatWasSalvagedUnderItsName(t *testing.T) {
	const max = math.MaxInt32
	name := func(sequence, records int32) Append {
		return Append{SalvageBatchID(7, 2, sequence), 0, 0, records - 1}
	}
	for _, c := range []struct {
		what  string
		own   []Append // that the log has, and then
		named []Append
		a     Append
		err   error
	}{
		{"behind one", []Append{{7, 2, 100, 109}}, []Append{name(110, 10)}, Append{7, 2, 120, 129}, nil},
		{"behind three", []Append{{7, 2, 100, 109}}, []Append{name(121, 9), name(110, 10), name(120, 1)}, Append{7, 2, 130, 130}, nil},
		{"behind a gap", []Append{{7, 2, 100, 109}}, []Append{name(110, 10), name(121, 9)}, Append{7, 2, 130, 130}, ErrOutOfOrderSequence},
		{"behind those of a new epoch", []Append{{7, 1, 100, 109}}, []Append{name(0, 10), name(10, 10)}, Append{7, 2, 20, 29}, nil},
		{"within a new epoch", []Append{{7, 1, 100, 109}}, []Append{name(0, 10)}, Append{7, 2, 5, 29}, ErrOutOfOrderSequence},
		{"across the wrap", []Append{{7, 2, max - 9, max - 5}}, []Append{name(max-4, 5), name(0, 3)}, Append{7, 2, 3, 4}, nil},
		{"another epoch's", []Append{{7, 1, 100, 109}}, []Append{name(110, 10)}, Append{7, 1, 120, 129}, ErrOutOfOrderSequence},
		{"one of which a part is elsewhere", []Append{{7, 2, 100, 109}}, []Append{name(110, 3)}, Append{7, 2, 120, 129}, ErrOutOfOrderSequence},
	} {
		table := NewTable(nil)
		for i, a := range append(c.own, c.named...) {
			table.Apply(a, int64(i)*100, -1, 0)
		}
		if b, err := table.Check(c.a); b != nil || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v %v, want %v", c.what, b, err, c.err)
		}
		if c.err != nil {
			continue
		}
		table.Apply(c.a, 5000, -1, 0)
		next := Append{7, 2, Successor(c.a.LastSequence), Successor(c.a.LastSequence)}
		if b, err := table.Check(next); b != nil || err != nil {
			t.Errorf("%s, and on: %v %v", c.what, b, err)
		}
	}
	// What comes before the first that was appended under the producer may be there.
	table := NewTable([]State{{ID: 7, Epoch: 1}})
	table.Apply(name(0, 10), 1000, -1, 0)
	table.Apply(Append{7, 2, 10, 19}, 1010, -1, 0)
	if b, err := table.Check(Append{7, 2, 0, 9}); b == nil || b.First != 1000 || err != nil {
		t.Errorf("a repeat of what lies before it: %v %v", b, err)
	}
}

// What lies in a producer's run is there, or was, however long ago; what lies before
// its first batch may never have come.
func TestWhatAProducerHasGoneOnBehindWasAppended(t *testing.T) {
	const max = math.MaxInt32
	table := NewTable(nil)
	add := func(epoch int16, first, last int32) {
		t.Helper()
		a := Append{7, epoch, first, last}
		if b, err := table.Check(a); b != nil || err != nil {
			t.Fatalf("%v: %v %v", a, b, err)
		}
		table.Apply(a, 0, -1, 0)
	}
	for seq := int32(100); seq < 300; seq += 10 {
		add(0, seq, seq+9)
	}
	table.Apply(Append{SalvageBatchID(7, 0, 300), 0, 0, 9}, 0, -1, 0)
	add(0, 310, 319)
	add(1, 0, 4)
	add(1, 5, max-5)
	add(1, max-4, max)
	add(1, 0, 9) // round
	table.Apply(Append{SalvageBatchID(7, 3, 0), 0, 0, 1}, 0, -1, 0)
	add(3, 2, 4)
	for range 2 {
		for _, c := range []struct {
			a    Append
			want bool
		}{
			{Append{7, 0, 100, 109}, true},
			{Append{7, 0, 150, 150}, true},
			{Append{7, 0, 300, 319}, true},
			{Append{7, 0, 99, 109}, false},
			{Append{7, 0, 310, 320}, false},
			{Append{7, 0, 0, 9}, false},
			{Append{7, 1, max - 4, 3}, true},
			{Append{7, 1, 1 << 29, 1<<29 + 1}, false}, // half a round ago is too long
			{Append{7, 1, 0, 9}, true},
			{Append{7, 1, 5, 14}, false},
			{Append{7, 2, 0, 0}, false},
			{Append{7, 3, 0, 4}, true},
			{Append{7, 3, 3, 5}, false},
			{Append{8, 3, 0, 4}, false},
		} {
			if got := table.Had(c.a); got != c.want {
				t.Errorf("%v: %v", c.a, got)
			}
		}
		table = NewTable(table.Snapshot())
	}
	add(4, 0, 0)
	if table.Had(Append{7, 0, 100, 109}) || !table.Had(Append{7, 1, 0, 9}) || !table.Had(Append{7, 3, 0, 4}) {
		t.Error("of earlier epochs, other than the last two are remembered")
	}
	s, _ := table.State(7)
	if err := s.ValidateRuns(); err != nil {
		t.Error(err)
	}
	// Of what an older version wrote the batches count.
	s.Run, s.Batches = 0, []Batch{{FirstSequence: 5, LastSequence: 9}, {FirstSequence: 10, LastSequence: 12}}
	table = NewTable([]State{s})
	if !table.Had(Append{7, 4, 6, 12}) || table.Had(Append{7, 4, 4, 12}) {
		t.Error("the run is not what the batches make")
	}
}

// What is applied may have gaps that Check lets nobody make: the producer was
// forgotten meanwhile, or what lay between is damaged. It may never have come.
func TestNoRunGoesOnOverAGap(t *testing.T) {
	table := NewTable(nil)
	add := func(epoch int16, first, last int32) {
		t.Helper()
		table.Apply(Append{7, epoch, first, last}, 0, -1, 0)
		if s, _ := table.State(7); s.ValidateRuns() != nil {
			t.Errorf("%d: %d..%d: %v", epoch, first, last, s.ValidateRuns())
		}
		table = NewTable(table.Snapshot())
	}
	had := func(want bool, epoch int16, first, last int32) {
		t.Helper()
		if got := table.Had(Append{7, epoch, first, last}); got != want {
			t.Errorf("%d: %d..%d: %v", epoch, first, last, got)
		}
	}
	add(1, 0, 9)
	add(1, 100, 109)
	had(false, 1, 10, 99)
	had(true, 1, 100, 109)
	had(false, 1, 0, 9) // which is not known any more
	add(3, 50, 59)
	had(false, 3, 0, 9)
	had(true, 3, 50, 59)
	had(true, 1, 100, 109)
	had(false, 1, 10, 99)
	add(2, 0, 4) // who was forgotten may come with an earlier epoch
	had(false, 3, 50, 59)
	had(true, 2, 0, 4)
	add(3, 0, 4)
	had(true, 2, 0, 4)
	had(true, 3, 0, 4)
}

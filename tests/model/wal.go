package model

import "fmt"

// The system of one file of a write-ahead log, which is used again and again.
// Frames are written one behind the other, a sync makes them durable. A killed
// process leaves what it wrote to the operating system; a power loss leaves of
// each frame that was not synced the new bytes, the old ones, or neither whole.
// Once all its records are committed the file is used again from its start,
// under a new generation in its header, with the old frames still behind it.
//
// Recovery reads frames up to the first that does not count. What it found is
// shown to readers, and the log goes on in another file.

const (
	walSlots   = 3
	walRecords = 5
)

// walFrame is a slot: the record and the generation it was written under. The
// zero frame is torn, or was never written.
type walFrame struct{ record, generation int8 }

type walState struct {
	header    int8               // the generation in the file's header, always durable
	disk      [walSlots]walFrame // what a power loss keeps
	cache     [walSlots]walFrame // what a read sees
	at        int8               // the next slot
	ended     bool               // nothing more is written in this use
	down      bool
	given     int8     // records that exist
	acked     bitset   // by record
	shown     bitset   // after a recovery, to readers
	committed bitset   // elsewhere: the file may forget them
	flaw      walFlaws // what went wrong
}

type walFlaws int8

const (
	walReplayed walFlaws = iota + 1
	walLost
	walVanished
)

func (f walFlaws) String() string {
	return [...]string{"", "a record of an earlier use of the file is replayed", "an acknowledged record is lost", "a record that readers saw has vanished"}[f]
}

func walSystem(d design) System[walState] {
	return System[walState]{
		Starts: []walState{{header: 1}},
		Steps:  func(s walState, follows func(walState, Step)) { walSteps(d, s, follows) },
		Broken: func(s walState) string { return s.flaw.String() },
		Show: func(s walState) string {
			return fmt.Sprintf("generation %d, on disk %v, in the cache %v, next slot %d", s.header, s.disk, s.cache, s.at)
		},
	}
}

func walSteps(d design, s walState, follows func(walState, Step)) {
	if s.down {
		follows(walRecover(d, s), Step{"recover", -1})
		return
	}
	if s.at < walSlots && s.given < walRecords && !s.ended {
		t := s
		t.given++
		t.cache[t.at] = walFrame{t.given, t.header}
		t.at++
		follows(t, Step{"write record", int(t.given)})
	}
	if s.disk != s.cache {
		t := s
		t.disk = t.cache
		t.acked |= walRecordsOf(t.cache[:t.at])
		follows(t, Step{"sync and acknowledge", -1})
	}
	if s.at > 0 && s.disk == s.cache {
		t := s
		t.committed |= walRecordsOf(t.cache[:t.at])
		t.header++
		t.at, t.ended = 0, false
		follows(t, Step{"commit all, use again", -1})
	}
	t := s
	t.down, t.at = true, 0
	follows(t, Step{"kill", -1})
	walPowerLoss(t, 0, follows)
}

// walPowerLoss follows every outcome for the slots from i on.
func walPowerLoss(s walState, i int, follows func(walState, Step)) {
	for ; i < walSlots; i++ {
		if s.disk[i] == s.cache[i] {
			continue
		}
		for _, left := range []walFrame{s.disk[i], {}} {
			t := s
			t.disk[i], t.cache[i] = left, left
			walPowerLoss(t, i+1, follows)
		}
		s.disk[i] = s.cache[i]
	}
	follows(s, Step{"power loss", -1})
}

func walRecover(d design, s walState) walState {
	n := 0
	for ; n < walSlots; n++ {
		f := s.cache[n]
		if f.record == 0 || f.generation != s.header && d.holds(WALGeneration) {
			break
		}
	}
	found := walRecordsOf(s.cache[:n])
	if d.holds(RecoverySync) {
		s.disk = s.cache
	}
	s.down, s.ended, s.at = false, true, int8(n)
	switch {
	case found&s.committed != 0:
		s.flaw = walReplayed
	case s.acked&^s.committed&^found != 0:
		s.flaw = walLost
	case s.shown&^s.committed&^found != 0:
		s.flaw = walVanished
	}
	s.shown |= found
	return s
}

func walRecordsOf(frames []walFrame) (set bitset) {
	for _, f := range frames {
		set = set.with(f.record)
	}
	return set
}

// bitset is a set of small positive numbers.
type bitset uint8

func (b bitset) has(n int8) bool { return b>>(n-1)&1 == 1 }

func (b bitset) with(n int8) bitset { return b | 1<<(n-1) }

package model

import "fmt"

// The system of a group's coordinator: one slot, two brokers, one group with its
// generation and one committed offset. A member commits under the generation
// that it knows; the coordinator checks it against its memory and writes the
// offset, and a rebalance writes a generation. Writes may arrive late and twice,
// a broker may go on for a while after the slot has moved.
//
// Commits are numbered in the order in which they are asked for, one after the
// other; the number is the offset.

const (
	coordBrokers     = 2
	coordCommits     = 3
	coordGenerations = 2
	coordEpochs      = 3
	coordFlying      = 3
)

// coordWrite is a write under way to the metadata store.
type coordWrite struct {
	kind     coordKind
	broker   int8
	slot     int8 // the slot's epoch that it compares
	seen     int8 // the revision of the key that it compares
	value    int8 // a commit's number, or a generation
	as       int8 // the generation under which the commit was asked for
	again    bool // it was sent twice
	answered bool // nobody waits for this copy
}

type coordKind int8

const (
	coordNothing coordKind = iota
	coordOffset
	coordGeneration
)

type coordState struct {
	slotOwner, slotEpoch int8
	offset, offsetRev    int8
	gen, genRev          int8

	broker [coordBrokers]coordBroker
	flying [coordFlying]coordWrite

	asked      int8 // commits so far
	acked      int8 // the newest that was acknowledged
	ackedGen   int8 // the newest generation that members were told
	movesLeft  int8
	repeatLeft int8
	flaw       int8
}

// coordBroker is a broker that coordinates; serving is the slot's epoch, 0 when
// it does not.
type coordBroker struct {
	serving           int8
	gen, genRev       int8
	offset, offsetRev int8
	busy              bool // a write of it is under way, as the coordinator sees it
}

func coordSystem(d design) System[coordState] {
	return System[coordState]{
		Starts: []coordState{{slotOwner: -1, movesLeft: coordEpochs, repeatLeft: 1, gen: 1, ackedGen: 1}},
		Steps:  func(s coordState, follows func(coordState, Step)) { coordSteps(d, s, follows) },
		Broken: func(s coordState) string {
			return [...]string{"", "an acknowledged commit went back", "a commit of an earlier generation counts after members were told of a new one"}[s.flaw]
		},
		Show: func(s coordState) string {
			return fmt.Sprintf("slot: broker %d epoch %d; stored: offset %d (rev %d) generation %d (rev %d); acked %d; brokers %v; under way %v",
				s.slotOwner, s.slotEpoch, s.offset, s.offsetRev, s.gen, s.genRev, s.acked, s.broker, s.flying)
		},
	}
}

func coordSteps(d design, s coordState, follows func(coordState, Step)) {
	for b := range s.broker {
		who := int8(b)
		// The slot moves: the former owner may not have noticed.
		if s.movesLeft > 0 && s.slotOwner != who {
			t := s
			t.movesLeft--
			t.slotOwner = who
			t.slotEpoch++
			t.broker[b] = coordBroker{serving: t.slotEpoch, gen: t.gen, genRev: t.genRev, offset: t.offset, offsetRev: t.offsetRev}
			follows(t, Step{"takes the slot: broker", b})
		}
		br := s.broker[b]
		if br.serving == 0 || br.busy {
			continue
		}
		if s.asked < coordCommits {
			// A member of any generation up to the newest that was told.
			for as := int8(1); as <= s.ackedGen; as++ {
				if as != br.gen {
					continue // refused: ILLEGAL_GENERATION
				}
				t := s
				t.asked++
				w := coordWrite{kind: coordOffset, broker: who, slot: br.serving, seen: br.offsetRev, value: t.asked, as: as}
				if t.send(w) {
					follows(t, Step{"writes a commit: broker", b})
				}
			}
		}
		if br.gen < coordGenerations {
			t := s
			w := coordWrite{kind: coordGeneration, broker: who, slot: br.serving, seen: br.genRev, value: br.gen + 1}
			if t.send(w) {
				follows(t, Step{"writes a generation: broker", b})
			}
		}
	}
	for i, w := range s.flying {
		if w.kind == coordNothing {
			continue
		}
		if !w.again && s.repeatLeft > 0 && !w.answered {
			// The coordinator got no answer and sends once more; whichever copy
			// comes first is answered, the other comes late.
			t := s
			t.repeatLeft--
			t.flying[i].again = true
			twin := w
			twin.again, twin.answered = true, true
			if t.put(twin) {
				follows(t, Step{"sends again: broker", int(w.broker)})
			}
		}
		follows(coordArrive(d, s, i), Step{"arrives: write of broker", int(w.broker)})
	}
}

// send gives a write to the network and makes its broker wait.
func (s *coordState) send(w coordWrite) bool {
	s.broker[w.broker].busy = true
	return s.put(w)
}

func (s *coordState) put(w coordWrite) bool {
	for i := range s.flying {
		if s.flying[i].kind == coordNothing {
			s.flying[i] = w
			return true
		}
	}
	return false
}

// coordArrive applies a write if its conditions hold, and answers.
func coordArrive(d design, s coordState, i int) coordState {
	w := s.flying[i]
	s.flying[i] = coordWrite{}
	ok := w.slot == s.slotEpoch || !d.holds(SlotCompare)
	switch w.kind {
	case coordOffset:
		ok = ok && (w.seen == s.offsetRev || !d.holds(KeyCompare))
		if ok {
			if w.as < s.ackedGen {
				s.flaw = 2
			}
			s.offset = w.value
			s.offsetRev++
		}
	case coordGeneration:
		ok = ok && (w.seen == s.genRev || !d.holds(KeyCompare))
		if ok {
			s.gen = w.value
			s.genRev++
		}
	}
	if s.offset < s.acked {
		s.flaw = 1
	}
	br := &s.broker[w.broker]
	if w.answered || br.serving != w.slot {
		return s // nobody waits
	}
	// The answer: applied, or refused; refused means to look. One whose twin was
	// applied finds its own value.
	br.busy = false
	switch {
	case w.kind == coordOffset && (ok || s.offset == w.value):
		br.offset, br.offsetRev = s.offset, s.offsetRev
		s.acked = max(s.acked, w.value)
	case w.kind == coordGeneration && (ok || s.gen == w.value && w.slot == s.slotEpoch):
		br.gen, br.genRev = s.gen, s.genRev
		s.ackedGen = max(s.ackedGen, w.value)
	default:
		*br = coordBroker{} // fenced, or it knows too little: it drops what it has
		if w.slot == s.slotEpoch {
			*br = coordBroker{serving: w.slot, gen: s.gen, genRev: s.genRev, offset: s.offset, offsetRev: s.offsetRev}
		}
	}
	return s
}

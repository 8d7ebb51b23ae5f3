package model

import "fmt"

// The system of compaction: attempts write an object and swap the manifest to
// it; a sweep lists objects that nothing names, waits, and deletes them. Two
// compactors may work on one partition at once, each may stop anywhere, and the
// sweep knows the age of an object and nothing of the attempt that wrote it.
//
// A manifest here names one object, the merge of everything before it, and how
// many records are in it: a swap that overtakes another would lose records.

const (
	compactors = 2
	objectsMax = 5
	recordsMax = 2
)

type attempt struct {
	at     int8 // 0 none, 1 planned, 2 object written
	object int8
	seen   int8 // the manifest's version it read
	upTo   int8 // the records that its object holds
}

type object struct {
	there  bool
	old    bool // of the age at which a sweep may take it
	marked bool // a sweep has decided to delete it
	upTo   int8 // what it holds
}

type compactionState struct {
	log       int8 // records committed so far
	named     int8 // the object that the manifest names; 0 none
	version   int8
	mark      int8 // records that the manifest says its object holds
	attempts  [compactors]attempt
	objects   [objectsMax + 1]object // from 1
	nameNext  int8
	flaw      int8
	sweepLeft int8
}

func compactionSystem(d design) System[compactionState] {
	return System[compactionState]{
		Starts: []compactionState{{nameNext: 1, sweepLeft: 2}},
		Steps:  func(s compactionState, follows func(compactionState, Step)) { compactionSteps(d, s, follows) },
		Broken: func(s compactionState) string {
			switch {
			case s.named != 0 && !s.objects[s.named].there:
				return "the manifest names an object that is deleted"
			case s.named != 0 && s.objects[s.named].upTo != s.mark:
				return "the manifest's object holds something else than its mark says"
			}
			return [...]string{"", "the mark went back: records whose segments are gone are in no file"}[s.flaw]
		},
		Show: func(s compactionState) string {
			return fmt.Sprintf("%d records; manifest: object %d version %d mark %d; attempts %v; objects %v", s.log, s.named, s.version, s.mark, s.attempts, s.objects[1:])
		},
	}
}

func compactionSteps(d design, s compactionState, follows func(compactionState, Step)) {
	if s.log < recordsMax {
		t := s
		t.log++
		follows(t, Step{"commit a record", -1})
	}
	for c, a := range s.attempts {
		switch a.at {
		case 0:
			if s.mark == s.log {
				break
			}
			t := s
			name := t.nameNext
			if d.holds(OwnNames) {
				t.nameNext++
			} else {
				name = s.log // a name that every attempt at these records makes
			}
			if name > objectsMax {
				break
			}
			t.attempts[c] = attempt{at: 1, object: name, seen: s.version, upTo: s.log}
			follows(t, Step{"plan: compactor", c})
		case 1:
			t := s
			t.attempts[c].at = 2
			o := &t.objects[a.object]
			if !o.there { // put if absent; one that is there is adopted
				*o = object{there: true, upTo: a.upTo}
			}
			follows(t, Step{"put its object: compactor", c})
		case 2:
			t := s
			t.attempts[c] = attempt{}
			if s.version == a.seen || !d.holds(ManifestCompare) {
				if a.upTo < t.mark {
					t.flaw = 1
				}
				t.named, t.mark = a.object, a.upTo
				t.version++
			}
			follows(t, Step{"swap the manifest: compactor", c})
		}
		if a.at != 0 {
			t := s
			t.attempts[c] = attempt{}
			follows(t, Step{"crash or give up: compactor", c})
		}
	}
	for i := 1; i <= objectsMax; i++ {
		o := s.objects[i]
		switch {
		case !o.there:
		case !o.old:
			// A day passes. No attempt that uses the object lasts that long.
			if d.holds(AttemptsEnd) && s.usedBy(int8(i)) {
				break
			}
			t := s
			t.objects[i].old = true
			follows(t, Step{"a day passes: object", i})
		case !o.marked && s.named != int8(i) && s.sweepLeft > 0:
			t := s
			t.sweepLeft--
			t.objects[i].marked = true
			follows(t, Step{"sweep finds nobody that names it: object", i})
		case o.marked:
			t := s
			t.objects[i] = object{}
			follows(t, Step{"sweep deletes: object", i})
		}
	}
}

// usedBy: an attempt under way has written it and may name it yet.
func (s *compactionState) usedBy(name int8) bool {
	for _, a := range s.attempts {
		if a.at == 2 && a.object == name {
			return true
		}
	}
	return false
}

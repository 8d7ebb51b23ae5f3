package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The system of one partition's log: two brokers with a write-ahead log each,
// the metadata store, a network that delivers transactions late, twice or never,
// leases that lapse, processes that die and come back, a compactor, and the
// deletion of the topic.
//
// A broker here does one thing at a time: at most one change of ownership and
// one commit of it are under way as it sees it. Others, of its former lives or
// sent again, may still be in the network. Reading the metadata is instantaneous
// and whole; how late that is when something is done with it, the network says.

// logBounds keep the system small enough to be searched whole.
type logBounds struct {
	records  int8 // that producers send
	sessions int8 // of both brokers together
	epochs   int8
	resends  int8 // commits sent again
	flying   int8 // transactions in the network at once
	compacts bool
	deletes  bool // the topic may be deleted
	object   bool // durability=object: acknowledged when committed, disks may be lost
}

const (
	logBrokers  = 2
	recordsCap  = 3
	offsetsCap  = 4
	framesCap   = 3
	epochsCap   = 6
	segmentsCap = 4
	flyingCap   = 3
)

// logFrame is a batch of one record in a write-ahead log. record 0: no frame.
type logFrame struct{ record, epoch, offset int8 }

// logSegment is a sealed piece: its records at offsets first and up.
type logSegment struct {
	first, n int8
	records  [framesCap]int8
	key      bool // the metadata names it
	object   bool // the bucket has it
}

type logTxnKind int8

const (
	noTxn logTxnKind = iota
	commitTxn
	takeTxn
	releaseTxn
)

// logTxn is a transaction in the network, with what it compares and puts.
type logTxn struct {
	kind     logTxnKind
	broker   int8
	session  int8
	ownerRev int8 // take, release: the ownership that was seen
	epoch    int8 // take
	start    int8 // take
	segment  int8 // commit, from 1
	sequence int8 // commit
	awaited  bool // the broker waits for this copy's answer
}

type logRole int8

const (
	notOwner logRole = iota
	serving
	taking    // the take is under way, or its outcome was lost
	releasing // the release is under way, or its outcome was lost
)

// logBroker is a broker's process and disk.
type logBroker struct {
	disk [framesCap]logFrame // survives the process

	up      bool
	session int8 // the one that it believes in; 0: none
	valid   bool // by its own clock the lease lives

	role    logRole
	epoch   int8
	next    int8   // the offset to give
	mine    bitset // frames (by slot, from 1) that are part of the log and not known to be committed
	sent    int8   // the segment whose commit is awaited
	seq     int8   // of the last commit known to be applied
	oldNext int8   // the committed end at some earlier time; only read without one-revision
}

type logState struct {
	// The metadata store.
	session  [logBrokers]int8 // the key brokers/<id>
	sequence [logBrokers]int8 // commits/<id>
	owner    int8             // −1: nobody
	ownerSes int8
	epoch    int8
	ownerRev int8 // 0: no key
	starts   [epochsCap]int8
	deleted  bool
	mark     int8 // compacted below
	log      [offsetsCap]int8
	next     int8
	segments [segmentsCap]logSegment

	broker [logBrokers]logBroker
	flying [flyingCap]logTxn

	records, sessions, segmentsMade, revisions, resends int8
	acked                                               bitset
	flaw                                                logFlaw
}

type logFlaw int8

const (
	logOffsetTwice logFlaw = iota + 1
	logGap
)

func logSystem(d design, bounds logBounds) System[logState] {
	l := logRules{d, bounds}
	start := logState{owner: -1}
	for e := range start.starts {
		start.starts[e] = -1
	}
	steps := func(s logState, follows func(logState, Step)) {
		l.steps(s, func(t logState, step Step) {
			l.normalize(&t)
			follows(t, step)
		})
	}
	return System[logState]{Starts: []logState{start}, Steps: steps, Broken: l.broken, Show: logShow}
}

type logRules struct {
	design
	bounds logBounds
}

// normalize makes states equal that have the same future: it takes transactions
// out of the network that can never apply any more and that nobody waits for,
// and puts the others in order.
func (l logRules) normalize(s *logState) {
	for i := range s.flying {
		w := &s.flying[i]
		if w.kind == noTxn {
			continue
		}
		if s.broker[w.broker].session != w.session {
			w.awaited = false
		}
		if !w.awaited && l.dead(s, *w) {
			*w = logTxn{}
		}
	}
	slices.SortFunc(s.flying[:], func(a, b logTxn) int {
		return cmp.Or(cmp.Compare(b.kind, a.kind), cmp.Compare(a.broker, b.broker), cmp.Compare(a.session, b.session),
			cmp.Compare(a.ownerRev, b.ownerRev), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.start, b.start),
			cmp.Compare(a.segment, b.segment), cmp.Compare(a.sequence, b.sequence), order(a.awaited, b.awaited))
	})
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// dead: a condition of the transaction has failed for good. Sessions, revisions
// and sequences do not come back.
func (l logRules) dead(s *logState, w logTxn) bool {
	if s.session[w.broker] != w.session && (w.kind != commitTxn || l.holds(SessionCompare)) {
		return true
	}
	if w.kind == commitTxn {
		return s.sequence[w.broker] >= w.sequence && l.holds(CommitSequence)
	}
	return s.ownerRev != w.ownerRev && l.holds(OwnerCompare)
}

// broken is what must never be.
func (l logRules) broken(s logState) string {
	switch s.flaw {
	case logOffsetTwice:
		return "an offset is committed twice"
	case logGap:
		return "a commit leaves a gap behind the end of the log"
	}
	if s.deleted {
		if s.ownerRev != 0 {
			return "a deleted topic has an owner's key, which nobody will delete"
		}
		return ""
	}
	for r := int8(1); r <= s.records; r++ {
		n := 0
		for _, at := range s.log {
			if at == r {
				n++
			}
		}
		if n > 1 {
			return fmt.Sprintf("record %d is in the log %d times", r, n)
		}
		if n == 0 && s.acked.has(r) && !s.onSomeDisk(r) {
			return fmt.Sprintf("record %d was acknowledged and is lost", r)
		}
	}
	for i, seg := range s.segments {
		if seg.key && !seg.object {
			return fmt.Sprintf("the metadata names segment %d, whose object is deleted", i+1)
		}
	}
	return ""
}

func (s *logState) onSomeDisk(r int8) bool {
	for b := range s.broker {
		for _, f := range s.broker[b].disk {
			if f.record == r {
				return true
			}
		}
	}
	return false
}

// epochEnd is the smallest start of a later epoch.
func (s *logState) epochEnd(e int8) (end int8, ended bool) {
	for later := e + 1; later < epochsCap; later++ {
		if first := s.starts[later]; first >= 0 && (!ended || first < end) {
			end, ended = first, true
		}
	}
	return end, ended
}

func (l logRules) steps(s logState, follows func(logState, Step)) {
	for i := range s.flying {
		if s.flying[i].kind != noTxn {
			l.network(s, i, follows)
		}
	}
	if s.deleted {
		return // what is under way still arrives
	}
	for b := range s.broker {
		l.life(s, b, follows)
		if br := &s.broker[b]; br.up && br.session != 0 {
			l.own(s, b, follows)
			l.write(s, b, follows)
			l.disk(s, b, follows)
		}
	}
	l.background(s, follows)
}

// life: processes and leases.
func (l logRules) life(s logState, b int, follows func(logState, Step)) {
	br := s.broker[b]
	first := s.sessions == 0 && b > 0 // the brokers are alike: let it be broker 0
	if s.sessions < l.bounds.sessions && (br.session == 0 || !br.valid) && !first {
		t := s
		t.sessions++
		t.session[b], t.sequence[b] = t.sessions, 0
		n := &t.broker[b]
		if l.holds(NewSessionEmpty) || br.session == 0 {
			*n = logBroker{disk: br.disk, oldNext: br.oldNext}
		}
		n.up, n.session, n.valid, n.seq = true, t.sessions, true, 0
		if n.sent != 0 { // without new-session-empty: the segment goes out under the new one
			t.send(l, logTxn{kind: commitTxn, broker: int8(b), session: n.session, segment: n.sent, sequence: 1, awaited: true})
		}
		follows(t, Step{"session begins: broker", b})
	}
	if br.up && br.session != 0 {
		t := s
		t.broker[b] = logBroker{disk: br.disk, oldNext: br.oldNext}
		t.forgetAnswers(b)
		follows(t, Step{"dies: broker", b})
		if br.valid {
			t := s
			t.broker[b].valid = false
			follows(t, Step{"sleeps past its lease: broker", b})
		}
	}
	if s.session[b] != 0 && !(br.up && br.valid && br.session == s.session[b]) {
		t := s
		t.session[b] = 0
		follows(t, Step{"lease ends: broker", b})
	}
	if l.bounds.object && !br.up && br.disk != ([framesCap]logFrame{}) {
		t := s
		t.broker[b].disk = [framesCap]logFrame{}
		follows(t, Step{"disk is lost: broker", b})
	}
}

// forgetAnswers: nobody waits any more for what a broker sent.
func (s *logState) forgetAnswers(b int) {
	for i := range s.flying {
		if s.flying[i].broker == int8(b) {
			s.flying[i].awaited = false
		}
	}
}

// own: take and release.
func (l logRules) own(s logState, b int, follows func(logState, Step)) {
	br := s.broker[b]
	if !l.holds(OneRevision) && br.oldNext != s.next {
		t := s
		t.broker[b].oldNext = s.next
		follows(t, Step{"looks where the log ends: broker", b})
	}
	// Nobody owns it, or its session is gone, or it is our own and not served.
	free := s.owner < 0 || s.session[s.owner] != s.ownerSes || s.ownerSes == br.session
	if free && br.role != serving && s.epoch+1 < l.bounds.epochs {
		t := s
		if t.take(l, b) {
			follows(t, Step{"takes: broker", b})
		}
	}
	if br.role == releasing && !l.holds(DoubtedReleaseRetakes) && s.owner == int8(b) && s.ownerSes == br.session {
		t := s
		t.broker[b].role = serving
		follows(t, Step{"sees that it still owns: broker", b})
	}
	if br.role == serving && s.owner == int8(b) && s.ownerSes == br.session {
		flushed := br.mine == 0 && br.sent == 0
		if flushed || !l.holds(ReleaseAfterFlush) {
			t := s
			t.broker[b].role = releasing
			if t.send(l, logTxn{kind: releaseTxn, broker: int8(b), session: br.session, ownerRev: s.ownerRev, awaited: true}) {
				follows(t, Step{"releases: broker", b})
			}
		}
	}
}

// take sends a take that rests on the metadata as it is now.
func (s *logState) take(l logRules, b int) bool {
	br := &s.broker[b]
	seen := s.next
	if !l.holds(OneRevision) {
		seen = br.oldNext
	}
	start := seen
	// What the own disk holds of the log and is not committed goes on with us.
	for _, f := range br.disk {
		if f.record != 0 && f.offset >= seen && l.inLog(s, f) {
			start = max(start, f.offset+1)
		}
	}
	for i := range s.flying { // it waits for this take, and no earlier change
		if w := &s.flying[i]; w.broker == int8(b) && w.kind != commitTxn {
			w.awaited = false
		}
	}
	br.role = taking
	epoch := int8(0)
	if s.ownerRev != 0 {
		epoch = s.epoch + 1
	}
	return s.send(l, logTxn{kind: takeTxn, broker: int8(b), session: br.session, ownerRev: s.ownerRev, epoch: epoch, start: start, awaited: true})
}

// inLog: the frame is part of the log, so far as its epoch says.
func (l logRules) inLog(s *logState, f logFrame) bool {
	if !l.holds(EpochCommitted) {
		return true
	}
	end, ended := s.epochEnd(f.epoch)
	return !ended || f.offset < end
}

// write: produce, seal, send again.
func (l logRules) write(s logState, b int, follows func(logState, Step)) {
	br := s.broker[b]
	if br.role == serving && br.valid && s.records < l.bounds.records {
		t := s
		t.records++
		if t.append(b, t.records) {
			if !l.bounds.object {
				t.acked = t.acked.with(t.records)
			}
			follows(t, Step{"produce to broker", b})
		}
	}
	if br.mine != 0 && br.sent == 0 && s.segmentsMade < segmentsCap && br.role != taking {
		t := s
		if t.seal(l, b) {
			follows(t, Step{"commits: broker", b})
		}
	}
	if br.sent != 0 && s.resends < l.bounds.resends {
		t := s
		t.resends++
		if t.send(l, logTxn{kind: commitTxn, broker: int8(b), session: br.session, segment: br.sent, sequence: br.seq + 1, awaited: true}) {
			follows(t, Step{"commits again: broker", b})
		}
	}
}

// append puts a record behind the log and into the write-ahead log.
func (s *logState) append(b int, record int8) bool {
	br := &s.broker[b]
	for i := range br.disk {
		if br.disk[i].record == 0 {
			if br.next >= offsetsCap {
				return false
			}
			br.disk[i] = logFrame{record, br.epoch, br.next}
			br.mine = br.mine.with(int8(i + 1))
			br.next++
			return true
		}
	}
	return false
}

// seal makes a segment of everything that waits, and sends its commit.
func (s *logState) seal(l logRules, b int) bool {
	br := &s.broker[b]
	seg := logSegment{first: offsetsCap, object: true}
	last := int8(-1)
	for i, f := range br.disk {
		if br.mine.has(int8(i + 1)) {
			seg.first, last = min(seg.first, f.offset), max(last, f.offset)
		}
	}
	for i, f := range br.disk {
		if br.mine.has(int8(i + 1)) {
			seg.records[f.offset-seg.first] = f.record
		}
	}
	seg.n = last + 1 - seg.first
	s.segments[s.segmentsMade] = seg
	s.segmentsMade++
	br.sent = s.segmentsMade
	return s.send(l, logTxn{kind: commitTxn, broker: int8(b), session: br.session, segment: br.sent, sequence: br.seq + 1, awaited: true})
}

func (s *logState) send(l logRules, txn logTxn) bool {
	for i := range l.bounds.flying {
		if s.flying[i].kind == noTxn {
			s.flying[i] = txn
			return true
		}
	}
	return false
}

// disk: what happens to frames that are not (or no more) waiting.
func (l logRules) disk(s logState, b int, follows func(logState, Step)) {
	br := s.broker[b]
	for i, f := range br.disk {
		if f.record == 0 || br.mine.has(int8(i+1)) {
			continue
		}
		switch {
		case l.inLog(&s, f) && f.offset < s.next:
			t := s
			t.broker[b].disk[i] = logFrame{}
			follows(t, Step{"forgets what is committed: broker", b})
		case l.inLog(&s, f):
			// Part of the log, not committed, not ours now: it waits for the next take.
		case !l.holds(SalvageAsNew):
			t := s
			t.broker[b].disk[i] = logFrame{}
			follows(t, Step{"drops what was overtaken: broker", b})
		default:
			l.salvage(s, b, i, follows)
		}
	}
}

// salvage appends an overtaken record at the owner again. The answer may be lost.
func (l logRules) salvage(s logState, b, i int, follows func(logState, Step)) {
	record := s.broker[b].disk[i].record
	for o := range s.broker {
		owner := &s.broker[o]
		if !owner.up || owner.role != serving || !owner.valid {
			continue
		}
		t := s
		if !l.holds(SalvageIdempotent) || !t.knows(o, record) {
			if !t.append(o, record) {
				continue
			}
			follows(t, Step{"salvages, and the answer is lost: broker", b})
		}
		t.broker[b].disk[i] = logFrame{}
		follows(t, Step{"salvages: broker", b})
	}
}

// knows: the owner's log has the record, by the producer's state of the
// partition, which goes with it.
func (s *logState) knows(owner int, record int8) bool {
	for _, r := range s.log[:s.next] {
		if r == record {
			return true
		}
	}
	br := &s.broker[owner]
	for i, f := range br.disk {
		if f.record == record && br.mine.has(int8(i+1)) {
			return true
		}
	}
	return false
}

// network: a transaction arrives, with an answer or without, or is lost.
func (l logRules) network(s logState, i int, follows func(logState, Step)) {
	txn := s.flying[i]
	b := int(txn.broker)
	if s.flying[l.bounds.flying-1].kind != noTxn {
		// Lost, to make room: one that is late for ever does the same.
		t := s
		t.flying[i] = logTxn{}
		follows(t, Step{"lost: transaction of broker", b})
	}
	t := s
	t.flying[i] = logTxn{}
	applied := l.apply(&t, txn)
	follows(t, Step{"arrives, unanswered: transaction of broker", b})
	br := &t.broker[b]
	if !txn.awaited || br.session != txn.session {
		return
	}
	switch txn.kind {
	case commitTxn:
		if txn.segment != br.sent {
			return
		}
		// A refusal means to look: its twin may have been there.
		if applied || t.session[b] == txn.session && t.sequence[b] >= txn.sequence {
			l.committed(&t, b)
		} else if t.session[b] != txn.session {
			*br = logBroker{disk: br.disk, oldNext: br.oldNext, up: true}
			t.forgetAnswers(b)
		} else {
			return
		}
	case takeTxn:
		br.role = notOwner
		if applied {
			br.role, br.epoch, br.next = serving, txn.epoch, txn.start
			l.adopt(&t, b)
		}
	case releaseTxn:
		if br.role == releasing {
			br.role = notOwner
		}
		if !applied && t.owner == txn.broker && t.ownerSes == txn.session {
			return // it was refused and nothing has changed: cannot be
		}
	}
	follows(t, Step{"arrives, answered: transaction of broker", b})
}

// adopt makes what the disk holds of the log wait for its commit.
func (l logRules) adopt(s *logState, b int) {
	br := &s.broker[b]
	for i, f := range br.disk {
		if f.record == 0 || br.mine.has(int8(i+1)) {
			continue
		}
		if f.offset >= s.next && f.offset < br.next && l.inLog(s, f) {
			br.mine = br.mine.with(int8(i + 1))
		}
	}
}

// committed: the broker knows its segment to be part of the log.
func (l logRules) committed(s *logState, b int) {
	br := &s.broker[b]
	seg := s.segments[br.sent-1]
	for i, f := range br.disk {
		if br.mine.has(int8(i+1)) && f.offset >= seg.first && f.offset < seg.first+seg.n {
			br.mine &^= 1 << i
			br.disk[i] = logFrame{}
			if l.bounds.object && br.valid {
				s.acked = s.acked.with(f.record)
			}
		}
	}
	br.sent = 0
	br.seq++
}

// apply does to the metadata what a transaction says, if its conditions hold.
func (l logRules) apply(s *logState, txn logTxn) bool {
	if s.session[txn.broker] != txn.session && (txn.kind != commitTxn || l.holds(SessionCompare)) {
		return false
	}
	switch txn.kind {
	case commitTxn:
		if s.sequence[txn.broker] != txn.sequence-1 && l.holds(CommitSequence) {
			return false
		}
		s.sequence[txn.broker] = txn.sequence
		seg := &s.segments[txn.segment-1]
		if s.deleted {
			return true // its ranges count as rewritten
		}
		if seg.key {
			return true // the same put of the same key
		}
		seg.key = true
		if seg.first+seg.n <= s.mark {
			return true // all of it was rewritten: only the key comes back
		}
		for i := range seg.n {
			at := seg.first + i
			if s.log[at] != 0 {
				s.flaw = logOffsetTwice
			} else if at > s.next {
				s.flaw = logGap
			}
			s.log[at] = seg.records[i]
			s.next = max(s.next, at+1)
		}
	case takeTxn, releaseTxn:
		if s.ownerRev != txn.ownerRev && l.holds(OwnerCompare) {
			return false
		}
		if s.deleted && txn.kind == takeTxn && l.holds(TopicExists) {
			return false
		}
		s.revisions++
		s.ownerRev = s.revisions
		if txn.kind == releaseTxn {
			s.owner, s.ownerSes = -1, 0
			return true
		}
		s.owner, s.ownerSes, s.epoch = txn.broker, txn.session, txn.epoch
		// Epochs that begin at or above this one's start have nothing left.
		for e := range s.starts {
			if s.starts[e] >= txn.start {
				s.starts[e] = -1
			}
		}
		s.starts[txn.epoch] = txn.start
	}
	return true
}

// background: the compactor, the deletion of objects, and of the topic.
func (l logRules) background(s logState, follows func(logState, Step)) {
	if l.bounds.compacts && s.mark < s.next {
		t := s
		t.mark = t.next
		for i := range t.segments {
			if seg := &t.segments[i]; seg.key && seg.first+seg.n <= t.mark {
				seg.key = false
				seg.object = false // after the grace period: nobody has it in hand
			}
		}
		follows(t, Step{"compacts", -1})
	}
	if l.bounds.deletes {
		t := s
		t.deleted = true
		t.owner, t.ownerSes, t.ownerRev = -1, 0, 0
		follows(t, Step{"topic is deleted", -1})
	}
}

func logShow(s logState) string {
	var text strings.Builder
	fmt.Fprintf(&text, "log %v mark %d; owner %d (session %d, epoch %d, rev %d); sessions %v", s.log[:s.next], s.mark, s.owner, s.ownerSes, s.epoch, s.ownerRev, s.session)
	for b, br := range s.broker {
		fmt.Fprintf(&text, "; broker %d:", b)
		if !br.up {
			text.WriteString(" down")
		} else {
			fmt.Fprintf(&text, " session %d %s", br.session, [...]string{"no owner", "serving", "taking", "releasing"}[br.role])
			if br.role == serving {
				fmt.Fprintf(&text, " epoch %d next %d", br.epoch, br.next)
			}
		}
		for _, f := range br.disk {
			if f.record != 0 {
				fmt.Fprintf(&text, " [record %d epoch %d offset %d]", f.record, f.epoch, f.offset)
			}
		}
	}
	return text.String()
}

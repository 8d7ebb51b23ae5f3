package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a member and the coordinator said to each other, read off the connection:
// what a client makes of it, and when, is its own affair.

// beat is a heartbeat of the consumer protocol, or a request of the classic one
// that keeps a member alive, and its answer.
type beat struct {
	key            int16
	sent, answered time.Time // answered zero: not, or the connection ended before
	member         string
	epoch          int32   // or the generation
	owned          []int32 // nil: it did not say
	err            error
	newEpoch       int32
	assigned       []int32 // nil: the answer did not say
}

func (b *beat) String() string {
	s := fmt.Sprintf("%s %.8s epoch %d", b.sent.Format("04:05.000"), b.member, b.epoch)
	if b.owned != nil {
		s += fmt.Sprintf(" owns %v", b.owned)
	}
	switch {
	case b.answered.IsZero():
		return s + " => no answer"
	case b.err != nil:
		return s + fmt.Sprintf(" => %s %v", b.answered.Format("04:05.000"), b.err)
	}
	s += fmt.Sprintf(" => %s epoch %d", b.answered.Format("04:05.000"), b.newEpoch)
	if b.assigned != nil {
		s += fmt.Sprintf(" may read %v", b.assigned)
	}
	return s
}

const beatsKept = 60

// diary is what one member said and heard last, and what it holds by that.
type diary struct {
	mu    sync.Mutex
	beats []*beat
	heard time.Time // when the last request was sent that the group has answered well
	// The longest time that passed from such a request to the answer of the next.
	longest time.Duration
	left    bool
	// No later than when the group began to wait for it to join again; zero: it does
	// not wait.
	rejoin time.Time
	out    error // how the group last told it that it is no member, until it is one again
	// The partitions that the group has given it, and that it has not said since
	// to have given up.
	holds map[int32]*held
}

// held is one of them: told is no later than the group told the member to give it
// up; zero: it did not.
type held struct{ told time.Time }

func (d *diary) said(b *beat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.beats) == beatsKept {
		d.beats = append(d.beats[:0], d.beats[1:]...)
	}
	d.beats = append(d.beats, b)
	switch {
	case b.key != consumerHeartbeatKey:
	case b.epoch < 0:
		d.left = true
		clear(d.holds)
	case b.owned != nil:
		keeps := make(map[int32]*held, len(b.owned))
		for _, p := range b.owned {
			if h := d.holds[p]; h != nil {
				keeps[p] = h
			}
		}
		d.holds = keeps
	}
}

// answeredWith notes the answer, and returns the partitions that are certainly the
// member's from now on.
func (d *diary) answeredWith(b *beat, err error, epoch int32, assigned []int32) (got []int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	b.answered, b.err, b.newEpoch, b.assigned = now, err, epoch, assigned
	switch {
	case err == nil || err == kerr.RebalanceInProgress:
		// It is to join again, and the rest waits for it since it was told last that
		// all is well, at the earliest.
		switch {
		case err == nil && b.key == joinGroupKey:
			d.rejoin = time.Time{}
		case err != nil && d.rejoin.IsZero():
			d.rejoin = d.heard
		}
		if !d.heard.IsZero() {
			d.longest = max(d.longest, now.Sub(d.heard))
		}
		d.heard, d.out = b.sent, nil
	case err == kerr.UnknownMemberID || err == kerr.FencedMemberEpoch || err == kerr.FencedInstanceID:
		d.out = err
		clear(d.holds)
	}
	if err != nil || assigned == nil || d.left {
		return nil
	}
	may := make(map[int32]bool, len(assigned))
	for _, p := range assigned {
		may[p] = true
		if h := d.holds[p]; h != nil {
			h.told = time.Time{}
			continue
		}
		if d.holds == nil {
			d.holds = make(map[int32]*held)
		}
		d.holds[p] = new(held)
		got = append(got, p)
	}
	for p, h := range d.holds {
		if !may[p] && h.told.IsZero() {
			h.told = b.sent
		}
	}
	if now.Sub(b.sent) >= churnSession {
		return nil // so late that the group may have given the member up meanwhile
	}
	return got
}

// has reports whether the member holds the partition, and the group cannot have
// given the member up.
func (d *diary) has(p int32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.holds[p] != nil && d.over() == ""
}

// mayBeGivenUp says why the group may have given the member up, which it learns
// with its next heartbeat; "": it may not.
func (d *diary) mayBeGivenUp() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over()
}

func (d *diary) over() string {
	if silent := time.Since(d.heard); silent >= churnSession {
		return fmt.Sprintf("the group has heard nothing of it for %s", silent)
	}
	if d.out != nil {
		return d.out.Error()
	}
	if late := time.Since(d.rejoin); !d.rejoin.IsZero() && late >= churnRebalance {
		return fmt.Sprintf("the group may have waited for it for %s", late)
	}
	for p, h := range d.holds {
		if late := time.Since(h.told); !h.told.IsZero() && late >= churnRebalance {
			return fmt.Sprintf("it was told to give up partition %d %s ago", p, late)
		}
	}
	return ""
}

// forgetPause begins anew what pause tells: the longest time for which the group
// may have heard nothing of the member.
func (d *diary) forgetPause() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.longest = 0
}

func (d *diary) pause() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.longest
}

func (d *diary) gone() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = true
	clear(d.holds)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s strings.Builder
	for _, b := range d.beats {
		fmt.Fprintf(&s, "\n    %s", b)
	}
	return s.String()
}

const (
	joinGroupKey         = 11
	heartbeatKey         = 12
	syncGroupKey         = 14
	consumerHeartbeatKey = 68
)

// tapped is a connection of a member whose heartbeats are noted.
type tapped struct {
	net.Conn
	diary *diary
	given func([]int32) // what an answer has given anew

	mu      sync.Mutex
	asked   map[int32]question // by correlation id
	in      []byte             // of the answer that is being read
	missing int                // bytes of it
}

type question struct {
	version int16
	beat    *beat
}

// Write implements net.Conn: franz-go writes a request at a time.
func (c *tapped) Write(b []byte) (int, error) {
	if len(b) >= 14 && int(binary.BigEndian.Uint32(b)) == len(b)-4 {
		c.request(b[4:])
	}
	return c.Conn.Write(b)
}

func (c *tapped) request(b []byte) {
	key, version, correlation := int16(binary.BigEndian.Uint16(b)), int16(binary.BigEndian.Uint16(b[2:])), int32(binary.BigEndian.Uint32(b[4:]))
	if key != joinGroupKey && key != heartbeatKey && key != syncGroupKey && key != consumerHeartbeatKey {
		return
	}
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	body := b[10+max(0, int(int16(binary.BigEndian.Uint16(b[8:])))):]
	if req.IsFlexible() {
		body = body[1:] // franz-go sends no tagged fields
	}
	if err := req.ReadFrom(body); err != nil {
		panic(err)
	}
	said := &beat{key: key, sent: time.Now()}
	switch r := req.(type) {
	case *kmsg.ConsumerGroupHeartbeatRequest:
		said.member, said.epoch = r.MemberID, r.MemberEpoch
		if r.Topics != nil {
			said.owned = []int32{}
		}
		for _, t := range r.Topics {
			said.owned = append(said.owned, t.Partitions...)
		}
	case *kmsg.JoinGroupRequest:
		said.member = r.MemberID
	case *kmsg.SyncGroupRequest:
		said.member, said.epoch = r.MemberID, r.Generation
	case *kmsg.HeartbeatRequest:
		said.member, said.epoch = r.MemberID, r.Generation
	}
	c.mu.Lock()
	if c.asked == nil {
		c.asked = make(map[int32]question)
	}
	c.asked[correlation] = question{version, said}
	c.mu.Unlock()
	c.diary.said(said)
}

// Read implements net.Conn.
func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		rest = c.take(rest)
	}
	return n, err
}

// take reads what belongs to one answer, and returns what follows. Of answers
// that nobody notes it keeps no more than the head.
func (c *tapped) take(b []byte) []byte {
	const head = 8 // its length and whose it is
	if len(c.in) < head {
		n := min(len(b), head-len(c.in))
		c.in = append(c.in, b[:n]...)
		b = b[n:]
		if len(c.in) < head {
			return b
		}
		c.missing = int(binary.BigEndian.Uint32(c.in)) - 4
	}
	correlation := int32(binary.BigEndian.Uint32(c.in[4:]))
	c.mu.Lock()
	q, noted := c.asked[correlation]
	c.mu.Unlock()
	n := min(len(b), c.missing)
	if noted {
		c.in = append(c.in, b[:n]...)
	}
	if c.missing -= n; c.missing == 0 {
		if noted {
			c.mu.Lock()
			delete(c.asked, correlation)
			c.mu.Unlock()
			c.answer(q, c.in[head:])
		}
		c.in = c.in[:0]
	}
	return b[n:]
}

func (c *tapped) answer(q question, body []byte) {
	resp := kmsg.ResponseForKey(q.beat.key)
	resp.SetVersion(q.version)
	if resp.IsFlexible() {
		body = body[1:] // Chronik sends no tagged fields there
	}
	if err := resp.ReadFrom(body); err != nil {
		panic(err)
	}
	code, epoch := int16(0), int32(0)
	var assigned []int32
	switch r := resp.(type) {
	case *kmsg.ConsumerGroupHeartbeatResponse:
		code, epoch = r.ErrorCode, r.MemberEpoch
		if r.Assignment != nil {
			assigned = []int32{}
			for _, t := range r.Assignment.Topics {
				assigned = append(assigned, t.Partitions...)
			}
		}
	case *kmsg.JoinGroupResponse:
		code, epoch = r.ErrorCode, r.Generation
	case *kmsg.SyncGroupResponse:
		code = r.ErrorCode
	case *kmsg.HeartbeatResponse:
		code = r.ErrorCode
	}
	if got := c.diary.answeredWith(q.beat, kerr.ErrorForCode(code), epoch, assigned); len(got) > 0 {
		c.given(got)
	}
}

func TestTheLedgerTellsTwoOwnersFromAHandover(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	ask := func(d *diary, epoch int32, owned []int32) *beat {
		b := &beat{key: consumerHeartbeatKey, sent: time.Now(), epoch: epoch, owned: owned}
		d.said(b)
		return b
	}
	holder := func() *diary {
		d := new(diary)
		if got := d.answeredWith(ask(d, 0, []int32{}), nil, 1, []int32{7}); len(got) != 1 || !d.has(7) {
			t.Fatalf("got %v of partition 7", got)
		}
		return d
	}
	for _, test := range []struct {
		what string
		then func(d *diary)
		has  bool
	}{
		{"nothing", func(*diary) {}, true},
		{"its next heartbeat tells nothing new", func(d *diary) { d.answeredWith(ask(d, 1, nil), nil, 1, nil) }, true},
		{"its next heartbeat is lost", func(d *diary) { ask(d, 1, nil) }, true},
		{"it is told to give it up", func(d *diary) { d.answeredWith(ask(d, 1, nil), nil, 1, []int32{}) }, true},
		{"it says that it holds it", func(d *diary) { ask(d, 1, []int32{7}) }, true},
		{"it says that it does not", func(d *diary) { ask(d, 1, []int32{}) }, false},
		{"it leaves", func(d *diary) { ask(d, -1, nil) }, false},
		{"it dies", (*diary).gone, false},
		{"it is silent", func(d *diary) { d.heard = long }, false},
		{"it is told that it is no member", func(d *diary) { d.answeredWith(ask(d, 1, nil), kerr.UnknownMemberID, 0, nil) }, false},
		{"it does not give it up", func(d *diary) {
			b := ask(d, 1, nil)
			b.sent = time.Now().Add(-churnRebalance)
			d.answeredWith(b, nil, 1, []int32{})
			d.answeredWith(ask(d, 1, nil), nil, 1, nil)
		}, false},
	} {
		d := holder()
		if test.then(d); d.has(7) != test.has {
			t.Errorf("%s: it has the partition: %v%s", test.what, !test.has, d)
		}
		// Nor is what the client does until it knows held against the group.
		if test.what == "it is told that it is no member" && d.mayBeGivenUp() == "" {
			t.Error("who is no member may not be given up")
		}
	}
}

package consumer

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/topic"
)

// world is a group with its clients, which reconcile as real ones do: slowly, and
// over a network that loses requests and answers.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Time
	state   *State
	topics  []Topic
	view    *Topics
	clients []*client
	serial  int
	classic bool // some clients speak the classic protocol
	trace   []string
}

// client is one consumer. It speaks the consumer protocol, or the classic one.
type client struct {
	id, instance string
	names        []string
	regex        string
	assignor     string
	epoch        int32
	owned        Assignment // what it really reads
	wanted       Assignment // what it was told; it gets there by and by
	full         bool       // it is to say everything
	told         Assignment // what it has said that it owns
	classic      string     // "": consumer protocol; else "eager" or "cooperative"
	synced       bool
}

const (
	testSession   = 45 * time.Second
	testRebalance = 60 * time.Second
)

func testID(n int) topic.ID {
	return topic.ID{0: byte(n >> 8), 1: byte(n), 15: 1}
}

func newWorld(t *testing.T, seed uint64, topics int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(1000, 0)}
	w.state = NewState(Limits{SessionTimeout: testSession, MembersMax: 1000})
	for i := range topics {
		w.topics = append(w.topics, Topic{testID(i), fmt.Sprintf("t%d", i), int32(1 + w.rng.IntN(9))})
	}
	w.look()
	return w
}

func (w *world) look() {
	w.serial++
	w.view = NewTopics(int64(w.serial), w.topics)
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.trace[max(0, len(w.trace)-60):] {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

func (w *world) newClient() *client {
	w.serial++
	c := &client{id: fmt.Sprintf("m%d", w.serial), full: true, owned: Assignment{}}
	w.resubscribe(c)
	if w.rng.IntN(4) == 0 {
		c.instance = "i" + c.id
	}
	if w.classic && w.rng.IntN(2) == 0 {
		c.classic = []string{"eager", "cooperative"}[w.rng.IntN(2)]
		c.regex = ""
	}
	w.clients = append(w.clients, c)
	return c
}

func (w *world) resubscribe(c *client) {
	c.names, c.regex = []string{}, ""
	for _, t := range w.topics {
		if w.rng.IntN(3) > 0 {
			c.names = append(c.names, t.Name)
		}
	}
	if w.rng.IntN(5) == 0 && c.classic == "" {
		c.regex = fmt.Sprintf("t[%d-9]", w.rng.IntN(5))
	}
	c.full = true
}

// beat sends a heartbeat. lost: 1, the request; 2, the answer.
func (w *world) beat(c *client, lost int) {
	if lost == 1 {
		c.full = true
		return
	}
	r := Heartbeat{MemberID: c.id, Epoch: c.epoch, RebalanceTimeout: -1, ClientID: "c", Host: "/h"}
	if c.instance != "" {
		r.InstanceID = &c.instance
	}
	if c.full || c.epoch == 0 {
		r.Names, r.Regex, r.RebalanceTimeout = c.names, &c.regex, testRebalance
		r.Owned = c.owned
		if c.assignor != "" {
			r.Assignor = &c.assignor
		}
		if c.regex == "" && w.rng.IntN(2) == 0 && c.epoch == 0 {
			r.Regex = nil
		}
	} else if !c.told.Equal(c.owned) {
		r.Owned = c.owned
	}
	beat, err := w.state.Heartbeat(w.now, w.view, r)
	w.note("%v %s beat epoch %d owned %v full %v lost %d -> %+v %v", w.now.Unix(), c.id, r.Epoch, short(r.Owned), c.full, lost, short(beat.Assignment), err)
	if lost == 2 {
		c.full = true
		return
	}
	switch {
	case err == nil:
		c.full = false
		if r.Owned != nil {
			c.told = c.owned
		}
		c.epoch = beat.Epoch
		if beat.Epoch <= 0 {
			w.fatal("%s was given epoch %d", c.id, beat.Epoch)
		}
		if beat.Assignment != nil {
			c.wanted = beat.Assignment
		}
	case errors.Is(err, ErrFencedEpoch), errors.Is(err, ErrUnknownMember):
		c.reset()
	case errors.Is(err, ErrUnreleasedInstance):
		// It waits for the session of its former life to end.
	default:
		w.fatal("%s: %v", c.id, err)
	}
}

func (c *client) reset() {
	c.epoch, c.owned, c.wanted, c.told, c.full, c.synced = 0, Assignment{}, nil, nil, true, false
}

// work is what the client does between heartbeats: it gives up first, then takes.
func (w *world) work(c *client) {
	if c.wanted == nil || c.classic != "" {
		return
	}
	keep, drop := c.owned.split(c.wanted)
	if len(drop) > 0 {
		c.owned = keep
		return
	}
	c.owned = c.wanted
}

// rounds of a member of the classic protocol.
func (w *world) classicTurn(c *client) {
	if c.epoch == 0 || c.full {
		w.join(c)
		return
	}
	if !c.synced {
		w.sync(c)
		return
	}
	err := w.state.ClassicHeartbeat(w.now, c.id, c.instance, c.epoch)
	w.note("%v %s classic heartbeat %d -> %v", w.now.Unix(), c.id, c.epoch, err)
	switch {
	case err == nil:
	case errors.Is(err, ErrRebalancing):
		c.full = true
		if c.classic == "eager" {
			c.owned = Assignment{}
		}
	default:
		c.reset()
	}
}

func (w *world) join(c *client) {
	r := ClassicJoin{
		MemberID: c.id, NewMemberID: c.id, InstanceID: c.instance, ClientID: "c", Host: "/h", ProtocolType: ClassicType,
		SessionTimeout: testSession, RebalanceTimeout: testRebalance,
		Protocols: []Protocol{{Name: "p", Metadata: subscriptionBytes(w.view, c.names, c.owned)}},
	}
	if c.instance != "" && c.epoch == 0 {
		r.MemberID = "" // a static member that starts has no id yet
	}
	joined, err := w.state.Join(w.now, w.view, r)
	w.note("%v %s join owned %v -> %+v %v", w.now.Unix(), c.id, short(c.owned), joined, err)
	switch {
	case err == nil:
		c.full, c.epoch, c.synced = false, joined.Generation, false
		if joined.Generation <= 0 {
			w.fatal("%s was given generation %d", c.id, joined.Generation)
		}
	case errors.Is(err, ErrFencedInstance), errors.Is(err, ErrUnknownMember):
		c.reset()
	default:
		w.fatal("%s: %v", c.id, err)
	}
}

func (w *world) sync(c *client) {
	synced, err := w.state.Sync(w.now, w.view, ClassicSync{MemberID: c.id, InstanceID: c.instance, Generation: c.epoch})
	w.note("%v %s sync %d -> %v", w.now.Unix(), c.id, c.epoch, err)
	switch {
	case err == nil:
		a, err := parseAssignment(synced.Assignment, w.view)
		if err != nil {
			w.fatal("%s: %v", c.id, err)
		}
		_, drop := c.owned.split(a)
		c.owned, c.synced = a, true
		if len(drop) > 0 {
			c.full = true // the cooperative protocol: having given up, it joins again
		}
	case errors.Is(err, ErrRebalancing):
		c.full = true
		if c.classic == "eager" {
			c.owned = Assignment{}
		}
	default:
		c.reset()
	}
}

func subscriptionBytes(t *Topics, names []string, owned Assignment) []byte {
	msg := kmsg.NewConsumerMemberMetadata()
	msg.Version, msg.Topics = 1, names
	for _, id := range owned.Topics() {
		one, ok := t.Identified(id)
		if !ok {
			continue
		}
		msg.OwnedPartitions = append(msg.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: one.Name, Partitions: owned[id]})
	}
	return msg.AppendTo(nil)
}

func short(a Assignment) string {
	if a == nil {
		return "-"
	}
	var b bytes.Buffer
	for p := range a.All() {
		fmt.Fprintf(&b, " %d/%d", p.Topic[1], p.Index)
	}
	return b.String()
}

// turn lets one client do something.
func (w *world) turn(c *client, lossy bool) {
	w.work(c)
	if c.classic != "" {
		w.classicTurn(c)
		return
	}
	lost := 0
	if lossy && w.rng.IntN(4) == 0 {
		lost = 1 + w.rng.IntN(2)
	}
	w.beat(c, lost)
}

// pass lets time go by, and forgets what clients read that the group has given up:
// they have been silent for longer than they may.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	for _, gone := range w.state.Expire(w.now) {
		w.note("%v %s is given up: %s", w.now.Unix(), gone.Member.ID, gone.Why)
		for _, c := range w.clients {
			if c.id == gone.Member.ID {
				c.owned, c.wanted = Assignment{}, nil
			}
		}
	}
	if next := w.state.Next(); !next.IsZero() && !next.After(w.now) {
		w.fatal("something is due at %v and was not done at %v", next, w.now)
	}
}

// reload is a restart of the coordinator.
func (w *world) reload() {
	head, rows := w.state.Encode()
	before := w.state.Describe()
	again, err := Decode(w.state.limits, w.now, head, rows)
	if err != nil {
		w.fatal("decode: %v", err)
	}
	after := again.Describe()
	if fmt.Sprint(before) != fmt.Sprint(after) {
		w.fatal("restored\n%+v\nfrom\n%+v", after, before)
	}
	w.state = again
	w.note("reload")
}

// check is what holds always.
func (w *world) check() {
	holders := make(map[topic.Partition]string)
	for _, c := range w.clients {
		for p := range c.owned.All() {
			if other, taken := holders[p]; taken {
				w.fatal("%v is read by %s and by %s", p, other, c.id)
			}
			holders[p] = c.id
		}
	}
	w.checkDerived()
}

// checkDerived computes anew what State keeps up to date.
func (w *world) checkDerived() {
	s := w.state
	classic, settled, held := 0, 0, 0
	for _, m := range s.members {
		if m.Classic != nil {
			classic++
		}
		if m.reached(s.assignmentEpoch) {
			settled++
		}
		for _, a := range [...]Assignment{m.Assigned, m.Revoking} {
			for p := range a.All() {
				held++
				if s.holders[p].by != m {
					w.fatal("%v of %s is noted for %v", p, m.ID, s.holders[p])
				}
			}
		}
		if s.byID[m.ID] != m || m.InstanceID != "" && s.byInstance[m.InstanceID] != m || s.deadlines[m.place] != m {
			w.fatal("%s is not found", m.ID)
		}
		if m.Epoch > s.assignmentEpoch {
			w.fatal("%s has epoch %d of %d", m.ID, m.Epoch, s.assignmentEpoch)
		}
	}
	if classic != s.classic || settled != s.settled || held != len(s.holders) || len(s.byID) != len(s.members) || len(s.deadlines) != len(s.members) {
		w.fatal("counted %d %d %d, noted %d %d %d", classic, settled, held, s.classic, s.settled, len(s.holders))
	}
}

// event does something random.
func (w *world) event() {
	switch n := w.rng.IntN(100); {
	case n < 8 && len(w.clients) < 12:
		w.newClient()
	case n < 11 && len(w.clients) > 0: // leaves
		i := w.rng.IntN(len(w.clients))
		w.depart(w.clients[i])
		w.clients = slices.Delete(w.clients, i, i+1)
	case n < 13 && len(w.clients) > 0: // dies; its place is kept for a while
		i := w.rng.IntN(len(w.clients))
		w.note("%s dies", w.clients[i].id)
		w.clients = slices.Delete(w.clients, i, i+1)
	case n < 16 && len(w.clients) > 0: // restarts
		w.restart(w.clients[w.rng.IntN(len(w.clients))])
	case n < 19:
		i := w.rng.IntN(len(w.topics))
		w.topics[i].Partitions += int32(w.rng.IntN(3))
		w.look()
	case n < 20: // deleted and made again
		i := w.rng.IntN(len(w.topics))
		w.serial++
		w.topics[i].ID, w.topics[i].Partitions = testID(100+w.serial), int32(1+w.rng.IntN(5))
		w.look()
		for _, c := range w.clients { // nobody reads what is gone
			c.owned = w.existing(c.owned)
		}
	case n < 22 && len(w.clients) > 0:
		w.resubscribe(w.clients[w.rng.IntN(len(w.clients))])
	case n < 23 && len(w.clients) > 0:
		w.clients[w.rng.IntN(len(w.clients))].assignor = Assignors()[w.rng.IntN(2)]
	case n < 25:
		w.reload()
	case n < 27:
		w.pass(time.Duration(w.rng.IntN(50)) * time.Second)
	default:
		if len(w.clients) > 0 {
			w.turn(w.clients[w.rng.IntN(len(w.clients))], true)
		}
	}
	w.pass(time.Duration(w.rng.IntN(1000)) * time.Millisecond)
	w.check()
}

func (w *world) existing(a Assignment) Assignment {
	a = maps.Clone(a)
	maps.DeleteFunc(a, func(id topic.ID, _ []int32) bool { _, ok := w.view.Identified(id); return !ok })
	return a
}

func (w *world) depart(c *client) {
	w.note("%s leaves", c.id)
	if c.classic != "" {
		_ = w.state.ClassicLeave(c.id, c.instance)
		return
	}
	r := Heartbeat{MemberID: c.id, Epoch: EpochLeave, RebalanceTimeout: -1}
	if c.instance != "" {
		r.InstanceID = &c.instance
		if w.rng.IntN(2) == 0 {
			r.Epoch = EpochLeaveStatic
		}
	}
	_, _ = w.state.Heartbeat(w.now, w.view, r)
}

// restart is a new life of a client; a static one may speak another protocol now.
func (w *world) restart(c *client) {
	w.note("%s restarts", c.id)
	if c.instance != "" && c.classic == "" && c.epoch > 0 {
		_, _ = w.state.Heartbeat(w.now, w.view, Heartbeat{MemberID: c.id, InstanceID: &c.instance, Epoch: EpochLeaveStatic, RebalanceTimeout: -1})
	}
	c.reset()
	w.serial++
	c.id = fmt.Sprintf("m%d", w.serial)
	if w.classic && c.instance != "" {
		c.classic = []string{"", "eager", "cooperative"}[w.rng.IntN(3)]
		if c.classic != "" {
			c.regex = ""
		}
	}
}

// settle lets everybody heartbeat until nothing changes any more, and returns
// after how many rounds that was.
func (w *world) settle() int {
	for round := 1; round <= 60; round++ {
		for _, c := range w.clients {
			w.turn(c, false)
			w.check()
		}
		w.pass(3 * time.Second)
		if w.settled() {
			return round
		}
	}
	w.fatal("not settled: %+v", w.state.Describe())
	return 0
}

// settled: the members are the clients, and each reads its target.
func (w *world) settled() bool {
	if w.state.Len() != len(w.clients) || len(w.clients) > 0 && w.state.Phase() != Stable {
		return false
	}
	for _, c := range w.clients {
		m := w.state.byID[c.id]
		if m == nil || !c.owned.Equal(w.state.target[c.id]) || !c.owned.Equal(m.Assigned) || c.epoch != m.Epoch || c.full {
			return false
		}
	}
	return true
}

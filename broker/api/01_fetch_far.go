package api

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/forward"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// A Fetch request whose partitions have several owners is one poll at each: the
// first that has something to say ends the wait. What the others were asked stays
// asked, and their answers stay on the way, until the client's next request, which
// mostly asks them for the same. So a poll is sent again only when it has been
// answered, nobody is asked in a loop, and what waits here is not in memory.
//
// Each owner keeps to the client's smallest size and longest wait by itself, as
// it does for a client that is connected to it.

// farFetchVersion is the version in which others are asked: topics by their ids,
// diverging epochs. They remember no session.
const farFetchVersion = 13

// farFirstWait is how long an answer that must name all partitions waits for a
// broker that has not said anything of some yet.
const farFirstWait = time.Second

// farPoll is what a connection has asked one broker, and what that said last.
type farPoll struct {
	call      *forward.Call // nil: nothing is asked
	waits     bool          // it was asked to wait for something to come
	late      bool          // it was not, and has been waited for in vain
	asked     []farTarget
	committed bool
	known     map[topic.Partition]core.Bounds
}

// farTarget is what another broker is asked of a partition.
type farTarget struct {
	partition     topic.Partition
	offset        int64
	current, last int32
	bytesMax      int32
}

// farFetch is the part of a request that another broker has.
type farFetch struct {
	to       metastore.Broker
	places   []int // of the work's parts
	poll     *farPoll
	answered bool // for this request
	again    bool // the connection has ended, and it was asked once more
	failed   bool // it cannot be asked
}

// isFar notes a part for the broker that owns it, if that is another one.
func (w *fetchWork) isFar(place int) bool {
	to, ok := w.h.otherOwner(w.parts[place].partition)
	if !ok {
		return false
	}
	i := slices.IndexFunc(w.far, func(f farFetch) bool { return f.to.Session == to.Session })
	if i < 0 {
		i, w.far = len(w.far), append(w.far, farFetch{to: to})
	}
	w.far[i].places = append(w.far[i].places, place)
	return true
}

// farRead is one reading of everything that a request asks for.
type farRead struct {
	w       *fetchWork
	client  *far
	options core.FetchOptions
	begun   time.Time
	full    bool // the answer has to name all partitions
	failed  bool
	here    bool // this broker's partitions were read
	bytes   int  // of records of others
	local   int  // of records of this broker
	results []farResult
}

// farResult is what another broker said of a part.
type farResult struct {
	place   int
	fetched core.Fetched
	diverge *diverging
}

// readFar reads from this broker and others, and waits if there is nothing to
// say yet.
func (w *fetchWork) readFar(ctx context.Context, failed bool, o core.FetchOptions) {
	r := &farRead{w: w, client: w.h.far(w.r), options: o, begun: time.Now(), full: w.req.SessionEpoch <= sessionNew, failed: failed}
	w.fetched = w.fetched[:0]
	if r.client != nil {
		r.prepare()
		r.run(ctx)
	}
	if !r.here { // it was ended early
		r.readHere(ctx, 0)
	}
	r.finish()
}

// prepare finds what was asked of the others already, and forgets what was asked
// and is not wanted any more.
func (r *farRead) prepare() {
	w := r.w
	r.forget()
	for i := range w.far {
		f := &w.far[i]
		if f.poll = r.client.polls[f.to.Session]; f.poll == nil {
			f.poll = &farPoll{}
			r.client.polls[f.to.Session] = f.poll
		}
		targets := make([]farTarget, len(f.places))
		for j, place := range f.places {
			p := &w.parts[place]
			targets[j] = farTarget{p.partition, p.offset, p.current, p.last, p.bytesMax}
		}
		same := slices.Equal(targets, f.poll.asked) && f.poll.committed == r.options.Committed
		if f.poll.call != nil && !same {
			// What is asked next ends its wait.
			f.poll.call.Drop()
			f.poll.call = nil
		}
		f.poll.asked, f.poll.committed = targets, r.options.Committed
		known := make(map[topic.Partition]core.Bounds, len(targets))
		for _, t := range targets {
			if b, ok := f.poll.known[t.partition]; ok {
				known[t.partition] = b
			}
		}
		f.poll.known = known
	}
}

// forget drops what was asked of brokers that are gone, once it is worth it.
func (r *farRead) forget() {
	live := r.w.h.Cluster.Brokers()
	if len(r.client.polls) <= 2*len(live) {
		return
	}
	for session := range r.client.polls {
		if !slices.ContainsFunc(live, func(b metastore.Broker) bool { return b.Session == session }) {
			delete(r.client.polls, session)
		}
	}
}

// pending tells whether an answer is under way that does not wait for anything.
func (p *farPoll) pending() bool { return p.call != nil && !p.waits && !p.late }

// heard tells whether a broker has said something of all that it is asked.
func (f *farFetch) heard() bool { return f.failed || len(f.poll.known) == len(f.poll.asked) }

func (r *farRead) run(ctx context.Context) {
	for {
		r.take(ctx)
		r.ask(ctx)
		wait := r.wait()
		if wait > 0 && ctx.Err() != nil {
			return
		}
		if r.ready() {
			if wait <= 0 {
				return
			}
			r.sleep(ctx, wait)
			continue
		}
		if len(r.w.positions) > 0 {
			r.readHere(ctx, wait)
		} else {
			r.sleep(ctx, wait)
		}
	}
}

// ready tells whether there is something to say.
func (r *farRead) ready() bool {
	return r.failed || r.bytes+r.local >= r.options.BytesMin || time.Since(r.begun) >= r.options.WaitMax
}

// wait is how long to wait for more: also for answers that come at once.
func (r *farRead) wait() time.Duration {
	wait := r.options.WaitMax
	if r.ready() {
		wait = 0
	}
	if slices.ContainsFunc(r.w.far, func(f farFetch) bool { return !f.answered && f.poll.pending() }) {
		wait = max(wait, farFirstWait)
	}
	return max(0, wait-time.Since(r.begun))
}

// sleep waits for an answer of another broker.
func (r *farRead) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.client.Wake():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// readHere reads this broker's partitions, and waits until they, or other
// brokers, have something.
func (r *farRead) readHere(ctx context.Context, wait time.Duration) {
	w, o := r.w, r.options
	r.here = true
	if len(w.positions) == 0 {
		return
	}
	if o.WaitMax = wait; wait > 0 {
		o.Enough = r.client.Wake()
	}
	o.BytesMax = max(0, o.BytesMax-r.bytes)
	o.BytesMin = max(0, o.BytesMin-r.bytes)
	o.Room = besides{w.r.Conn.AnswerRoom(), r.bytes}
	w.fetched = w.h.Reader.Fetch(ctx, w.fetched, w.positions, o)
	r.local = 0
	for i := range w.fetched {
		r.failed = r.failed || w.fetched[i].Err != nil
		for _, piece := range w.fetched[i].Records {
			r.local += len(piece)
		}
	}
}

// besides is room for an answer of which some bytes are there already.
type besides struct {
	core.AnswerRoom
	bytes int
}

func (b besides) Take(wanted int) int { return max(0, b.AnswerRoom.Take(wanted+b.bytes)-b.bytes) }
func (b besides) Keep(used int)       { b.AnswerRoom.Keep(used + b.bytes) }
func (b besides) First(bytes int) bool {
	if b.bytes > 0 { // then it is not the first
		return b.AnswerRoom.Take(bytes+b.bytes) == bytes+b.bytes
	}
	return b.AnswerRoom.First(bytes)
}

// ask sends what is not asked yet.
func (r *farRead) ask(ctx context.Context) {
	for i := range r.w.far {
		f := &r.w.far[i]
		if f.poll.call != nil || f.answered || f.failed {
			continue
		}
		wait := r.options.WaitMax - time.Since(r.begun)
		if !f.heard() || r.failed {
			wait = 0 // at first all are to be known
		}
		wait = max(0, wait)
		call, err := r.client.Poll(ctx, f.to, forward.Request{
			Key: fetchKey, Version: farFetchVersion, ClientID: r.w.r.ClientID, Flexible: true, Body: net.Buffers{r.request(f.poll, wait)},
		})
		if err != nil {
			f.failed, r.failed = true, true
			continue
		}
		f.poll.call, f.poll.waits, f.poll.late = call, wait > 0, false
	}
}

// request is a Fetch request for what p asks.
func (r *farRead) request(p *farPoll, wait time.Duration) []byte {
	sources := len(r.w.far)
	if len(r.w.positions) > 0 {
		sources++
	}
	e := encoder{flexible: true}
	e.int32(-1) // no replica
	e.int32(int32(wait.Milliseconds()))
	e.int32(int32(r.options.BytesMin))
	e.int32(int32(max(1, min(int(max(0, r.w.req.MaxBytes)), r.w.h.cfg.FetchBytesMax)/sources)))
	isolation := byte(0)
	if p.committed {
		isolation = 1
	}
	e.raw([]byte{isolation})
	e.int32(0)
	e.int32(sessionNone)
	topics := 0
	p.eachTopic(func([]farTarget) { topics++ })
	e.length(topics)
	p.eachTopic(func(of []farTarget) {
		e.raw(of[0].partition.Topic[:])
		e.length(len(of))
		for _, t := range of {
			e.int32(t.partition.Index)
			e.int32(t.current)
			e.int64(t.offset)
			e.int32(t.last)
			e.int64(-1) // a follower's log start
			e.int32(t.bytesMax)
			e.noTags()
		}
		e.noTags()
	})
	e.length(0) // forgotten
	e.string("")
	e.noTags()
	return e.b
}

// eachTopic calls do with the targets of each topic that follow each other.
func (p *farPoll) eachTopic(do func(of []farTarget)) {
	for rest := p.asked; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].partition.Topic == rest[0].partition.Topic {
			n++
		}
		do(rest[:n])
		rest = rest[n:]
	}
}

// take takes the answers that have come, as far as there is room for them.
func (r *farRead) take(ctx context.Context) {
	for i := range r.w.far {
		f := &r.w.far[i]
		if f.poll.call == nil || f.answered {
			continue
		}
		select {
		case <-f.poll.call.Done():
		default:
			continue
		}
		size, err := f.poll.call.Size()
		if err == nil && !r.room(ctx, size) {
			f.answered = true // with the next request
			continue
		}
		var body []byte
		if err == nil {
			body, err = f.poll.call.Take()
		}
		f.poll.call = nil
		if err == nil {
			err = r.parse(f, body)
		}
		if err != nil {
			// It was asked before, and the connection has ended since; or it is gone,
			// which asking again will show.
			if f.failed = !errors.Is(err, forward.ErrLost) || f.again; !f.failed {
				f.again = true
				continue
			}
			r.failed = true
		}
	}
}

// room makes room for an answer, or says that it has to wait.
func (r *farRead) room(ctx context.Context, size int) bool {
	have := r.bytes + r.local
	if have > 0 && have+size > r.options.BytesMax {
		return false
	}
	room := r.w.r.Conn.AnswerRoom()
	if have > 0 {
		if room.Take(have+size) == have+size {
			return true
		}
		room.Take(have)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, max(farFirstWait, r.options.WaitMax-time.Since(r.begun)))
	defer cancel()
	for !room.First(size) {
		if r.w.r.Conn.AwaitAnswerRoom(ctx) != nil {
			return false
		}
	}
	return true
}

var errFarFetch = errors.New("another broker answers a fetch request with something else")

// parse reads an answer. Its records stay where they are.
func (r *farRead) parse(f *farFetch, body []byte) error {
	d := decoder{b: body, flexible: true}
	d.int32() // throttle: the client's quota is held to here
	code := d.int16()
	d.int32() // session
	empty, place := true, 0
	for topics := d.count(); topics > 0 && !d.failed; topics-- {
		id := topic.ID(d.uuid())
		for parts := d.count(); parts > 0 && !d.failed; parts-- {
			if place == len(f.places) {
				return errFarFetch
			}
			result := farResult{place: f.places[place]}
			index := r.readPart(&d, &result)
			if f.poll.asked[place].partition != (topic.Partition{Topic: id, Index: index}) {
				return errFarFetch
			}
			if result.fetched.Err == nil && result.diverge == nil {
				f.poll.known[f.poll.asked[place].partition] = result.fetched.Bounds
			} else {
				r.failed = true
			}
			if len(result.fetched.Records) > 0 || result.fetched.Err != nil || result.diverge != nil {
				empty = false
			}
			r.results = append(r.results, result)
			place++
		}
		d.tags()
	}
	d.tags()
	if d.failed || code != 0 || place != len(f.places) {
		return errFarFetch
	}
	// One that has nothing is asked again, to wait, if there is time.
	f.answered = !empty || f.poll.waits || r.failed || time.Since(r.begun) >= r.options.WaitMax
	return nil
}

func (r *farRead) readPart(d *decoder, result *farResult) (index int32) {
	f := &result.fetched
	index = d.int32()
	code := d.int16()
	f.HighWatermark, f.LastStable, f.LogStart = d.int64(), d.int64(), d.int64()
	for n := d.length(); n > 0 && !d.failed; n-- {
		f.Aborted = append(f.Aborted, core.AbortedTxn{ProducerID: d.int64(), First: d.int64()})
		d.tags()
	}
	d.int32() // another replica: not for us
	if records := d.bytes(); len(records) > 0 {
		f.Records = [][]byte{records}
		r.bytes += len(records)
	}
	for n := d.uvarint(); n > 0 && !d.failed; n-- {
		if number, field := d.tag(); number == 0 && len(field) >= 12 {
			result.diverge = &diverging{metastore.Epoch(int32(binary.BigEndian.Uint32(field))), int64(binary.BigEndian.Uint64(field[4:]))}
		}
	}
	switch {
	case code == kerr.NotLeaderForPartition.Code:
		f.Err = core.ErrNotOwner
	case code == kerr.OffsetOutOfRange.Code:
		f.Err = core.ErrOffsetOutOfRange
	case code == kerr.UnknownTopicID.Code && r.w.r.Version < 13:
		f.Err = kerr.UnknownTopicOrPartition
	default:
		f.Err = errFar(code, nil)
	}
	return index
}

// finish gives the parts what was said of them.
func (r *farRead) finish() {
	w := r.w
	for _, result := range r.results {
		p := &w.parts[result.place]
		if p.diverging = result.diverge; p.diverging != nil {
			p.position = -1
			continue
		}
		if p.position < 0 { // it may have said first that there is nothing
			p.position = len(w.fetched)
			w.fetched = append(w.fetched, core.Fetched{})
		}
		w.fetched[p.position] = result.fetched
	}
	for i := range w.far {
		f := &w.far[i]
		if f.poll != nil && !f.answered && f.poll.pending() {
			f.poll.late = true
		}
		for _, place := range f.places {
			p := &w.parts[place]
			if p.position >= 0 || p.diverging != nil {
				continue
			}
			known, ok := core.Bounds{}, false
			if f.poll != nil {
				known, ok = f.poll.known[p.partition]
			}
			switch {
			case f.failed || f.poll == nil || !ok && r.full:
				p.err = core.ErrNotOwner
			case ok:
				p.position = len(w.fetched)
				w.fetched = append(w.fetched, core.Fetched{Bounds: known})
			default:
				p.unheard = true
			}
		}
	}
}

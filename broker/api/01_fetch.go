package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/quota"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Fetch
//
//   - 4 isolation levels; 5 log start; 7 sessions (KIP-227); 9 leader epochs;
//     11 racks (KIP-392); 12 flexible, last fetched epoch; 13 topic ids; 16 leader hints
//     (KIP-951); 14, 15, 17 and 18 concern replicas, which there are none of.
//
// The wait is over all partitions at once, and any error ends it. Records go to
// the socket from where the reader has them, without being copied.
//
// A client that names its rack is sent to a broker there for records that have
// left the memory of their owner; that one serves what is committed and sends it
// back at the end.
//
// A client that wants a session gets one while there is room (sessions.go);
// without one it names all partitions each time.
//
// A client over its quota gets an empty answer, at once, and one within it no
// more than its quota leaves, but for a first batch that is larger.
func fetchRoute() *route {
	return &route{key: fetchKey, name: "Fetch", min: 4, max: 18, start: startFetch}
}

const fetchKey = 1

// zstdFetch is the first version whose clients are known to read zstd. Those
// before it are refused where a topic's compression.type is zstd, as Kafka does.
const zstdFetch = 10

// fetchWork is one Fetch request.
type fetchWork struct {
	h         *Handler
	r         *wire.Request
	req       kmsg.FetchRequest
	parts     []fetchedPart   // in the order in which they are read
	positions []core.Position // of those parts that can be read
	fetched   []core.Fetched  // of those positions
	hints     leaderHints
	brokers   []metastore.Broker // the live ones, for clients that name a rack
	nearby    bool               // this broker is in the client's rack
	begun     time.Time
	bytesMax  int           // that a quota leaves
	throttle  time.Duration // by a quota: nothing is read
	far       []farFetch    // what other brokers are asked
	newer     chan struct{} // of an internal connection: closed when it has another request
}

type fetchedPart struct {
	fetchTarget
	partition topic.Partition
	position  int // in positions; −1: none
	err       error
	diverging *diverging
	cached    *sessionPart // of the session that the request goes on with
	unheard   bool         // another broker has it, and has not said anything of it yet
}

// diverging tells a client that its last epoch ended earlier here.
type diverging struct {
	epoch metastore.Epoch
	end   int64
}

func startFetch(_ context.Context, h *Handler, r *wire.Request) (wire.Work, error) {
	w, ok := h.fetches.Get().(*fetchWork)
	if !ok {
		w = &fetchWork{h: h}
	}
	w.r = r
	if r.Conn.Internal() {
		w.newer = make(chan struct{})
		if kept, ok := r.Conn.Keep(func() io.Closer { return new(polling) }).(*polling); ok {
			kept.turn(w.newer)
		}
	}
	return w, nil
}

// polling is the last Fetch request of an internal connection. A broker that
// sends another one, for a client that wants something else now, wants the
// answer to the one before at once.
type polling struct{ newer chan struct{} } // of the goroutine that starts requests

// Close implements io.Closer: there is nothing to close.
func (*polling) Close() error { return nil }

func (p *polling) turn(newer chan struct{}) {
	if p.newer != nil {
		close(p.newer)
	}
	p.newer = newer
}

// Finish implements wire.Work.
func (w *fetchWork) Finish(ctx context.Context, out *wire.Response) error {
	defer w.recycle()
	w.begun = time.Now()
	w.req.Version = w.r.Version
	// What older versions do not have would stay from the request before.
	w.req.SessionID, w.req.ForgottenTopics, w.req.Rack = 0, w.req.ForgottenTopics[:0], ""
	if err := w.h.parse(w.r, w.req.ReadFrom); err != nil {
		return err
	}
	w.r.Release() // of the request only strings and numbers are used, which are copies
	out.Begin(w.r.Version >= 12)
	worked := w.h.worked(w.r, w.begun)
	w.bytesMax, w.throttle = w.h.fetchLeft(w.r)
	w.answer(out)
	if w.throttle == 0 { // what is more than was left is a debt
		w.throttle = w.h.use(quota.Fetch, w.r, float64(out.Size()))
	}
	if millis := w.h.mute(ctx, w.r, max(worked, w.throttle), w.r.Version >= 8); millis > 0 {
		patchThrottle(out, w.r.Version >= 12, millis)
	}
	return nil
}

// answer reads and encodes what was asked for.
func (w *fetchWork) answer(out *wire.Response) {
	if w.req.SessionEpoch > sessionNew {
		w.goOn(out)
		return
	}
	w.h.sessions.end(w.req.SessionID)
	if w.throttle > 0 {
		w.encode(out, 0)
		return
	}
	for i := range w.req.Topics {
		t := &w.req.Topics[i]
		for j := range t.Partitions {
			w.parts = append(w.parts, fetchedPart{fetchTarget: targetOf(t, &t.Partitions[j])})
		}
	}
	w.read()
	var session int32
	if w.req.SessionEpoch == sessionNew {
		session = w.begin()
	}
	w.encode(out, session)
}

// begin makes a session of what was asked for and is answered. It returns its
// id, 0 when there is no room.
func (w *fetchWork) begin() int32 {
	s := newFetchSession(len(w.parts), w.r.Version >= 13)
	for i := range w.parts {
		p := &w.parts[i]
		p.cached = s.set(p.fetchTarget)
	}
	for i := range w.parts {
		w.news(s, &w.parts[i])
	}
	if !w.h.sessions.add(s, time.Now()) {
		return 0
	}
	return s.id
}

// goOn answers the next request of a session: with the partitions that have news.
func (w *fetchWork) goOn(out *wire.Response) {
	s := w.h.sessions.find(w.req.SessionID, time.Now())
	if s == nil {
		w.refuse(out, kerr.FetchSessionIDNotFound)
		return
	}
	epoch, size, err := s.advance(&w.req)
	if err != nil {
		w.refuse(out, err)
		return
	}
	id := s.id
	if !w.h.sessions.resize(s, size, time.Now()) {
		if id = 0; size > 0 { // no room for what was added: the client begins anew
			w.refuse(out, kerr.FetchSessionIDNotFound)
			return
		}
	}
	if w.throttle > 0 {
		w.encode(out, id)
		return
	}
	s.mu.Lock()
	for p := s.ring.next; p != &s.ring; p = p.next {
		w.parts = append(w.parts, fetchedPart{fetchTarget: p.fetchTarget, cached: p})
	}
	s.mu.Unlock()
	w.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		// Another connection went on with the session while this one waited.
		w.refuse(out, kerr.InvalidFetchSessionEpoch)
		return
	}
	kept := w.parts[:0]
	for i := range w.parts {
		if w.news(s, &w.parts[i]) {
			kept = append(kept, w.parts[i])
		}
	}
	w.parts = kept
	w.encode(out, id)
}

// news tells whether the client of a session has to hear of a partition, and
// remembers that it did. One with an error is told again and again, and once
// more when the error is gone. Holds s.mu.
func (w *fetchWork) news(s *fetchSession, p *fetchedPart) bool {
	if p.position >= 0 {
		p.err = w.fetched[p.position].Err
	}
	if p.err != nil || p.diverging != nil {
		p.cached.high = -1
		return true
	}
	if p.unheard {
		return false
	}
	f := &w.fetched[p.position]
	if f.Elsewhere {
		return true
	}
	told := f.HighWatermark == p.cached.high && f.LogStart == p.cached.start
	p.cached.high, p.cached.start = f.HighWatermark, f.LogStart
	if len(f.Records) > 0 {
		s.rotate(p.cached)
		return true
	}
	return !told
}

// read reads all parts, and waits if there is nothing to say yet.
func (w *fetchWork) read() {
	ctx := w.r.Conn.Patience()
	w.locate()
	w.readOnce(ctx)
	if unowned := w.unowned(); len(unowned) > 0 && w.h.awaitOwner(ctx, w.r, w.begun, unowned...) {
		w.positions, w.far = w.positions[:0], w.far[:0]
		w.readOnce(ctx)
	}
}

// readOnce reads all parts from where they are now.
func (w *fetchWork) readOnce(ctx context.Context) {
	failed := w.plan(ctx)
	bytesMax := min(int(max(0, w.req.MaxBytes)), w.h.cfg.FetchBytesMax, w.bytesMax)
	options := core.FetchOptions{
		BytesMin:  min(int(max(0, w.req.MinBytes)), max(1, bytesMax)), // what cannot come is not waited for
		BytesMax:  bytesMax,
		Room:      w.r.Conn.AnswerRoom(),
		WaitMax:   time.Duration(max(0, w.req.MaxWaitMillis)) * time.Millisecond,
		Committed: w.req.IsolationLevel == 1,
		Enough:    w.newer,
	}
	if w.nearby {
		options.AsReplica = true
	} else if len(w.brokers) > 1 {
		options.Replica = w.replica
	}
	if failed {
		options.WaitMax = 0 // the client is to know at once
	}
	if len(w.far) > 0 {
		w.readFar(ctx, failed, options)
	} else if len(w.positions) > 0 {
		w.fetched = w.h.Reader.Fetch(ctx, w.fetched, w.positions, options)
	} else if !failed {
		pause(ctx, options.WaitMax) // nothing was asked for, and it may come again
	}
}

// unowned are partitions that this broker was to read and does not own, if there
// is nothing else to say.
func (w *fetchWork) unowned() (unowned []topic.Partition) {
	for i := range w.parts {
		p := &w.parts[i]
		if p.err != nil || p.diverging != nil {
			return nil
		}
		if p.position < 0 {
			continue
		}
		f := &w.fetched[p.position]
		switch {
		case p.position < len(w.positions) && errors.Is(f.Err, core.ErrNotOwner):
			unowned = append(unowned, p.partition)
		case f.Err != nil || len(f.Records) > 0:
			return nil
		}
	}
	return unowned
}

// locate finds out where the client is, if it says so.
func (w *fetchWork) locate() {
	w.brokers, w.nearby = nil, false
	if w.r.Version < 11 || w.req.Rack == "" || w.h.shared(w.r) {
		return // or it sees one node only
	}
	w.brokers = w.h.Cluster.Brokers()
	self := slices.IndexFunc(w.brokers, func(b metastore.Broker) bool { return b.ID == w.h.Cluster.Self() })
	w.nearby = self >= 0 && w.brokers[self].Rack == w.req.Rack
}

// replica is a broker in the client's rack that Metadata shows as a replica of
// the partition: the Java client goes to no other.
func (w *fetchWork) replica(p topic.Partition) (metastore.BrokerID, bool) {
	t, ok := w.h.Topics.TopicByID(p.Topic)
	if !ok {
		return 0, false
	}
	self := w.h.Cluster.Self()
	for _, id := range replicas(t, self, w.brokers) {
		b := slices.IndexFunc(w.brokers, func(b metastore.Broker) bool { return int32(b.ID) == id })
		if id != int32(self) && w.brokers[b].Rack == w.req.Rack {
			return w.brokers[b].ID, true
		}
	}
	return 0, false
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// plan finds the partitions, and reports whether the answer has an error already.
func (w *fetchWork) plan(ctx context.Context) (failed bool) {
	var t *metastore.Topic
	var unknown error
	for i := range w.parts {
		p := &w.parts[i]
		p.position, p.unheard = -1, false
		if i == 0 || !sameTopic(p, &w.parts[i-1]) {
			if w.r.Version >= 13 {
				t, unknown = w.h.lookupID(p.id)
			} else {
				t, unknown = w.h.lookup(p.topic)
			}
			if unknown == nil && w.r.Version < zstdFetch && w.h.limits.of(t, w.h.defaults()).Codec == batch.Zstd {
				unknown = kerr.UnsupportedCompressionType
			}
		}
		if p.err = unknown; unknown == nil {
			w.planPart(ctx, t, i)
		}
		failed = failed || p.err != nil || p.diverging != nil
	}
	return failed
}

func sameTopic(a, b *fetchedPart) bool { return a.id == b.id && a.topic == b.topic }

func (w *fetchWork) planPart(ctx context.Context, t *metastore.Topic, place int) {
	part := &w.parts[place]
	if part.partition, part.err = partition(t, part.index); part.err != nil {
		return
	}
	if w.h.shared(w.r) && w.isFar(place) {
		return
	}
	current := metastore.Epoch(part.current)
	if last := metastore.Epoch(part.last); last >= 0 {
		epoch, end, err := w.h.Log.EpochEnd(ctx, part.partition, current, last)
		if errors.Is(err, core.ErrNotOwner) && w.h.awaitOwner(ctx, w.r, w.begun, part.partition) {
			epoch, end, err = w.h.Log.EpochEnd(ctx, part.partition, current, last)
		}
		switch {
		case errors.Is(err, core.ErrNotOwner) && w.nearby:
			epoch, end = last, part.offset // the reader knows
		case err != nil:
			part.err = err
			return
		case end < 0:
			part.err = fmt.Errorf("%w: epoch %d, from which the client has records, is not of this log", core.ErrOffsetOutOfRange, last)
			return
		}
		if epoch < last || end < part.offset {
			part.diverging = &diverging{epoch, end}
			return
		}
	}
	part.position = len(w.positions)
	w.positions = append(w.positions, core.Position{
		Partition: part.partition,
		First:     part.offset,
		BytesMax:  int(max(0, part.bytesMax)),
		Epoch:     current,
		Last:      metastore.Epoch(part.last),
	})
}

// refuse answers with an error of the session, and nothing else.
func (w *fetchWork) refuse(out *wire.Response, reason error) {
	w.h.refused("Fetch", reason)
	e := encoder{b: out.Buf, flexible: w.r.Version >= 12}
	e.int32(0) // throttle
	e.int16(w.h.code(reason))
	e.int32(0) // session
	e.length(0)
	e.noTags()
	out.Buf = e.b
}

// encode answers with all parts.
func (w *fetchWork) encode(out *wire.Response, session int32) {
	version := w.r.Version
	e := encoder{b: out.Buf, flexible: version >= 12}
	e.int32(0) // throttle
	if version >= 7 {
		e.int16(0)
		e.int32(session)
	}
	topics := 0
	for i := range w.parts {
		if i == 0 || !sameTopic(&w.parts[i], &w.parts[i-1]) {
			topics++
		}
	}
	e.length(topics)
	for parts := w.parts; len(parts) > 0; {
		n := 1
		for n < len(parts) && sameTopic(&parts[n], &parts[0]) {
			n++
		}
		if version >= 13 {
			e.raw(parts[0].id[:])
		} else {
			e.string(parts[0].topic)
		}
		e.length(n)
		for i := range parts[:n] {
			var f core.Fetched
			if at := parts[i].position; at >= 0 {
				f = w.fetched[at]
				parts[i].err = f.Err
			}
			w.encodePart(&e, out, &parts[i], &f)
		}
		parts = parts[n:]
		e.noTags()
	}
	if version >= 16 && len(w.hints.brokers) > 0 {
		e.uvarint(1)
		e.tag(0, func() { e.endpoints(w.hints.brokers, w.r.Conn.Listener()) })
	} else {
		e.noTags()
	}
	out.Buf = e.b
}

func (w *fetchWork) encodePart(e *encoder, out *wire.Response, part *fetchedPart, f *core.Fetched) {
	version := w.r.Version
	bounds := f.Bounds
	if part.err != nil {
		w.h.refused("Fetch", part.err)
		if !errors.Is(part.err, core.ErrOffsetOutOfRange) {
			bounds = noBounds
		}
	} else if part.position < 0 {
		bounds = noBounds
	}
	e.int32(part.index)
	e.int16(w.h.code(part.err))
	e.int64(bounds.HighWatermark)
	e.int64(bounds.LastStable)
	if version >= 5 {
		e.int64(bounds.LogStart)
	}
	if w.req.IsolationLevel == 1 && part.err == nil {
		e.length(len(f.Aborted))
		for _, a := range f.Aborted {
			e.int64(a.ProducerID)
			e.int64(a.First)
			e.noTags()
		}
	} else {
		e.length(-1)
	}
	if version >= 11 {
		if f.Elsewhere {
			e.int32(int32(f.Replica))
		} else {
			e.int32(-1)
		}
	}
	w.encodeRecords(e, out, f.Records)
	w.encodePartTags(e, part)
}

// encodeRecords attaches the pieces to out. Empty, and not null: clients of all
// versions can read that.
func (w *fetchWork) encodeRecords(e *encoder, out *wire.Response, pieces [][]byte) {
	size := 0
	for _, piece := range pieces {
		size += len(piece)
	}
	e.length(size)
	out.Buf = e.b
	for _, piece := range pieces {
		out.Attach(piece)
	}
}

func (w *fetchWork) encodePartTags(e *encoder, part *fetchedPart) {
	if w.r.Version < 12 {
		return
	}
	switch {
	case part.diverging != nil:
		e.uvarint(1)
		e.tag(0, func() {
			e.int32(int32(part.diverging.epoch))
			e.int64(part.diverging.end)
			e.noTags()
		})
		return
	case errors.Is(part.err, core.ErrNotOwner):
		if leader, ok := w.hints.note(w.h, w.r, part.partition); ok {
			e.uvarint(1)
			e.tag(1, func() { e.leader(leader) })
			return
		}
	}
	e.noTags()
}

// noBounds are those of a partition that cannot be asked.
var noBounds = core.Bounds{LogStart: -1, HighWatermark: -1, LastStable: -1}

// recycle keeps w's memory for another request, unless that is much.
func (w *fetchWork) recycle() {
	const keptMax = 4096
	if cap(w.parts) > keptMax {
		return
	}
	clear(w.parts)
	clear(w.fetched)
	clear(w.hints.brokers)
	clear(w.far)
	w.far = w.far[:0]
	w.r, w.brokers, w.newer = nil, nil, nil
	w.parts, w.positions, w.fetched, w.hints.brokers = w.parts[:0], w.positions[:0], w.fetched[:0], w.hints.brokers[:0]
	w.h.fetches.Put(w)
}

package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/quota"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Produce
//
//   - 0–2 are advertised and refused: librdkafka derives from Produce's lowest
//     version that a broker can decompress, and sends plain without it (KAFKA-18659).
//   - 3 record batches v2; 5 log start; 7 zstd; 8 record errors; 9 flexible;
//     10 leader hints (KIP-951); 11 and 12 for transactions, the same on the wire;
//     13 topic ids.
//
// A request's batches get their offsets and go to the WAL while it is read, in
// the order in which the client sent them; the answer waits for them in its
// turn. So the requests that a client has under way share one sync.
//
// acks=0 has no answer; when something failed the connection is closed, which is
// all that such a client can notice.
func produceRoute() *route {
	return &route{key: produceKey, name: "Produce", min: 0, max: 13, large: true, start: startProduce,
		note: "0–2 are advertised for old librdkafka and answered UNSUPPORTED_VERSION"}
}

const produceKey = 0

// zstdProduce is the first version in which batches may be packed with zstd.
const zstdProduce = 7

// producePartsMax bounds the topics and the partitions of one request, and with
// them the memory that a frame full of empty ones may cost.
const producePartsMax = 100_000

// produceWaitMin is the least that a batch is waited for, whatever the client's
// timeout says: giving up before the WAL could sync helps nobody.
const produceWaitMin = time.Second

// produceWork is a Produce request after its batches were handed to the WAL.
type produceWork struct {
	h         *Handler
	r         *wire.Request // its frame is released already
	begun     time.Time
	version   int16
	acks      int16
	timeout   time.Duration
	throttle  time.Duration // by a quota, still to be felt
	throttled int32         // milliseconds that the answer tells
	listener  string
	topics    []producedTopic
	parts     []producedPart
	far       []farProduce
	hints     leaderHints
}

type producedTopic struct {
	name  string
	id    topic.ID
	topic *metastore.Topic // nil: unknown
	parts int              // how many of the work's parts, in order, are its
}

type producedPart struct {
	partition topic.Partition
	records   []byte // into the frame, only until it was appended or sent on
	far       bool   // another broker has been asked
	pending   core.Pending
	appended  core.Appended
	err       error
}

func startProduce(ctx context.Context, h *Handler, r *wire.Request) (wire.Work, error) {
	w, ok := h.produces.Get().(*produceWork)
	if !ok {
		w = &produceWork{h: h}
	}
	begun := time.Now()
	w.r, w.begun, w.version, w.listener = r, begun, r.Version, r.Conn.Listener()
	if err := w.parse(r.Body); err != nil {
		return nil, err
	}
	w.append(ctx)
	if len(w.far) > 0 {
		w.sendFar(ctx)
	}
	r.Release() // everything has been copied
	w.throttle = max(h.use(quota.Produce, r, float64(r.Size)), h.worked(r, begun))
	if w.version >= 6 || w.acks == 0 {
		// Here, where the next request would be read, none of those that the
		// client has sent already gets through.
		w.throttled = h.mute(ctx, r, w.throttle, true)
		w.throttle = 0
	}
	return w, nil
}

// parse reads the request; the records stay in the frame.
func (w *produceWork) parse(body []byte) error {
	d := decoder{b: body, flexible: w.version >= 9}
	if w.version >= 3 {
		_, _ = d.string() // the transactional id: its batches carry the producer id
	}
	w.acks = d.int16()
	w.timeout = max(time.Duration(d.int32())*time.Millisecond, produceWaitMin)
	for topics := d.count(); topics > 0 && !d.failed; topics-- {
		if len(w.topics) == producePartsMax {
			return fmt.Errorf("%w: more than %d topics in a produce request", wire.ErrMalformed, producePartsMax)
		}
		var t producedTopic
		if w.version >= 13 {
			t.id = d.uuid()
		} else {
			t.name = d.name()
		}
		for parts := d.count(); parts > 0 && !d.failed; parts-- {
			if len(w.parts) == producePartsMax {
				return fmt.Errorf("%w: more than %d partitions in a produce request", wire.ErrMalformed, producePartsMax)
			}
			index := d.int32()
			records := d.bytes()
			d.tags()
			w.parts = append(w.parts, producedPart{partition: topic.Partition{Index: index}, records: records})
			t.parts++
		}
		d.tags()
		w.topics = append(w.topics, t)
	}
	d.tags()
	return d.err("produce request")
}

// append hands every batch to the log.
func (w *produceWork) append(ctx context.Context) {
	parts, d := w.parts, w.h.defaults()
	for i := range w.topics {
		t := &w.topics[i]
		var unknown error
		switch {
		case w.version < 3:
			unknown = kerr.UnsupportedVersion
		case w.version >= 13:
			t.topic, unknown = w.h.lookupID(t.id)
		default:
			t.topic, unknown = w.h.lookup(t.name)
		}
		var options core.AppendOptions
		if t.topic != nil {
			options = w.h.limits.of(t.topic, d)
			options.Acks, options.Begun = w.acks, w.begun
			options.Salvage = w.r.ClientID == core.SalvageClient
		}
		for j := range parts[:t.parts] {
			if p := &parts[j]; unknown != nil {
				p.err = unknown
			} else {
				w.appendPart(ctx, t.topic, p, options)
			}
			if p := &parts[j]; errors.Is(p.err, core.ErrNotOwner) && w.h.shared(w.r) && w.isFar(len(w.parts)-len(parts)+j) {
				continue
			}
			parts[j].records = nil
		}
		parts = parts[t.parts:]
	}
}

func (w *produceWork) appendPart(ctx context.Context, t *metastore.Topic, p *producedPart, o core.AppendOptions) {
	if o.Acks < -1 || o.Acks > 1 {
		p.err = kerr.InvalidRequiredAcks
		return
	}
	index := p.partition.Index
	if p.partition, p.err = partition(t, index); p.err != nil {
		p.partition.Index = index
		return
	}
	if len(p.records) == 0 {
		p.err = fmt.Errorf("%w: no record batch", core.ErrInvalidRecord)
		return
	}
	if w.version < zstdProduce && codecOf(p.records) == batch.Zstd {
		p.err = kerr.UnsupportedCompressionType
		return
	}
	p.pending, p.err = w.h.Log.Append(ctx, p.partition, p.records, o)
	if errors.Is(p.err, core.ErrNotOwner) && w.h.awaitOwner(w.r.Conn.Patience(), w.r, w.begun, p.partition) {
		p.pending, p.err = w.h.Log.Append(ctx, p.partition, p.records, o)
	}
}

// codecOf is the codec of a batch that is not checked yet.
func codecOf(records []byte) batch.Codec {
	h, err := batch.ParseHeader(records)
	if err != nil {
		return batch.None // it will be refused for that
	}
	return h.Attributes.Codec()
}

// Finish implements wire.Work.
func (w *produceWork) Finish(ctx context.Context, out *wire.Response) error {
	failed := w.wait(ctx)
	defer w.recycle()
	if failed != nil && w.acks != 0 {
		w.awaitNext(ctx)
	}
	if w.acks == 0 {
		out.Silent()
		if failed != nil {
			return fmt.Errorf("produce with acks=0: %w", failed)
		}
		return nil
	}
	if w.throttle > 0 {
		w.throttled = w.h.mute(ctx, w.r, w.throttle, false)
	}
	begun := time.Now()
	out.Begin(w.version >= 9)
	w.encode(out)
	w.h.worked(w.r, begun)
	return nil
}

// wait collects the acknowledgements and returns the first failure.
func (w *produceWork) wait(ctx context.Context) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	for i := range w.far {
		w.awaitFar(ctx, &w.far[i])
	}
	for i := range w.parts {
		p := &w.parts[i]
		if p.err == nil && !p.far {
			p.appended, p.err = p.pending.Wait(ctx)
		}
		if p.err != nil {
			p.pending = nil
		}
	}
	for i := range w.parts {
		p := &w.parts[i]
		if p.pending != nil {
			p.err = p.pending.Confirm()
		}
		if p.err != nil {
			w.h.refused("Produce", p.err)
			if failed == nil {
				failed = p.err
			}
		}
	}
	return failed
}

// awaitNext gives partitions that were refused because they move a moment to
// find their owners.
func (w *produceWork) awaitNext(ctx context.Context) {
	refused := map[topic.Partition]error{}
	for i := range w.parts {
		if p := &w.parts[i]; errors.Is(p.err, core.ErrNotOwner) {
			refused[p.partition] = p.err
		}
	}
	w.h.awaitNext(ctx, w.begun, refused)
}

func (w *produceWork) encode(out *wire.Response) {
	e := encoder{b: out.Buf, flexible: w.version >= 9}
	parts := w.parts
	e.length(len(w.topics))
	for i := range w.topics {
		t := &w.topics[i]
		if w.version >= 13 {
			e.raw(t.id[:])
		} else {
			e.string(t.name)
		}
		e.length(t.parts)
		for j := range parts[:t.parts] {
			w.encodePart(&e, &parts[j])
		}
		parts = parts[t.parts:]
		e.noTags()
	}
	if w.version >= 1 {
		e.int32(w.throttled)
	}
	if w.version >= 10 && len(w.hints.brokers) > 0 {
		e.uvarint(1)
		e.tag(0, func() { e.endpoints(w.hints.brokers, w.listener) })
	} else {
		e.noTags()
	}
	out.Buf = e.b
}

func (w *produceWork) encodePart(e *encoder, p *producedPart) {
	e.int32(p.partition.Index)
	e.int16(w.h.code(p.err))
	if p.err != nil {
		p.appended = core.Appended{First: -1, Timestamp: -1, LogStart: -1}
	}
	e.int64(p.appended.First)
	if w.version >= 2 {
		e.int64(p.appended.Timestamp)
	}
	if w.version >= 5 {
		e.int64(p.appended.LogStart)
	}
	if w.version >= 8 {
		w.encodeReason(e, p.err)
	}
	if w.version >= 10 && errors.Is(p.err, core.ErrNotOwner) {
		if leader, ok := w.hints.note(w.h, w.r, p.partition); ok {
			e.uvarint(1)
			e.tag(0, func() { e.leader(leader) })
			return
		}
	}
	e.noTags()
}

// encodeReason writes the record errors and the message of version 8.
func (w *produceWork) encodeReason(e *encoder, err error) {
	if err == nil {
		e.length(0)
		e.nullable("")
		return
	}
	var record *core.RecordError
	if errors.As(err, &record) {
		e.length(1)
		e.int32(record.Index)
		e.string(*message(record))
		e.noTags()
	} else {
		e.length(0)
	}
	e.nullable(*message(err))
}

// recycle keeps w's memory for another request, unless that is much.
func (w *produceWork) recycle() {
	const keptMax = 1024
	if cap(w.parts) > keptMax || cap(w.topics) > keptMax {
		return
	}
	clear(w.topics)
	clear(w.parts)
	clear(w.hints.brokers)
	clear(w.far)
	w.far = w.far[:0]
	w.r, w.throttle, w.throttled = nil, 0, 0
	w.topics, w.parts, w.hints.brokers = w.topics[:0], w.parts[:0], w.hints.brokers[:0]
	w.h.produces.Put(w)
}

package api

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Fetch
//
//   - 4 isolation levels; 5 log start; 7 sessions; 9 leader epochs; 11 racks;
//     12 flexible, last fetched epoch; 13 topic ids; 16 leader hints (KIP-951);
//     14, 15 and 17 concern replicas, which there are none of.
//
// The wait is over all partitions at once, and any error ends it. Records go to
// the socket from where the reader has them, without being copied.
//
// Every answer is sessionless (session id 0), which clients of all versions
// take as "name all partitions each time".
func fetchRoute() *route {
	return &route{key: fetchKey, name: "Fetch", min: 4, max: 17, start: startFetch, note: "answered sessionless"}
}

const fetchKey = 1

// fetchWork is one Fetch request.
type fetchWork struct {
	h         *Handler
	r         *wire.Request
	req       kmsg.FetchRequest
	parts     []fetchedPart   // of all topics, in the order of the request
	positions []core.Position // of those parts that can be read
	hints     leaderHints
}

type fetchedPart struct {
	partition topic.Partition
	position  int // in positions; −1: none
	err       error
	diverging *diverging
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
	return w, nil
}

// Finish implements wire.Work.
func (w *fetchWork) Finish(_ context.Context, out *wire.Response) error {
	defer w.recycle()
	w.req.Version = w.r.Version
	if err := w.h.parse(w.r, w.req.ReadFrom); err != nil {
		return err
	}
	w.r.Release() // of the request only strings and numbers are used, which are copies
	out.Begin(w.r.Version >= 12)
	if w.req.SessionEpoch > 0 {
		w.encode(out, kerr.FetchSessionIDNotFound.Code, nil)
		return nil
	}
	ctx := w.r.Conn.Patience()
	failed := w.plan(ctx)
	options := core.FetchOptions{
		BytesMin:  int(max(0, w.req.MinBytes)),
		BytesMax:  min(int(max(0, w.req.MaxBytes)), w.h.cfg.FetchBytesMax),
		WaitMax:   time.Duration(max(0, w.req.MaxWaitMillis)) * time.Millisecond,
		Committed: w.req.IsolationLevel == 1,
	}
	if failed {
		options.WaitMax = 0 // the client is to know at once
	}
	var fetched []core.Fetched
	if len(w.positions) > 0 {
		fetched = w.h.Reader.Fetch(ctx, w.positions, options)
	} else if !failed {
		pause(ctx, options.WaitMax) // nothing was asked for, and it may come again
	}
	w.encode(out, 0, fetched)
	return nil
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
	for i := range w.req.Topics {
		asked := &w.req.Topics[i]
		var t *metastore.Topic
		var unknown error
		if w.r.Version >= 13 {
			t, unknown = w.h.lookupID(asked.TopicID)
		} else {
			t, unknown = w.h.lookup(asked.Topic)
		}
		for j := range asked.Partitions {
			part := fetchedPart{position: -1, err: unknown}
			if unknown == nil {
				w.planPart(ctx, t, &asked.Partitions[j], &part)
			}
			failed = failed || part.err != nil || part.diverging != nil
			w.parts = append(w.parts, part)
		}
	}
	return failed
}

func (w *fetchWork) planPart(ctx context.Context, t *metastore.Topic, asked *kmsg.FetchRequestTopicPartition, part *fetchedPart) {
	if part.partition, part.err = partition(t, asked.Partition); part.err != nil {
		return
	}
	current := metastore.Epoch(asked.CurrentLeaderEpoch)
	if last := metastore.Epoch(asked.LastFetchedEpoch); last >= 0 {
		epoch, end, err := w.h.Log.EpochEnd(ctx, part.partition, current, last)
		if err != nil {
			part.err = err
			return
		}
		if epoch < last || end < asked.FetchOffset {
			part.diverging = &diverging{epoch, end}
			return
		}
	}
	part.position = len(w.positions)
	w.positions = append(w.positions, core.Position{
		Partition: part.partition,
		First:     asked.FetchOffset,
		BytesMax:  int(max(0, asked.PartitionMaxBytes)),
		Epoch:     current,
	})
}

func (w *fetchWork) encode(out *wire.Response, refusal int16, fetched []core.Fetched) {
	version := w.r.Version
	e := encoder{b: out.Buf, flexible: version >= 12}
	e.int32(0) // throttle
	if version >= 7 {
		e.int16(refusal)
		e.int32(0) // session
	}
	topics := w.req.Topics
	if refusal != 0 {
		topics = nil
	}
	e.length(len(topics))
	parts := w.parts
	for i := range topics {
		t := &topics[i]
		if version >= 13 {
			e.raw(t.TopicID[:])
		} else {
			e.string(t.Topic)
		}
		e.length(len(t.Partitions))
		for j := range t.Partitions {
			var f core.Fetched
			if at := parts[j].position; at >= 0 {
				f = fetched[at]
				parts[j].err = f.Err
			}
			w.encodePart(&e, out, t.Partitions[j].Partition, &parts[j], &f)
		}
		parts = parts[len(t.Partitions):]
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

func (w *fetchWork) encodePart(e *encoder, out *wire.Response, index int32, part *fetchedPart, f *core.Fetched) {
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
	e.int32(index)
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
		e.int32(-1) // preferred read replica
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
		if leader, ok := w.hints.note(w.h, part.partition); ok {
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
	clear(w.hints.brokers)
	w.r = nil
	w.parts, w.positions, w.hints.brokers = w.parts[:0], w.positions[:0], w.hints.brokers[:0]
	w.h.fetches.Put(w)
}

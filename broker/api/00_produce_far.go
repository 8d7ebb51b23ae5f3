package api

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/forward"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// farProduce is the part of a Produce request that another broker is asked to do:
// for each such broker one request, sent as soon as the client's is read, so that
// what a client pipelines keeps its order there.
type farProduce struct {
	to     metastore.Broker
	places []int // of the work's parts
	call   *forward.Call
	err    error
}

// farProduceVersion names topics by their ids: a topic that was made anew under
// the same name meanwhile gets nothing.
const farProduceVersion = 13

// isFar notes a part for the broker that owns it, if that is another one.
func (w *produceWork) isFar(place int) bool {
	p := &w.parts[place]
	to, ok := w.h.otherOwner(p.partition)
	if !ok {
		return false
	}
	i := slices.IndexFunc(w.far, func(f farProduce) bool { return f.to.Session == to.Session })
	if i < 0 {
		i, w.far = len(w.far), append(w.far, farProduce{to: to})
	}
	w.far[i].places = append(w.far[i].places, place)
	p.far, p.err = true, nil
	return true
}

// sendFar sends what is for others. The records lie in the client's frame, and
// are not copied.
func (w *produceWork) sendFar(ctx context.Context) {
	client := w.h.far(w.r)
	for i := range w.far {
		f := &w.far[i]
		if f.err = forward.ErrUnreachable; client != nil {
			f.call, f.err = client.Send(ctx, f.to, forward.Request{
				Key: produceKey, Version: farProduceVersion, ClientID: w.r.ClientID, Flexible: true, Silent: w.acks == 0, Body: w.farBody(f),
			})
		}
		for _, place := range f.places {
			w.parts[place].records = nil
		}
		if errors.Is(f.err, forward.ErrUnreachable) {
			w.failFar(f, core.ErrNotOwner) // as before it was asked
		} else if f.err != nil {
			w.failFar(f, errFarLost)
		}
	}
}

func (w *produceWork) failFar(f *farProduce, err error) {
	for _, place := range f.places {
		w.parts[place].err = err
	}
}

// farBody is a Produce request for f's parts.
func (w *produceWork) farBody(f *farProduce) net.Buffers {
	e := encoder{flexible: true}
	var cuts []cut
	e.nullable("") // batches that are part of a transaction say so themselves
	e.int16(w.acks)
	e.int32(int32(w.timeout.Milliseconds()))
	topics := 0
	w.eachFarTopic(f, func(topic.ID, []int) { topics++ })
	e.length(topics)
	w.eachFarTopic(f, func(id topic.ID, places []int) {
		e.raw(id[:])
		e.length(len(places))
		for _, place := range places {
			p := &w.parts[place]
			e.int32(p.partition.Index)
			e.length(len(p.records))
			cuts = append(cuts, cut{len(e.b), p.records})
			e.noTags()
		}
		e.noTags()
	})
	e.noTags()
	body, at := make(net.Buffers, 0, 2*len(cuts)+1), 0
	for _, c := range cuts {
		body = append(body, e.b[at:c.at], c.piece)
		at = c.at
	}
	return append(body, e.b[at:])
}

// cut says that piece comes at a place in other bytes.
type cut struct {
	at    int
	piece []byte
}

// eachFarTopic calls do with f's parts, those of a topic that follow each other
// together.
func (w *produceWork) eachFarTopic(f *farProduce, do func(id topic.ID, places []int)) {
	for rest := f.places; len(rest) > 0; {
		id, n := w.parts[rest[0]].partition.Topic, 1
		for n < len(rest) && w.parts[rest[n]].partition.Topic == id {
			n++
		}
		do(id, rest[:n])
		rest = rest[n:]
	}
}

// awaitFar waits for the answer to what was sent.
func (w *produceWork) awaitFar(ctx context.Context, f *farProduce) {
	if f.err != nil {
		return
	}
	body, err := f.call.Answer(ctx)
	if w.acks == 0 {
		return
	}
	if err != nil {
		if errors.Is(err, forward.ErrLost) {
			err = errFarLost
		} else {
			err = core.ErrTimeout
		}
		w.failFar(f, err)
		return
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(farProduceVersion)
	err = resp.ReadFrom(body)
	var answers []*kmsg.ProduceResponseTopicPartition
	if err == nil {
		answers = allParts(resp.Topics, func(t *kmsg.ProduceResponseTopic) *[]kmsg.ProduceResponseTopicPartition { return &t.Partitions })
	}
	if err != nil || len(answers) != len(f.places) {
		w.h.log.Error("another broker answers a produce request with something else", "broker", f.to.ID, "error", err)
		w.failFar(f, errFarLost)
		return
	}
	for i, a := range answers {
		p := &w.parts[f.places[i]]
		p.appended = core.Appended{First: a.BaseOffset, Timestamp: a.LogAppendTime, LogStart: a.LogStartOffset}
		p.err = w.farRefusal(a)
	}
}

// farRefusal is why another broker has not appended a part; nil if it has.
func (w *produceWork) farRefusal(a *kmsg.ProduceResponseTopicPartition) error {
	switch {
	case a.ErrorCode == kerr.NotLeaderForPartition.Code:
		return core.ErrNotOwner
	case a.ErrorCode == kerr.UnknownTopicID.Code && w.version < 13:
		return kerr.UnknownTopicOrPartition
	case a.ErrorCode != 0 && len(a.ErrorRecords) > 0:
		return &core.RecordError{Index: a.ErrorRecords[0].RelativeOffset, Err: errFar(a.ErrorCode, a.ErrorRecords[0].ErrorMessage)}
	}
	return errFar(a.ErrorCode, a.ErrorMessage)
}

package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/tests/history"
)

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

// producer writes batches, each again until it is answered or given up.
type producer struct {
	*client
	writer     *history.Writer
	idempotent bool
	acks       int16

	id        int64
	epoch     int16
	sequences map[history.Partition]int32
	bumped    bool // what it misses is still to be sent again
	builder   batch.Builder
}

// inFlight is a batch on its way.
type inFlight struct {
	p     history.Partition
	raw   []byte
	sends []*history.Send
	maybe bool // it may be in the log
}

func (w *World) producer(ctx context.Context, name string, idempotent bool, acks int16) {
	o := history.WriterOptions{Idempotent: idempotent}
	if acks == 1 {
		o.Acks = history.AcksLeader
	}
	p := &producer{
		client: w.newClient(name), writer: w.history.Writer(name, o), idempotent: idempotent, acks: acks,
		id: -1, epoch: -1, sequences: map[history.Partition]int32{},
	}
	defer p.close()
	for ctx.Err() == nil {
		if idempotent && p.id < 0 && !p.begin(ctx) {
			continue
		}
		p.round(ctx)
		pass(ctx, between(p.rng, time.Millisecond, 300*time.Millisecond))
	}
}

// begin gets a producer id.
func (p *producer) begin(ctx context.Context) bool {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(4)
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := p.request(asking, p.seeds()[0], req)
	if err == nil {
		resp := answer.(*kmsg.InitProducerIDResponse)
		if err = kerr.ErrorForCode(resp.ErrorCode); err == nil {
			p.id, p.epoch = resp.ProducerID, resp.ProducerEpoch
			clear(p.sequences)
			return true
		}
	}
	pass(ctx, between(p.rng, 20*time.Millisecond, 500*time.Millisecond))
	return false
}

// round writes a batch to each of a few partitions.
func (p *producer) round(ctx context.Context) {
	var batches []*inFlight
	all := p.w.partitions()
	for _, i := range p.rng.Perm(len(all))[:1+p.rng.IntN(min(3, len(all)))] {
		batches = append(batches, p.batch(all[i]))
	}
	ctx, cancel := context.WithTimeout(ctx, between(p.rng, 5*time.Second, 2*time.Minute))
	defer cancel()
	for len(batches) > 0 && ctx.Err() == nil {
		if !p.fresh(ctx) {
			continue
		}
		batches = p.send(ctx, batches)
		if len(batches) > 0 {
			pass(ctx, between(p.rng, 10*time.Millisecond, 300*time.Millisecond))
		}
		if p.bumped { // and who misses something takes his time
			pass(ctx, between(p.rng, 0, 5*time.Second))
			p.bumped = false
		}
	}
	for _, b := range batches {
		for _, s := range b.sends {
			if b.maybe {
				s.Unknown()
			} else {
				s.Refused()
			}
		}
	}
	if len(batches) > 0 && p.idempotent {
		// Its sequence has a gap now. A higher epoch, as Java's client takes, keeps
		// what may still be under way from coming after what is sent next.
		p.bump()
	}
}

// bump begins a new epoch.
func (p *producer) bump() {
	p.epoch++
	clear(p.sequences)
}

// batch makes the next batch for a partition.
func (p *producer) batch(to history.Partition) *inFlight {
	b := &inFlight{p: to}
	o := batch.Options{}
	if p.idempotent {
		o.Producer = &batch.Producer{ID: p.id, Epoch: p.epoch, Sequence: p.sequences[to]}
	}
	p.builder.Reset(o)
	keys := p.w.topic(to.Topic).Keys
	for range 1 + p.rng.IntN(4) {
		var key []byte
		if keys > 0 {
			key = fmt.Appendf(nil, "k%d", p.rng.IntN(keys))
		}
		if keys > 0 && p.rng.IntN(5) == 0 {
			s := p.writer.SendTombstone(to, string(key))
			b.sends = append(b.sends, s)
			p.builder.Append(time.Now().UnixMilli(), key, nil, batch.RecordHeader{Key: []byte(nameHeader), Value: history.Value(s.ID, 0)})
			continue
		}
		s := p.writer.SendKey(to, string(key))
		b.sends = append(b.sends, s)
		p.builder.Append(time.Now().UnixMilli(), key, history.Value(s.ID, 60+p.rng.IntN(400)))
	}
	p.sequences[to] += int32(len(b.sends))
	raw, err := p.builder.Build(nil)
	if err != nil {
		p.w.t.Errorf("%s: %v", p.l.name, err)
	}
	b.raw = raw
	return b
}

// send tries each batch once and returns those that are to be tried again.
func (p *producer) send(ctx context.Context, batches []*inFlight) (left []*inFlight) {
	byLeader := map[string][]*inFlight{}
	for _, b := range batches {
		if address, ok := p.leader(b.p.Topic, b.p.Index); ok {
			byLeader[address] = append(byLeader[address], b)
		} else {
			left = append(left, b)
		}
	}
	for _, address := range slices.Sorted(mapKeys(byLeader)) {
		left = append(left, p.sendTo(ctx, address, byLeader[address])...)
	}
	return left
}

func (p *producer) sendTo(ctx context.Context, address string, batches []*inFlight) (left []*inFlight) {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TimeoutMillis = p.acks, int32(patience/time.Millisecond)
	find := map[history.Partition]*inFlight{}
	for _, b := range batches {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = b.p.Topic
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = b.p.Index, b.raw
		t.Partitions = append(t.Partitions, part)
		req.Topics = append(req.Topics, t)
		find[b.p] = b
		b.maybe = true // from here on, unless the answer says otherwise
	}
	asking, cancel := context.WithTimeout(ctx, patience+time.Second)
	defer cancel()
	answer, err := p.request(asking, address, req)
	if err != nil {
		p.stale = true
		return batches
	}
	for _, t := range answer.(*kmsg.ProduceResponse).Topics {
		for _, part := range t.Partitions {
			b := find[history.Partition{Topic: t.Topic, Index: part.Partition}]
			if b == nil {
				p.w.history.Report(history.Other, "%s is answered about %s-%d, which it did not write", p.l.name, t.Topic, part.Partition)
				continue
			}
			delete(find, b.p)
			if p.answered(b, part.ErrorCode, part.BaseOffset) {
				left = append(left, b)
			}
		}
	}
	for _, q := range slices.SortedFunc(mapKeys(find), comparePartitions) {
		p.w.history.Report(history.Other, "%s is not answered about %s", p.l.name, q)
		left = append(left, find[q])
	}
	return left
}

// answered takes an answer; again says that the batch is to be sent once more.
func (p *producer) answered(b *inFlight, code int16, base int64) (again bool) {
	err := kerr.ErrorForCode(code)
	switch {
	case err == nil:
		for i, s := range b.sends {
			s.Acked(base + int64(i))
		}
	case errors.Is(err, kerr.DuplicateSequenceNumber) && p.idempotent:
		for _, s := range b.sends {
			s.Acked(history.None)
		}
	case kerr.IsRetriable(err):
		p.stale = true
		return true
	default:
		// Who had written to an owner that was overtaken has a gap in its sequence. Most
		// clients send again then what they have no answer for, under a new epoch.
		overtaken := p.w.salvaged(b.p.Topic) || p.acks == 1
		gap := overtaken && errors.Is(err, kerr.OutOfOrderSequenceNumber)
		if gap && p.id >= 0 && p.rng.IntN(4) > 0 {
			p.bump()
			batch.PatchProducer(b.raw, p.id, p.epoch, 0)
			p.sequences[b.p] = int32(len(b.sends))
			p.bumped = true
			return true
		}
		if !gap {
			p.w.history.Report(history.Other, "%s writes %s to %s and is answered %v", p.l.name, b.sends[0].ID, b.p, err)
		}
		for _, s := range b.sends {
			s.Unknown()
		}
		p.id = -1
	}
	return false
}

// consumer reads all partitions, again and again.
type consumer struct {
	*client
	positions map[history.Partition]int64
	decoder   *batch.Decoder
}

func (w *World) newConsumer(name string) *consumer {
	return &consumer{client: w.newClient(name), positions: map[history.Partition]int64{}, decoder: batch.NewDecoder(1 << 24)}
}

func (w *World) consumer(ctx context.Context, name string) {
	c := w.newConsumer(name)
	defer c.close()
	for ctx.Err() == nil {
		if !c.fresh(ctx) {
			continue
		}
		all := w.partitions()
		switch p := all[c.rng.IntN(len(all))]; c.rng.IntN(40) {
		case 0:
			c.positions[p] = 0 // read it all once more
		case 1:
			l := w.history.Latest(p)
			if next, err := c.offset(ctx, p, -1); err == nil {
				l.Got(next)
			}
		}
		c.poll(ctx, all, func(p history.Partition, from int64, items []history.Item) {
			w.history.Read(name, p, from, items...)
		})
		pass(ctx, between(c.rng, time.Millisecond, 400*time.Millisecond))
	}
}

// offset asks for the end (-1) or the start (-2) of a partition.
func (c *consumer) offset(ctx context.Context, p history.Partition, at int64) (int64, error) {
	address, ok := c.leader(p.Topic, p.Index)
	if !ok {
		return 0, errors.New("no leader")
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(7)
	t, part := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = p.Index, at
	t.Topic, t.Partitions = p.Topic, append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := c.request(ctx, address, req)
	if err != nil {
		c.stale = true
		return 0, err
	}
	got := answer.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		c.stale = true
		return 0, err
	}
	return got.Offset, nil
}

// poll reads once from every leader.
func (c *consumer) poll(ctx context.Context, all []history.Partition, got func(history.Partition, int64, []history.Item)) {
	byLeader := map[string][]history.Partition{}
	for _, p := range all {
		if address, ok := c.leader(p.Topic, p.Index); ok {
			byLeader[address] = append(byLeader[address], p)
		}
	}
	for _, address := range slices.Sorted(mapKeys(byLeader)) {
		c.fetch(ctx, address, byLeader[address], got)
	}
}

func (c *consumer) fetch(ctx context.Context, address string, partitions []history.Partition, got func(history.Partition, int64, []history.Item)) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, 1<<20
	req.IsolationLevel = int8(c.rng.IntN(2))
	for _, p := range partitions {
		t, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.Index, c.positions[p], 64<<10
		t.Topic, t.Partitions = p.Topic, append(t.Partitions, part)
		req.Topics = append(req.Topics, t)
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := c.request(asking, address, req)
	if err != nil {
		c.stale = true
		return
	}
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		for _, part := range t.Partitions {
			p := history.Partition{Topic: t.Topic, Index: part.Partition}
			switch err := kerr.ErrorForCode(part.ErrorCode); {
			case errors.Is(err, kerr.OffsetOutOfRange) && (c.w.topic(p.Topic).Trimmed || c.w.topic(p.Topic).expires()) && c.positions[p] < part.LogStartOffset:
				c.positions[p] = part.LogStartOffset
			case errors.Is(err, kerr.OffsetOutOfRange) && c.w.salvaged(p.Topic):
				c.positions[p] = 0 // the log was cut
			case errors.Is(err, kerr.OffsetOutOfRange):
				c.w.history.Report(history.Dirty, "%s at %d of %s is told that this is out of range, below %d or above %d",
					c.l.name, c.positions[p], p, part.LogStartOffset, part.HighWatermark)
				c.positions[p] = 0
			case err != nil && !kerr.IsRetriable(err):
				c.w.history.Report(history.Other, "%s reads %s at %d and is answered %v", c.l.name, p, c.positions[p], err)
			case err != nil:
				c.stale = true
			default:
				c.take(p, part.RecordBatches, got)
			}
		}
	}
}

// take goes through the records of an answer.
func (c *consumer) take(p history.Partition, raw []byte, got func(history.Partition, int64, []history.Item)) {
	from := c.positions[p]
	var items []history.Item
	err := batch.Each(raw, func(h batch.Header, raw []byte) error {
		if _, err := batch.Verify(raw); err != nil {
			return err
		}
		it, err := c.decoder.Open(h, raw)
		if err != nil {
			return err
		}
		for it.Next() {
			if r := it.Record(); r.Offset >= from { // a batch is given whole
				items = append(items, history.Item{Offset: r.Offset, Value: named(r)})
			}
		}
		if it.Err() == nil {
			c.positions[p] = max(c.positions[p], h.Next())
		}
		return it.Err()
	})
	if err != nil && !errors.Is(err, batch.ErrTruncated) {
		c.w.history.Report(history.Garbled, "%s reads %s from %d: %v", c.l.name, p, from, err)
	}
	got(p, from, items)
}

// nameHeader is the header of tombstones that has what else the value would have.
const nameHeader = "id"

// named is what names a record, copied.
func named(r *batch.Record) []byte {
	name := slices.Clone(r.Value)
	if r.Value == nil {
		r.Headers.Each(func(key, value []byte) {
			if string(key) == nameHeader {
				name = slices.Clone(value)
			}
		})
	}
	return name
}

// salvaged tells whether the log of a topic may be cut by a takeover.
func (w *World) salvaged(topic string) bool {
	return w.plan.Grace == 0 && slices.ContainsFunc(w.plan.Topics, func(t TopicPlan) bool { return t.Name == topic && !t.Object })
}

// topic returns the plan of a topic.
func (w *World) topic(name string) TopicPlan {
	i := slices.IndexFunc(w.plan.Topics, func(t TopicPlan) bool { return t.Name == name })
	return w.plan.Topics[i]
}

// trimmer deletes records, now and then, from those topics that have it.
func (w *World) trimmer(ctx context.Context, name string) {
	c := w.newConsumer(name)
	defer c.close()
	partitions := slices.DeleteFunc(w.partitions(), func(p history.Partition) bool { return !w.topic(p.Topic).Trimmed })
	for ctx.Err() == nil {
		pass(ctx, between(c.rng, 100*time.Millisecond, 4*time.Second))
		if !c.fresh(ctx) {
			continue
		}
		p := partitions[c.rng.IntN(len(partitions))]
		first, err := c.offset(ctx, p, -2)
		if err != nil {
			continue
		}
		if next, err := c.offset(ctx, p, -1); err == nil && next > first {
			c.trim(ctx, p, first+1+c.rng.Int64N(next-first))
		}
	}
}

// trim deletes all records below an offset.
func (c *consumer) trim(ctx context.Context, p history.Partition, before int64) {
	address, ok := c.leader(p.Topic, p.Index)
	if !ok {
		return
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.SetVersion(2)
	req.TimeoutMillis = int32(patience / time.Millisecond)
	t, part := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Partition, part.Offset = p.Index, before
	t.Topic, t.Partitions = p.Topic, append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	op := c.w.history.Trim(p, before)
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := c.request(asking, address, req)
	if err != nil {
		c.stale = true
		return
	}
	got := answer.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
	switch err := kerr.ErrorForCode(got.ErrorCode); {
	case err == nil && got.LowWatermark < before:
		c.w.history.Report(history.Other, "%s deletes all below %d of %s and is answered with %d", c.l.name, before, p, got.LowWatermark)
	case err == nil:
		op.Acked(got.LowWatermark)
	case errors.Is(err, kerr.OffsetOutOfRange) && c.w.salvaged(p.Topic): // the log was cut
	case !kerr.IsRetriable(err):
		c.w.history.Report(history.Other, "%s deletes all below %d of %s and is answered %v", c.l.name, before, p, err)
	default:
		c.stale = true
	}
}

// readBack reads everything once more, when nothing writes.
func (w *World) readBack(ctx context.Context) error {
	c := w.newConsumer("final")
	defer c.close()
	finals, ends := map[history.Partition]*history.Final{}, map[history.Partition]int64{}
	left := w.partitions()
	for begun := time.Now(); len(left) > 0; {
		if time.Since(begun) > 10*time.Minute {
			return fmt.Errorf("%v could not be read back within ten minutes: of %d there are %d", left[0], ends[left[0]], c.positions[left[0]])
		}
		if !c.fresh(ctx) {
			continue
		}
		for _, p := range left {
			if finals[p] != nil {
				continue
			}
			start, err := c.offset(ctx, p, -2)
			if err != nil {
				continue
			}
			if ends[p], err = c.offset(ctx, p, -1); err == nil {
				finals[p] = w.history.Final(p, start)
				c.positions[p] = start
			}
		}
		c.poll(ctx, left, func(p history.Partition, _ int64, items []history.Item) {
			if finals[p] != nil {
				finals[p].Add(items...)
			}
		})
		left = slices.DeleteFunc(left, func(p history.Partition) bool { return finals[p] != nil && c.positions[p] >= ends[p] })
		pass(ctx, 250*time.Millisecond)
	}
	for p, f := range finals {
		f.End(ends[p])
		if c.w.topic(p.Topic).expires() {
			f.Rise(w.history.Start(p))
		}
	}
	return nil
}

func comparePartitions(a, b history.Partition) int {
	if a.Topic != b.Topic {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	}
	return int(a.Index) - int(b.Index)
}

// random gives somebody chance of his own.
func (w *World) random(who string) *rand.Rand {
	var n uint64
	for _, b := range []byte(who) {
		n = n*131 + uint64(b)
	}
	return rand.New(rand.NewPCG(w.seed, n))
}

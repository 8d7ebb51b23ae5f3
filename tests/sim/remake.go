package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/tests/history"
)

// remaker makes a topic, writes and reads it, deletes it, and begins again under
// the same name. It asks by the topic's id, so that what it hears of is told apart;
// in the history each topic of that name has a name of its own.
type remaker struct {
	*consumer
	topic string
	known map[topic.ID]bool
	acked int64 // the highest offset of the present topic, or None
}

func (w *World) remaker(ctx context.Context, name string) {
	c := &remaker{consumer: w.newConsumer(name), topic: "again", known: map[topic.ID]bool{}}
	defer c.close()
	for n := 1; ctx.Err() == nil; n++ {
		id := c.create(ctx)
		p := history.Partition{Topic: fmt.Sprintf("%s#%d", c.topic, n)}
		w.history.Topic(p.Topic, history.Topic{Object: true})
		w.call(id, p.Topic)
		c.acked = history.None
		writer := w.history.Writer(fmt.Sprintf("%s.%d", name, n), history.WriterOptions{})
		for range 3 + c.rng.IntN(15) {
			c.write(ctx, id, p, writer)
			c.read(ctx, id, p, func(p history.Partition, from int64, items []history.Item) { w.history.Read(name, p, from, items...) })
			pass(ctx, between(c.rng, time.Millisecond, 500*time.Millisecond))
		}
		if c.rng.IntN(2) == 0 {
			c.readAll(ctx, id, p)
		} else {
			// It is deleted while somebody writes.
			other := &remaker{consumer: w.newConsumer(fmt.Sprintf("%s-%d", name, n)), topic: c.topic, known: c.known}
			writer := w.history.Writer(other.l.name, history.WriterOptions{})
			w.clients.Go(func() {
				defer other.close()
				for range 5 {
					other.write(ctx, id, p, writer)
					pass(ctx, between(other.rng, time.Millisecond, 100*time.Millisecond))
				}
			})
		}
		w.history.Deleted(p.Topic)
		c.remove(ctx, id)
	}
}

// create makes the topic. What was made before and answered to nobody will do.
func (c *remaker) create(ctx context.Context) topic.ID {
	for ctx.Err() == nil {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.SetVersion(7)
		req.TimeoutMillis = int32(patience / time.Millisecond)
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = c.topic, 1, 1
		config := c.w.derived(c.w.plan.Again)
		config["durability"] = "object"
		for _, key := range slices.Sorted(mapKeys(config)) {
			one := kmsg.NewCreateTopicsRequestTopicConfig()
			one.Name, one.Value = key, kmsg.StringPtr(config[key])
			t.Configs = append(t.Configs, one)
		}
		req.Topics = append(req.Topics, t)
		var id topic.ID
		answer, err := c.ask(ctx, c.seeds()[0], req)
		if err == nil {
			got := answer.(*kmsg.CreateTopicsResponse).Topics[0]
			if id, err = got.TopicID, kerr.ErrorForCode(got.ErrorCode); errors.Is(err, kerr.TopicAlreadyExists) {
				id, _, err = c.find(ctx)
			}
		}
		if err == nil && !c.known[id] {
			c.known[id] = true
			return id
		} else if err == nil {
			c.remove(ctx, id) // who was asked to delete it had not heard of it yet
		}
		pass(ctx, between(c.rng, 20*time.Millisecond, 500*time.Millisecond))
	}
	return topic.ID{}
}

func (c *remaker) ask(ctx context.Context, address string, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+time.Second)
	defer cancel()
	return c.request(ctx, address, req)
}

// find asks some broker for the topic of that name and its leader.
func (c *remaker) find(ctx context.Context) (id topic.ID, leader string, err error) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(c.topic)
	req.Topics = append(req.Topics, t)
	answer, err := c.ask(ctx, c.seeds()[0], req)
	if err != nil {
		return id, "", err
	}
	resp := answer.(*kmsg.MetadataResponse)
	got := resp.Topics[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return id, "", err
	}
	for _, b := range resp.Brokers {
		if len(got.Partitions) == 1 && got.Partitions[0].Leader == b.NodeID {
			leader = fmt.Sprintf("%s:%d", b.Host, b.Port)
		}
	}
	return got.TopicID, leader, nil
}

// leaderOf returns the leader of a topic that is still the one of its name.
func (c *remaker) leaderOf(ctx context.Context, id topic.ID) (string, bool) {
	now, leader, err := c.find(ctx)
	if err != nil || now != id || leader == "" {
		pass(ctx, between(c.rng, 20*time.Millisecond, 500*time.Millisecond))
		return "", false
	}
	return leader, true
}

// write sends a batch, once.
func (c *remaker) write(ctx context.Context, id topic.ID, p history.Partition, writer *history.Writer) {
	leader, ok := c.leaderOf(ctx, id)
	if !ok {
		return
	}
	var builder batch.Builder
	builder.Reset(batch.Options{})
	var sends []*history.Send
	for range 1 + c.rng.IntN(4) {
		s := writer.Send(p)
		sends = append(sends, s)
		builder.Append(time.Now().UnixMilli(), nil, history.Value(s.ID, 60+c.rng.IntN(400)))
	}
	raw, err := builder.Build(nil)
	if err != nil {
		c.w.t.Errorf("%s: %v", c.l.name, err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(13)
	req.Acks, req.TimeoutMillis = -1, int32(patience/time.Millisecond)
	t, part := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	part.Records = raw
	t.TopicID, t.Partitions = id, append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	answer, err := c.ask(ctx, leader, req)
	base := history.None
	if err == nil {
		got := answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if err = kerr.ErrorForCode(got.ErrorCode); err == nil {
			base = got.BaseOffset
		} else if !kerr.IsRetriable(err) {
			c.w.history.Report(history.Other, "%s writes to %s and is answered %v", c.l.name, p, err)
		}
	}
	for i, s := range sends {
		if base == history.None {
			s.Unknown()
			continue
		}
		s.Acked(base + int64(i))
		c.acked = max(c.acked, base+int64(i))
	}
}

// read asks once for what is next.
func (c *remaker) read(ctx context.Context, id topic.ID, p history.Partition, got func(history.Partition, int64, []history.Item)) {
	leader, ok := c.leaderOf(ctx, id)
	if !ok {
		return
	}
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(13)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, 1<<20
	t, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = c.positions[p], 64<<10
	t.TopicID, t.Partitions = id, append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	answer, err := c.ask(ctx, leader, req)
	if err != nil {
		return
	}
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		for _, part := range t.Partitions {
			switch err := kerr.ErrorForCode(part.ErrorCode); {
			case err == nil:
				c.take(p, part.RecordBatches, got)
			case !kerr.IsRetriable(err):
				c.w.history.Report(history.Dirty, "%s reads %s at %d and is answered %v", c.l.name, p, c.positions[p], err)
			}
		}
	}
}

// readAll reads the topic back, unless that takes too long.
func (c *remaker) readAll(ctx context.Context, id topic.ID, p history.Partition) {
	// What it has read is there, too, whatever its writer was told of it.
	end := max(c.positions[p], c.acked+1)
	c.positions[p] = 0
	var all []history.Item
	for begun := time.Now(); c.positions[p] < end; {
		if time.Since(begun) > time.Minute || ctx.Err() != nil {
			return
		}
		c.read(ctx, id, p, func(_ history.Partition, _ int64, items []history.Item) { all = append(all, items...) })
		pass(ctx, 10*time.Millisecond)
	}
	c.w.history.Final(p, 0).Add(all...)
}

// remove deletes the topic.
func (c *remaker) remove(ctx context.Context, id topic.ID) {
	for ctx.Err() == nil {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.SetVersion(6)
		req.TimeoutMillis = int32(patience / time.Millisecond)
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.TopicID = id
		req.Topics = append(req.Topics, t)
		if answer, err := c.ask(ctx, c.seeds()[0], req); err == nil {
			err = kerr.ErrorForCode(answer.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode)
			if err == nil || errors.Is(err, kerr.UnknownTopicID) {
				return
			}
		}
		pass(ctx, between(c.rng, 20*time.Millisecond, 500*time.Millisecond))
	}
}

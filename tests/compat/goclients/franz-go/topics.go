package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func autoCreate(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e, kgo.AllowAutoTopicCreation())
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic := e.Unique()
	sent := driver.Numbered(3)
	if err := produce(ctx, x.cl, topic, sent); err != nil {
		return "", err
	}
	read, err := x.read(topic, 3)
	if err != nil {
		return "", err
	}
	if err := driver.SameSet(sent, records(read)); err != nil {
		return "", err
	}
	// Who does not allow it does not make topics.
	plain, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer plain.cl.Close()
	other := e.Unique()
	metadata, err := plain.adm.Metadata(ctx, other)
	if err != nil {
		return "", err
	}
	if got := metadata.Topics[other].Err; !errors.Is(got, kerr.UnknownTopicOrPartition) {
		return "", fmt.Errorf("metadata without leave to create: %v, want UNKNOWN_TOPIC_OR_PARTITION", got)
	}
	return "by the first produce; not where the client forbids it", nil
}

func createTopic(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	day, compact := "86400000", "compact"
	topic := e.Unique()
	configs := map[string]*string{"retention.ms": &day, "cleanup.policy": &compact}
	dry, err := x.adm.ValidateCreateTopics(ctx, 3, 1, configs, topic)
	if err != nil || dry[topic].Err != nil {
		return "", fmt.Errorf("validate: %v %v", err, dry[topic].Err)
	}
	answer, err := x.adm.CreateTopic(ctx, 3, 1, configs, topic)
	if err != nil {
		return "", fmt.Errorf("after validation only: %w", err)
	}
	if c := answer.Configs["retention.ms"]; answer.NumPartitions != 3 || answer.ReplicationFactor != 1 || c.MaybeValue() != day || c.Source != kmsg.ConfigSourceDynamicTopicConfig {
		return "", fmt.Errorf("answered with %d partitions, factor %d, retention.ms %q from %v", answer.NumPartitions, answer.ReplicationFactor, c.MaybeValue(), c.Source)
	}
	return "created with configs", nil
}

func topicsRefused(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	dry := e.Unique()
	if answer, err := x.adm.ValidateCreateTopics(ctx, 3, 1, nil, dry); err != nil || answer[dry].Err != nil {
		return "", fmt.Errorf("validate: %v %v", err, answer[dry].Err)
	}
	listed, err := x.adm.ListTopics(ctx)
	if err != nil || listed.Has(dry) {
		return "", fmt.Errorf("validation made the topic (%v)", err)
	}
	for want, call := range map[*kerr.Error]func() (kadm.CreateTopicResponse, error){
		kerr.TopicAlreadyExists:       func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 1, 1, nil, topic) },
		kerr.InvalidTopicException:    func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 1, 1, nil, "no spaces") },
		kerr.InvalidPartitions:        func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 0, 1, nil, e.Unique()) },
		kerr.InvalidReplicationFactor: func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 1, 0, nil, e.Unique()) },
	} {
		if answer, err := call(); !errors.Is(errors.Join(err, answer.Err), want) {
			return "", fmt.Errorf("want %v, got %v %v", want, err, answer.Err)
		}
	}
	return "duplicates, bad names, counts and factors refused; validate only creates nothing", nil
}

func describeTopic(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(3)
	if err != nil {
		return "", err
	}
	listed, err := x.adm.ListTopics(ctx)
	if err != nil {
		return "", err
	}
	d, ok := listed[topic]
	if !ok || d.Err != nil || len(d.Partitions) != 3 || d.IsInternal || d.ID == (kadm.TopicID{}) {
		return "", fmt.Errorf("listed as %+v", d)
	}
	for _, p := range d.Partitions {
		if p.Leader < 0 || len(p.Replicas) == 0 || len(p.ISR) == 0 || p.LeaderEpoch < 0 || p.Err != nil {
			return "", fmt.Errorf("partition %+v", p)
		}
	}
	byID := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.TopicID = d.ID
	byID.Topics = append(byID.Topics, mt)
	answer, err := byID.RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	if len(answer.Topics) != 1 || answer.Topics[0].ErrorCode != 0 || answer.Topics[0].Topic == nil || *answer.Topics[0].Topic != topic {
		return "", fmt.Errorf("by id: %+v", answer.Topics)
	}
	return "3 partitions with leaders; by name and by id", nil
}

func addPartitions(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(2)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic, kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 2, m); err != nil {
		return "", err
	}
	answer, err := x.adm.UpdatePartitions(ctx, 5, topic)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		return "", err
	}
	fewer, err := x.adm.UpdatePartitions(ctx, 3, topic)
	if err != nil || !errors.Is(fewer[topic].Err, kerr.InvalidPartitions) {
		return "", fmt.Errorf("fewer: %v %v, want INVALID_PARTITIONS", err, fewer[topic].Err)
	}
	if err := shared(ctx, 5, m); err != nil {
		return "", fmt.Errorf("the group after the change: %w", err)
	}
	p, err := open(ctx, e, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return "", err
	}
	defer p.cl.Close()
	sent := driver.Numbered(5)
	for i := range sent {
		sent[i].Partition = int32(i)
	}
	if err := produce(ctx, p.cl, topic, sent); err != nil {
		return "", err
	}
	if err := driver.Wait(ctx, func() error {
		if m.count() < 5 {
			return fmt.Errorf("%d of 5 records", m.count())
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	return "2 to 5 under a running group; fewer refused", driver.SameSet(sent, m.read)
}

func deleteTopic(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(2, 10)
	if err != nil {
		return "", err
	}
	if _, err := x.adm.DeleteTopic(ctx, topic); err != nil {
		return "", err
	}
	listed, err := x.adm.ListTopics(ctx)
	if err != nil || listed.Has(topic) {
		return "", fmt.Errorf("still listed (%v)", err)
	}
	if _, err := x.adm.DeleteTopic(ctx, topic); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return "", fmt.Errorf("again: %v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
	// Under the same name it is another topic, and empty.
	if answer, err := x.adm.CreateTopic(ctx, 1, 1, nil, topic); err != nil || answer.Err != nil {
		return "", fmt.Errorf("create again: %v %v", err, answer.Err)
	}
	end, err := x.adm.ListEndOffsets(ctx, topic)
	if o, _ := end.Lookup(topic, 0); err != nil || o.Offset != 0 {
		return "", fmt.Errorf("the new topic ends at %d (%v)", o.Offset, err)
	}
	sent := driver.Numbered(3)
	fresh, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer fresh.cl.Close()
	if err := produce(ctx, fresh.cl, topic, sent); err != nil {
		return "", err
	}
	read, err := x.read(topic, 3)
	if err != nil {
		return "", err
	}
	return "gone; made again under its name it is empty", driver.Same(sent, records(read))
}

func deleteRecords(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 50)
	if err != nil {
		return "", err
	}
	purge := func(to int64) (kadm.DeleteRecordsResponse, error) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: to})
		answers, err := x.adm.DeleteRecords(ctx, offsets)
		if err != nil {
			return kadm.DeleteRecordsResponse{}, err
		}
		answer, _ := answers.Lookup(topic, 0)
		return answer, answer.Err
	}
	if answer, err := purge(20); err != nil || answer.LowWatermark != 20 {
		return "", fmt.Errorf("low watermark %d, want 20 (%v)", answer.LowWatermark, err)
	}
	start, err := x.adm.ListStartOffsets(ctx, topic)
	if o, _ := start.Lookup(topic, 0); err != nil || o.Offset != 20 {
		return "", fmt.Errorf("earliest is %d, want 20 (%v)", o.Offset, err)
	}
	read, err := x.read(topic, 30)
	if err != nil {
		return "", err
	}
	if err := driver.Same(sent[20:], records(read)); err != nil {
		return "", err
	}
	// Who asks for what is gone starts again where there is something.
	c, err := open(ctx, e, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(3)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return "", err
	}
	defer c.cl.Close()
	if read, err = poll(ctx, c.cl, 30); err != nil {
		return "", err
	}
	if err := driver.Same(sent[20:], records(read)); err != nil {
		return "", fmt.Errorf("from a deleted offset: %w", err)
	}
	if _, err := purge(51); !errors.Is(err, kerr.OffsetOutOfRange) {
		return "", fmt.Errorf("past the end: %v, want OFFSET_OUT_OF_RANGE", err)
	}
	if answer, err := purge(-1); err != nil || answer.LowWatermark != 50 {
		return "", fmt.Errorf("all: low watermark %d, want 50 (%v)", answer.LowWatermark, err)
	}
	return "to an offset, all, past the end refused", nil
}

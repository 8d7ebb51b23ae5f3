package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

var autoCreate = with(func(x *t) (string, error) {
	topic, sent := x.Unique(), driver.Numbered(1)
	if err := x.produce(topic, sent); err != nil {
		return "", err
	}
	partitions, err := x.cl.Partitions(topic)
	if err != nil {
		return "", err
	}
	for _, p := range partitions {
		end, err := x.cl.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return "", err
		}
		if end == 1 {
			read, err := x.read(topic, p, sarama.OffsetOldest, 1)
			if err != nil {
				return "", err
			}
			return "by the first produce", driver.Same(sent, read)
		}
	}
	return "", fmt.Errorf("the record is in none of %d partitions", len(partitions))
})

var createTopic = with(func(x *t) (string, error) {
	topic, err := x.topic(3, "retention.ms", "86400000", "cleanup.policy", "compact")
	if err != nil {
		return "", err
	}
	dry := x.Unique()
	if err := x.adm.CreateTopic(dry, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, true); err != nil {
		return "", fmt.Errorf("validate only: %w", err)
	}
	for _, c := range []struct {
		name       string
		partitions int32
		factor     int16
		want       sarama.KError
	}{
		{topic, 1, 1, sarama.ErrTopicAlreadyExists},
		{"no spaces", 1, 1, sarama.ErrInvalidTopic},
		{x.Unique(), 0, 1, sarama.ErrInvalidPartitions},
		{x.Unique(), 1, 0, sarama.ErrInvalidReplicationFactor},
	} {
		if err := x.adm.CreateTopic(c.name, &sarama.TopicDetail{NumPartitions: c.partitions, ReplicationFactor: c.factor}, false); !errors.Is(err, c.want) {
			return "", fmt.Errorf("%+v: %v, want %v", c, err, c.want)
		}
	}
	listed, err := x.adm.ListTopics()
	if err != nil {
		return "", err
	}
	if _, ok := listed[dry]; ok {
		return "", fmt.Errorf("validation made the topic")
	}
	d, ok := listed[topic]
	if !ok || d.NumPartitions != 3 || d.ReplicationFactor != 1 || d.ConfigEntries["retention.ms"] == nil || *d.ConfigEntries["retention.ms"] != "86400000" {
		return "", fmt.Errorf("listed as %+v", d)
	}
	return "with configs; duplicates, bad names, counts and factors refused; validate only creates nothing", nil
})

var describeTopic = with(func(x *t) (string, error) {
	topic, err := x.topic(3)
	if err != nil {
		return "", err
	}
	described, err := x.adm.DescribeTopics([]string{topic, x.Unique()})
	if err != nil || len(described) != 2 {
		return "", fmt.Errorf("%+v %v", described, err)
	}
	if described[0].Name != topic {
		slices.Reverse(described)
	}
	if d := described[0]; d.Err != sarama.ErrNoError || len(d.Partitions) != 3 || d.Uuid == (sarama.Uuid{}) || d.Partitions[0].Leader < 0 || len(d.Partitions[0].Isr) == 0 {
		return "", fmt.Errorf("%+v", d)
	}
	if d := described[1]; d.Err != sarama.ErrUnknownTopicOrPartition {
		return "", fmt.Errorf("unknown topic: %v", d.Err)
	}
	return "3 partitions with leaders; an unknown one is told, not made", nil
})

var deleteTopic = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	if err := x.adm.DeleteTopic(topic); err != nil {
		return "", err
	}
	if err := x.adm.DeleteTopic(topic); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return "", fmt.Errorf("again: %v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
	listed, err := x.adm.ListTopics()
	if err != nil {
		return "", err
	}
	if _, ok := listed[topic]; ok {
		return "", fmt.Errorf("still listed")
	}
	return "gone", nil
})

var addPartitions = with(func(x *t) (string, error) {
	topic, err := x.topic(2)
	if err != nil {
		return "", err
	}
	if err := x.adm.CreatePartitions(topic, 5, nil, true); err != nil {
		return "", fmt.Errorf("validate only: %w", err)
	}
	if err := x.adm.CreatePartitions(topic, 5, nil, false); err != nil {
		return "", err
	}
	if err := x.adm.CreatePartitions(topic, 3, nil, false); !errors.Is(err, sarama.ErrInvalidPartitions) {
		return "", fmt.Errorf("fewer: %v, want INVALID_PARTITIONS", err)
	}
	if err := x.cl.RefreshMetadata(topic); err != nil {
		return "", err
	}
	now, err := x.cl.Partitions(topic)
	if err != nil || len(now) != 5 {
		return "", fmt.Errorf("partitions %v, want 5 (%v)", now, err)
	}
	return "2 to 5; fewer refused", nil
})

var deleteRecords = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 50)
	if err != nil {
		return "", err
	}
	if err := x.adm.DeleteRecords(topic, map[int32]int64{0: 20}); err != nil {
		return "", err
	}
	if start, err := x.cl.GetOffset(topic, 0, sarama.OffsetOldest); err != nil || start != 20 {
		return "", fmt.Errorf("earliest is %d, want 20 (%v)", start, err)
	}
	read, err := x.read(topic, 0, sarama.OffsetOldest, 30)
	if err != nil {
		return "", err
	}
	if err := driver.Same(sent[20:], read); err != nil {
		return "", err
	}
	if _, err := x.read(topic, 0, 3, 1); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		return "", fmt.Errorf("from a deleted offset: %v, want OFFSET_OUT_OF_RANGE", err)
	}
	if err := x.adm.DeleteRecords(topic, map[int32]int64{0: 51}); err == nil {
		return "", fmt.Errorf("deleting past the end was taken")
	}
	return "to an offset; past the end refused", nil
})

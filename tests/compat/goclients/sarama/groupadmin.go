package main

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

var removeMembers = with(func(x *t) (string, error) {
	topic, _, err := x.filled(2, 2)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic, instance("stays"))
	if err != nil {
		return "", err
	}
	gone, err := x.join(topic, topic, instance("gone"))
	if err != nil {
		return "", err
	}
	if err := shared(x, 1, stays, gone); err != nil {
		return "", err
	}
	if err := gone.leave(); err != nil {
		return "", err
	}
	answer, err := x.adm.RemoveMemberFromConsumerGroup(topic, []string{"gone"})
	if err != nil {
		return "", err
	}
	if answer.Err != sarama.ErrNoError || len(answer.Members) != 1 || answer.Members[0].Err != sarama.ErrNoError {
		return "", fmt.Errorf("%+v", answer)
	}
	if err := shared(x, 2, stays); err != nil {
		return "", err
	}
	return "by instance id, long before its session ends", stays.leave()
})

var listGroups = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 1)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 1, m); err != nil {
		return "", err
	}
	listed, err := x.adm.ListConsumerGroups()
	if err != nil || listed[topic] != "consumer" {
		return "", fmt.Errorf("listed as %q (%v)", listed[topic], err)
	}
	return "with its protocol type", m.leave()
})

var describeGroups = with(func(x *t) (string, error) {
	topic, _, err := x.filled(2, 4)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, m); err != nil {
		return "", err
	}
	described, err := x.adm.DescribeConsumerGroups([]string{topic})
	if err != nil || len(described) != 1 {
		return "", fmt.Errorf("%+v %v", described, err)
	}
	g := described[0]
	if g.Err != sarama.ErrNoError || g.State != "Stable" || g.ProtocolType != "consumer" || g.Protocol != "range" || len(g.Members) != 1 {
		return "", fmt.Errorf("%+v", g)
	}
	one := g.Members[m.id]
	if one == nil || one.ClientId != "compat-sarama" || one.ClientHost == "" {
		return "", fmt.Errorf("member %s: %+v", m.id, one)
	}
	assigned, err := one.GetMemberAssignment()
	if err != nil || len(assigned.Topics[topic]) != 2 {
		return "", fmt.Errorf("assigned %+v %v", assigned, err)
	}
	return "state, member, client, assignment", m.leave()
})

var deleteGroups = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 4)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := m.wait(x, 4); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroup(topic); !errors.Is(err, sarama.ErrNonEmptyGroup) {
		return "", fmt.Errorf("with a member: %v, want NON_EMPTY_GROUP", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroup(topic); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroup(topic); !errors.Is(err, sarama.ErrGroupIDNotFound) {
		return "", fmt.Errorf("again: %v, want GROUP_ID_NOT_FOUND", err)
	}
	return "refused with members, then gone", nil
})

// set sets a group's offset in two topics.
func (x *t) set(group string, offsets map[string]int64) error {
	request := map[string]map[int32]sarama.OffsetAndMetadata{}
	for topic, offset := range offsets {
		request[topic] = map[int32]sarama.OffsetAndMetadata{0: {Offset: offset, Metadata: "by hand", LeaderEpoch: -1}}
	}
	answer, err := x.adm.AlterConsumerGroupOffsets(group, request, nil)
	if err != nil {
		return err
	}
	for topic, partitions := range answer.Errors {
		for p, err := range partitions {
			if err != sarama.ErrNoError {
				return fmt.Errorf("%s/%d: %w", topic, p, err)
			}
		}
	}
	return nil
}

var resetOffsets = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 20)
	if err != nil {
		return "", err
	}
	if err := x.set(topic, map[string]int64{topic: 15}); err != nil {
		return "", err
	}
	all, err := x.adm.ListConsumerGroupOffsets(topic, nil)
	if err != nil {
		return "", err
	}
	if b := all.GetBlock(topic, 0); b == nil || b.Offset != 15 || b.Metadata != "by hand" {
		return "", fmt.Errorf("%+v, want 15 by hand", b)
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := m.wait(x, 5); err != nil {
		return "", err
	}
	if err := x.set(topic, map[string]int64{topic: 3}); !errors.Is(err, sarama.ErrUnknownMemberId) {
		return "", fmt.Errorf("with a member: %v, want UNKNOWN_MEMBER_ID", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	return "set and read, consumed from there; refused with members", driver.Same(sent[15:], m.read)
})

var deleteOffsets = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 20)
	if err != nil {
		return "", err
	}
	other, err := x.topic(1)
	if err != nil {
		return "", err
	}
	if err := x.set(topic, map[string]int64{topic: 20, other: 7}); err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 1, m); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroupOffset(topic, topic, 0); !errors.Is(err, sarama.ErrGroupSubscribedToTopic) {
		return "", fmt.Errorf("while subscribed: %v, want GROUP_SUBSCRIBED_TO_TOPIC", err)
	}
	if err := x.adm.DeleteConsumerGroupOffset(topic, other, 0); err != nil {
		return "", fmt.Errorf("of a topic that is not subscribed: %w", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	all, err := x.adm.ListConsumerGroupOffsets(topic, nil)
	if err != nil || all.GetBlock(topic, 0) == nil || all.GetBlock(other, 0) != nil {
		return "", fmt.Errorf("after the deletion: %+v %v", all, err)
	}
	return "one topic's; refused while subscribed", nil
})

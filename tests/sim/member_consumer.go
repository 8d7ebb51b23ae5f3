package sim

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/tests/history"
)

// consuming is the consumer protocol, KIP-848: one request tells what a member has
// and hears what it is to have.
type consuming struct {
	lives int
	told  bool // the coordinator knows what the member has
}

// beat implements protocol.
func (c *consuming) beat(ctx context.Context, m *member) error {
	if m.now.id == "" {
		c.lives++
		m.now.id = fmt.Sprintf("%s.%d", m.l.name, c.lives)
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.SetVersion(1)
	req.Group, req.MemberID, req.MemberEpoch = m.group, m.now.id, m.now.epoch
	req.RebalanceTimeoutMillis = -1
	if m.now.epoch == 0 || !c.told { // after an answer that did not come, all of it again
		req.RebalanceTimeoutMillis = int32(memberRebalance.Milliseconds())
		req.SubscribedTopicNames = m.w.topicNames()
		req.Topics = m.w.owned(*m.has.Load())
	}
	c.told = false
	answer, err := m.ask(ctx, patience, req)
	if err != nil {
		return err
	}
	got := answer.(*kmsg.ConsumerGroupHeartbeatResponse)
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return err
	}
	m.now.epoch = got.MemberEpoch
	if got.Assignment == nil {
		c.told = true
		m.take(*m.has.Load())
		return nil
	}
	var given []history.Partition
	for _, t := range got.Assignment.Topics {
		for _, index := range t.Partitions {
			given = append(given, m.w.partition(topic.Partition{Topic: t.TopicID, Index: index}))
		}
	}
	m.take(given) // and the next beat says so
	return nil
}

// leave implements protocol.
func (c *consuming) leave(ctx context.Context, m *member) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.SetVersion(1)
	req.Group, req.MemberID, req.MemberEpoch = m.group, m.now.id, -1
	_, _ = m.ask(ctx, patience, req) // who is not heard is missed later
}

// owned names partitions by their topics' ids.
func (w *World) owned(has []history.Partition) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	owned := []kmsg.ConsumerGroupHeartbeatRequestTopic{} // null would say nothing
	for _, plan := range w.plan.Topics {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		t.TopicID = w.ids[plan.Name]
		for _, p := range has {
			if p.Topic == plan.Name {
				t.Partitions = append(t.Partitions, p.Index)
			}
		}
		if len(t.Partitions) > 0 {
			owned = append(owned, t)
		}
	}
	return owned
}

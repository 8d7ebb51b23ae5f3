package group

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/topic"
)

// consumers is a group of the consumer protocol, which package consumer keeps, as
// one of the kinds.
type consumers struct {
	*consumer.State
	told uint64          // the version that Changed told of last
	gone []consumer.Gone // given up since they were logged last
}

// Expire implements kind.
func (k *consumers) Expire(now time.Time) { k.gone = append(k.gone, k.State.Expire(now)...) }

// Take implements kind: no request is parked.
func (k *consumers) Take() []Answer { return nil }

// Changed implements kind.
func (k *consumers) Changed() bool {
	changed := k.told != k.Version()
	k.told = k.Version()
	return changed
}

// Durable implements kind.
func (k *consumers) Durable() Stored {
	head, rows := k.Encode()
	return Stored{Head: append([]byte{headConsumer}, head...), Rows: rows}
}

// Idle implements kind.
func (k *consumers) Idle() bool { return k.Len() == 0 }

// Summary implements kind.
func (k *consumers) Summary() Summary {
	return Summary{Kind: Consumer, ProtocolType: consumer.ClassicType, Phase: Phase(k.Phase()), Generation: k.Epoch(), Members: k.Len()}
}

// committable checks that offsets of partitions may be committed, which keeps a
// member of the classic protocol alive; others have their heartbeats.
func (g *running) committable(now time.Time, id, instance string, generation int32, partitions iter.Seq[topic.Partition]) error {
	switch k := g.kind.(type) {
	case *State:
		return k.Committable(now, id, instance, generation)
	case *consumers:
		return k.Committable(id, instance, generation, partitions)
	}
	return nil
}

// Since implements kind: what somebody reads does not expire.
func (k *consumers) Since(topic string, committed time.Time) (time.Time, bool) {
	return committed, !k.Subscribed(topic)
}

func restoreConsumers(stored Stored, limits consumer.Limits, now time.Time) (*consumers, error) {
	s, err := consumer.Decode(limits, now, stored.Head[1:], stored.Rows)
	if err != nil {
		return nil, err
	}
	return &consumers{State: s}, nil
}

// summarizeConsumers reads what a head tells. Whether members are still on their
// way to what they are to have is in their rows.
func summarizeConsumers(head []byte) (Summary, error) {
	h, err := consumer.DecodeHead(head[1:])
	s := Summary{Kind: Consumer, ProtocolType: consumer.ClassicType, Phase: Stable, Generation: h.Epoch, Members: h.Members}
	switch {
	case h.Members == 0:
		s.Phase = Empty
	case h.Epoch > h.AssignmentEpoch:
		s.Phase = Phase(consumer.Assigning)
	}
	return s, err
}

// consumers returns the group as one of the consumer protocol; nil if it is none.
func (g *running) consumers() *consumers {
	k, _ := g.kind.(*consumers)
	return k
}

// ConsumerHeartbeat runs a heartbeat of the consumer protocol, and returns when
// what it is answered is stored, with the time until the next one is due.
func (c *Coordinator) ConsumerHeartbeat(ctx context.Context, group string, r consumer.Heartbeat) (beat consumer.Beat, interval time.Duration, err error) {
	if group == "" {
		return beat, 0, fmt.Errorf("%w: GroupId must not be empty", consumer.ErrInvalid)
	}
	done := make(chan error, 1)
	_, err = c.with(ctx, group, func(g *running, now time.Time) {
		if ctx.Err() != nil && r.Epoch >= 0 {
			// Who has hung up may have asked again elsewhere, and have been given
			// since what it says here that it does not hold. Who leaves is heard.
			done <- fmt.Errorf("%w: %w", ErrNotStored, ctx.Err())
			return
		}
		var refused error
		if beat, refused = g.heartbeat(now, r); refused != nil {
			if errors.Is(refused, ErrGroupFull) {
				c.metrics.full.Inc()
			}
			done <- refused // tells of nothing that could be lost
			return
		}
		g.told = append(g.told, func(err error) { done <- err })
	})
	if err != nil {
		return beat, 0, err
	}
	select {
	case err = <-done:
		return beat, c.times(group).Heartbeat, err
	case <-ctx.Done():
		return beat, 0, fmt.Errorf("%w: %w", ErrNotStored, ctx.Err())
	}
}

// heartbeat runs a heartbeat on a group, which is made, or becomes one of the
// consumer protocol, when somebody joins.
func (g *running) heartbeat(now time.Time, r consumer.Heartbeat) (consumer.Beat, error) {
	c := g.term.coordinator
	k, topics := g.consumers(), c.topics()
	if k == nil {
		if r.Epoch != consumer.EpochJoin {
			// A member of a group that is none, or is one of the classic protocol
			// again, is to join.
			return consumer.Beat{}, ErrUnknownMember
		}
		var err error
		if k, err = g.upgraded(now, topics); err != nil {
			return consumer.Beat{}, err
		}
	}
	k.SetLimits(c.limitsOf(g.name).consumer())
	beat, err := k.Heartbeat(now, topics, r)
	if err == nil && k != g.kind {
		g.upgrade(k)
	}
	return beat, err
}

// logGone tells of members that were given up.
func (g *running) logGone() {
	k := g.consumers()
	if k == nil {
		return
	}
	for _, one := range k.gone {
		g.term.coordinator.log.Info("a member was given up", "group", g.name, "member", one.Member.ID, "instance", one.Member.InstanceID,
			"client", one.Member.ClientID, "host", one.Member.Host, "reason", one.Why)
	}
	k.gone = nil
}

// NewConsumerID returns the id of a member that does not choose its own.
func NewConsumerID() string { return rand.Text() }

// joinConsumers runs a JoinRequest on a group of the consumer protocol.
func (g *running) joinConsumers(now time.Time, k *consumers, r JoinRequest, t Ticket) {
	c := g.term.coordinator
	k.SetLimits(c.limitsOf(g.name).consumer())
	err := c.limits.checkSession(r.SessionTimeout)
	var joined consumer.ClassicJoined
	if err == nil {
		joined, err = k.Join(now, c.topics(), consumer.ClassicJoin{
			MemberID: r.MemberID, NewMemberID: r.NewMemberID, InstanceID: r.InstanceID, ClientID: r.ClientID, Host: r.Host,
			ProtocolType: r.ProtocolType, Protocols: r.Protocols, SessionTimeout: r.SessionTimeout, RebalanceTimeout: r.RebalanceTimeout,
			IDFirst: r.IDFirst,
		})
	}
	id := cmp.Or(joined.MemberID, r.MemberID)
	if err != nil {
		t <- Answer{Joined: Joined{Generation: -1, MemberID: id}, Err: err}
		return
	}
	g.told = append(g.told, func(err error) {
		if err != nil {
			t <- Answer{Joined: Joined{Generation: -1, MemberID: id}, Err: err}
			return
		}
		t <- Answer{Joined: Joined{Generation: joined.Generation, ProtocolType: consumer.ClassicType, Protocol: joined.Protocol, MemberID: id}}
	})
}

// syncConsumers runs a SyncRequest on a group of the consumer protocol.
func (g *running) syncConsumers(now time.Time, k *consumers, r SyncRequest, t Ticket) {
	synced, err := k.Sync(now, g.term.coordinator.topics(), consumer.ClassicSync{
		MemberID: r.MemberID, InstanceID: r.InstanceID, Generation: r.Generation, ProtocolType: r.ProtocolType, Protocol: r.Protocol,
	})
	if err != nil {
		t <- Answer{Err: err}
		return
	}
	g.told = append(g.told, func(err error) {
		t <- Answer{Synced: Synced{consumer.ClassicType, synced.Protocol, synced.Assignment}, Err: err}
	})
}

// DescribeConsumers shows a group of the consumer protocol, and the topics that
// its assignments are of. ErrGroupUnknown.
func (c *Coordinator) DescribeConsumers(ctx context.Context, group string) (d consumer.Description, topics *consumer.Topics, err error) {
	if group == "" {
		return d, nil, ErrInvalidGroupID
	}
	refused := fmt.Errorf("%w of the consumer protocol", ErrGroupUnknown)
	_, err = c.with(ctx, group, func(g *running, _ time.Time) {
		if k := g.consumers(); k != nil {
			d, topics, refused = k.Describe(), c.topics(), nil
		}
	})
	return d, topics, cmp.Or(err, refused)
}

// Fetchable checks that a member of that epoch may fetch the group's committed
// offsets. Only groups of the consumer protocol look; who says neither id nor
// epoch may always.
func (c *Coordinator) Fetchable(ctx context.Context, group, id string, epoch int32) error {
	if id == "" && epoch < 0 {
		return c.Check(group)
	}
	var refused error
	_, err := c.with(ctx, group, func(g *running, _ time.Time) {
		if k := g.consumers(); k != nil {
			refused = k.Fetchable(id, epoch)
		}
	})
	return cmp.Or(err, refused)
}

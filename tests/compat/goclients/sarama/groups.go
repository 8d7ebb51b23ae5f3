package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

// member is a consumer in a group.
type member struct {
	group   sarama.ConsumerGroup
	mu      sync.Mutex
	owned   map[int32]bool
	revoked int
	read    []driver.Record
	errs    []error
	id      string
	gen     int32
	stop    context.CancelFunc
	done    chan struct{}
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id, m.gen = s.MemberID(), s.GenerationID()
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	m.mu.Lock()
	m.owned[c.Partition()] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.owned, c.Partition())
		m.revoked++
		m.mu.Unlock()
	}()
	for {
		select {
		case message, ok := <-c.Messages():
			if !ok {
				return nil
			}
			m.mu.Lock()
			m.read = append(m.read, fromSarama(message))
			m.mu.Unlock()
			s.MarkMessage(message, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func (m *member) failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs = append(m.errs, err)
}

func (x *t) join(group, topic string, change ...func(*sarama.Config)) (*member, error) {
	g, err := sarama.NewConsumerGroup([]string{x.Bootstrap}, group, config(change...))
	if err != nil {
		return nil, err
	}
	m := &member{group: g, owned: map[int32]bool{}, done: make(chan struct{})}
	ctx, stop := context.WithCancel(x)
	m.stop = stop
	go func() {
		for err := range g.Errors() {
			m.failed(err)
		}
	}()
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
				m.failed(err)
			}
		}
	}()
	return m, nil
}

// leave stops, commits what was marked, and leaves the group.
func (m *member) leave() error {
	m.stop()
	<-m.done
	return m.group.Close()
}

func (m *member) partitions() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var owned []int32
	for p := range m.owned {
		owned = append(owned, p)
	}
	slices.Sort(owned)
	return owned
}

func (m *member) wait(ctx context.Context, n int) error {
	return driver.Wait(ctx, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.read) < n {
			return fmt.Errorf("%d of %d records (errors %v)", len(m.read), n, m.errs)
		}
		return nil
	})
}

// shared waits until the members own n partitions each, none of them twice.
func shared(ctx context.Context, n int, members ...*member) error {
	return driver.Wait(ctx, func() error {
		seen := map[int32]bool{}
		for i, m := range members {
			owned := m.partitions()
			if len(owned) != n {
				m.mu.Lock()
				defer m.mu.Unlock()
				return fmt.Errorf("member %d owns partitions %v, want %d of them (errors %v)", i, owned, n, m.errs)
			}
			for _, p := range owned {
				if seen[p] {
					return fmt.Errorf("partition %d is owned twice", p)
				}
				seen[p] = true
			}
		}
		return nil
	})
}

var groupResume = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 10)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for life := range 3 {
		m, err := x.join(topic, topic)
		if err != nil {
			return "", err
		}
		if life > 0 {
			more := driver.Numbered(10 * (life + 1))[10*life:]
			if err := x.produce(topic, more); err != nil {
				return "", err
			}
			sent = append(sent, more...)
		}
		if err := m.wait(x, 10); err != nil {
			return "", fmt.Errorf("life %d: %w", life, err)
		}
		if err := m.leave(); err != nil {
			return "", err
		}
		read = append(read, m.read...)
	}
	if err := driver.Same(sent, read); err != nil {
		return "", err
	}
	committed, err := x.adm.ListConsumerGroupOffsets(topic, map[string][]int32{topic: {0}})
	if err != nil {
		return "", err
	}
	if b := committed.GetBlock(topic, 0); b == nil || b.Offset != 30 {
		return "", fmt.Errorf("committed is %+v, want 30", b)
	}
	return "three lives, 10 records each, none twice", nil
})

var noOffset = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 3)
	if err != nil {
		return "", err
	}
	committed, err := x.adm.ListConsumerGroupOffsets(x.Unique(), map[string][]int32{topic: {0}})
	if err != nil {
		return "", err
	}
	if b := committed.GetBlock(topic, 0); b == nil || b.Offset != -1 || b.Err != sarama.ErrNoError || committed.Err != sarama.ErrNoError {
		return "", fmt.Errorf("%+v %v, want -1 and no error", b, committed.Err)
	}
	om, err := sarama.NewOffsetManagerFromClient(x.Unique(), x.cl)
	if err != nil {
		return "", err
	}
	defer om.Close()
	p, err := om.ManagePartition(topic, 0)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if next, _ := p.NextOffset(); next != sarama.OffsetOldest {
		return "", fmt.Errorf("the offset manager starts at %d, want the initial offset, oldest", next)
	}
	return "-1, no error", nil
})

var groupRebalance = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(4, 100)
	if err != nil {
		return "", err
	}
	first, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 4, first); err != nil {
		return "", err
	}
	if err := first.wait(x, 100); err != nil {
		return "", err
	}
	second, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, first, second); err != nil {
		return "", err
	}
	if err := first.leave(); err != nil {
		return "", err
	}
	if err := shared(x, 4, second); err != nil {
		return "", fmt.Errorf("after the other left: %w", err)
	}
	more := driver.Numbered(120)[100:]
	if err := x.produce(topic, more); err != nil {
		return "", err
	}
	if err := second.wait(x, 20); err != nil {
		return "", err
	}
	if err := second.leave(); err != nil {
		return "", err
	}
	return "4 partitions: alone 4, two 2+2, after the leave 4; every record once", driver.SameSet(slices.Concat(sent, more), slices.Concat(first.read, second.read))
})

var groupRejoin = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(2, 40)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := stays.wait(x, 40); err != nil {
		return "", err
	}
	for round := range 3 {
		other, err := x.join(topic, topic)
		if err != nil {
			return "", err
		}
		if err := shared(x, 1, stays, other); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if err := other.leave(); err != nil {
			return "", err
		}
		if err := shared(x, 2, stays); err != nil {
			return "", fmt.Errorf("round %d, after the leave: %w", round, err)
		}
		if len(other.read) != 0 {
			return "", fmt.Errorf("round %d: %d records that were committed came again", round, len(other.read))
		}
	}
	if err := stays.leave(); err != nil {
		return "", err
	}
	return "left and joined again three times", driver.SameSet(sent, stays.read)
})

func instance(id string) func(*sarama.Config) {
	return func(c *sarama.Config) {
		c.Consumer.Group.InstanceId = id
		c.Consumer.Group.Session.Timeout = 45 * time.Second
	}
}

var staticMember = with(func(x *t) (string, error) {
	topic, _, err := x.filled(4, 4)
	if err != nil {
		return "", err
	}
	one, err := x.join(topic, topic, instance("one"))
	if err != nil {
		return "", err
	}
	two, err := x.join(topic, topic, instance("two"))
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, one, two); err != nil {
		return "", err
	}
	had, generation := two.partitions(), one.gen
	if err := two.leave(); err != nil {
		return "", err
	}
	again, err := x.join(topic, topic, instance("two"))
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, one, again); err != nil {
		return "", fmt.Errorf("after the restart: %w", err)
	}
	if now := again.partitions(); !slices.Equal(now, had) {
		return "", fmt.Errorf("after the restart it has %v, had %v", now, had)
	}
	if again.gen != generation || again.id == two.id {
		return "", fmt.Errorf("generation %d became %d, member %s became %s", generation, again.gen, two.id, again.id)
	}
	return "restart without rebalance, same partitions", errors.Join(one.leave(), again.leave())
})

var cooperative = with(func(x *t) (string, error) {
	topic, _, err := x.filled(6, 6)
	if err != nil {
		return "", err
	}
	sticky := func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	}
	first, err := x.join(topic, topic, sticky)
	if err != nil {
		return "", err
	}
	if err := shared(x, 6, first); err != nil {
		return "", err
	}
	second, err := x.join(topic, topic, sticky)
	if err != nil {
		return "", err
	}
	if err := shared(x, 3, first, second); err != nil {
		return "", err
	}
	first.mu.Lock()
	revoked := first.revoked
	first.mu.Unlock()
	if revoked != 3 {
		return "", fmt.Errorf("the first member had %d partitions revoked, want 3", revoked)
	}
	if err := second.leave(); err != nil {
		return "", err
	}
	if err := shared(x, 6, first); err != nil {
		return "", err
	}
	return "only the 3 partitions that moved were revoked", first.leave()
})

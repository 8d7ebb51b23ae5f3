package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

// member is a consumer in a group, and what became of its assignment.
type member struct {
	*t
	mu      sync.Mutex
	owned   map[int32]bool
	revoked []int32
	lost    []int32
	stop    context.CancelFunc
	read    []driver.Record
	failed  error
	done    chan struct{}
}

// join starts a member that reads and keeps on reading until it is stopped.
func (x *t) join(group, topic string, options ...kgo.Opt) (*member, error) {
	m := &member{owned: map[int32]bool{}, done: make(chan struct{})}
	note := func(list *[]int32, own bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range partitions[topic] {
				if own {
					m.owned[p] = true
				} else {
					delete(m.owned, p)
				}
			}
			if list != nil {
				*list = append(*list, partitions[topic]...)
			}
		}
	}
	options = append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(note(nil, true)),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, partitions map[string][]int32) {
			_ = cl.CommitUncommittedOffsets(ctx) // kgo's own would, and this one replaces it
			note(&m.revoked, false)(ctx, cl, partitions)
		}),
		kgo.OnPartitionsLost(note(&m.lost, false)),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
	}, options...)
	var err error
	if m.t, err = open(x, x.Env, options...); err != nil {
		return nil, err
	}
	polling, stop := context.WithCancel(x)
	m.stop = stop
	go func() {
		defer close(m.done)
		for polling.Err() == nil {
			fetches := m.cl.PollFetches(polling)
			m.mu.Lock()
			m.read = append(m.read, records(fetches.Records())...)
			for _, err := range fetches.Errors() {
				if polling.Err() == nil && m.failed == nil && !errors.Is(err.Err, context.Canceled) {
					m.failed = err.Err
				}
			}
			m.mu.Unlock()
		}
	}()
	return m, nil
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

func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.read)
}

// leave commits, leaves the group (static members do not) and closes.
func (m *member) leave() error {
	m.stop()
	<-m.done
	err := m.cl.CommitUncommittedOffsets(m.Context)
	m.cl.Close()
	if m.failed != nil {
		return m.failed
	}
	return err
}

// shared waits until the members own all the partitions, n each, none twice.
func shared(ctx context.Context, n int, members ...*member) error {
	return driver.Wait(ctx, func() error {
		seen := map[int32]bool{}
		for i, m := range members {
			owned := m.partitions()
			if len(owned) != n {
				return fmt.Errorf("member %d owns partitions %v, want %d of them", i, owned, n)
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

func groupResume(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 30)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for from := 0; from < 30; from += 10 { // three lives of one member
		c, err := open(ctx, e, kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return "", err
		}
		for len(read) < from+10 {
			fetches := c.cl.PollRecords(ctx, from+10-len(read))
			if err := fetches.Err(); err != nil {
				return "", err
			}
			read = append(read, records(fetches.Records())...)
			if err := c.cl.CommitRecords(ctx, fetches.Records()...); err != nil {
				return "", fmt.Errorf("commit: %w", err)
			}
		}
		c.cl.Close()
	}
	if err := driver.Same(sent, read); err != nil {
		return "", err
	}
	committed, err := x.adm.FetchOffsets(ctx, topic)
	if err != nil {
		return "", err
	}
	if o, _ := committed.Lookup(topic, 0); o.At != 30 {
		return "", fmt.Errorf("committed is %d, want 30", o.At)
	}
	return "three lives, 10 records each, none twice", nil
}

func groupRebalance(consumerProtocol bool) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		var options []kgo.Opt
		if consumerProtocol {
			options = append(options, kgo.ServerSideBalancer())
		}
		x, err := open(ctx, e)
		if err != nil {
			return "", err
		}
		defer x.cl.Close()
		topic, sent, err := x.filled(4, 100)
		if err != nil {
			return "", err
		}
		first, err := x.join(topic, topic, options...)
		if err != nil {
			return "", err
		}
		if err := shared(ctx, 4, first); err != nil {
			return "", fmt.Errorf("alone: %w", err)
		}
		if err := driver.Wait(ctx, func() error {
			if n := first.count(); n < 100 {
				return fmt.Errorf("%d of 100 records", n)
			}
			return nil
		}); err != nil {
			return "", err
		}
		if err := first.cl.CommitUncommittedOffsets(ctx); err != nil {
			return "", fmt.Errorf("commit: %w", err)
		}
		second, err := x.join(topic, topic, options...)
		if err != nil {
			return "", err
		}
		if err := shared(ctx, 2, first, second); err != nil {
			return "", fmt.Errorf("two: %w", err)
		}
		if consumerProtocol {
			if err := x.isConsumerGroup(topic, 2); err != nil {
				return "", err
			}
		}
		if err := first.leave(); err != nil {
			return "", fmt.Errorf("leave: %w", err)
		}
		if err := shared(ctx, 4, second); err != nil {
			return "", fmt.Errorf("after the other left: %w", err)
		}
		more := driver.Numbered(120)[100:]
		if err := produce(ctx, x.cl, topic, more); err != nil {
			return "", err
		}
		if err := driver.Wait(ctx, func() error {
			if n := second.count(); n < 20 {
				return fmt.Errorf("%d of 20 new records", n)
			}
			return nil
		}); err != nil {
			return "", err
		}
		if err := second.leave(); err != nil {
			return "", err
		}
		return "4 partitions: alone 4, two 2+2, after the leave 4; every record once", driver.SameSet(slices.Concat(sent, more), slices.Concat(first.read, second.read))
	}
}

func (x *t) isConsumerGroup(group string, members int) error {
	listed, err := x.adm.ListGroupsByType(x, []string{"consumer"})
	if err != nil {
		return err
	}
	if _, ok := listed[group]; !ok {
		return fmt.Errorf("the group is not listed with type consumer: franz-go fell back to the classic protocol")
	}
	described, err := x.adm.DescribeConsumerGroups(x, group)
	if err != nil {
		return err
	}
	if d := described[group]; d.Err != nil || len(d.Members) != members {
		return fmt.Errorf("described with %d members, want %d (error %v)", len(d.Members), members, d.Err)
	}
	return nil
}

func groupRejoin(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(2, 40)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for round := range 3 {
		other, err := x.join(topic, topic)
		if err != nil {
			return "", err
		}
		if err := shared(ctx, 1, stays, other); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if err := other.leave(); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		read = append(read, other.read...)
		if err := shared(ctx, 2, stays); err != nil {
			return "", fmt.Errorf("round %d, after the leave: %w", round, err)
		}
	}
	if err := driver.Wait(ctx, func() error {
		if n := stays.count() + len(read); n < len(sent) {
			return fmt.Errorf("%d of %d records", n, len(sent))
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := stays.leave(); err != nil {
		return "", err
	}
	return "left and joined again three times; every record once", driver.SameSet(sent, append(read, stays.read...))
}

func staticMember(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(4, 4)
	if err != nil {
		return "", err
	}
	one, err := x.join(topic, topic, kgo.InstanceID("one"))
	if err != nil {
		return "", err
	}
	two, err := x.join(topic, topic, kgo.InstanceID("two"))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 2, one, two); err != nil {
		return "", err
	}
	had := two.partitions()
	before, _ := two.cl.GroupMetadata()
	_, generation := one.cl.GroupMetadata()
	if err := two.leave(); err != nil {
		return "", err
	}
	again, err := x.join(topic, topic, kgo.InstanceID("two"))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 2, one, again); err != nil {
		return "", fmt.Errorf("after the restart: %w", err)
	}
	if now := again.partitions(); !slices.Equal(now, had) {
		return "", fmt.Errorf("after the restart it has %v, had %v", now, had)
	}
	after, same := again.cl.GroupMetadata()
	if same != generation {
		return "", fmt.Errorf("generation went from %d to %d: a rebalance", generation, same)
	}
	if after == before {
		return "", fmt.Errorf("member id %s is the old one", after)
	}
	if err := again.leave(); err != nil {
		return "", err
	}
	return "restart without rebalance, same partitions", one.leave()
}

func cooperative(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(6, 6)
	if err != nil {
		return "", err
	}
	balancer := kgo.Balancers(kgo.CooperativeStickyBalancer())
	first, err := x.join(topic, topic, balancer)
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 6, first); err != nil {
		return "", err
	}
	second, err := x.join(topic, topic, balancer)
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 3, first, second); err != nil {
		return "", err
	}
	first.mu.Lock()
	revoked, lost := len(first.revoked), len(first.lost)
	first.mu.Unlock()
	if revoked != 3 || lost != 0 {
		return "", fmt.Errorf("the first member had %d partitions revoked and %d lost, want 3 and none", revoked, lost)
	}
	if err := second.leave(); err != nil {
		return "", err
	}
	if err := shared(ctx, 6, first); err != nil {
		return "", err
	}
	return "only the 3 partitions that moved were revoked", first.leave()
}

func regex(consumerProtocol bool) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		x, err := open(ctx, e)
		if err != nil {
			return "", err
		}
		defer x.cl.Close()
		prefix := e.Unique()
		for _, suffix := range []string{"-a", "-b", "-other"} {
			answer, err := x.adm.CreateTopic(ctx, 1, -1, nil, prefix+suffix)
			if err != nil || answer.Err != nil {
				return "", errors.Join(err, answer.Err)
			}
			if err := produce(ctx, x.cl, prefix+suffix, []driver.Record{{Value: []byte(suffix)}}); err != nil {
				return "", err
			}
		}
		options := []kgo.Opt{kgo.ConsumerGroup(prefix), kgo.ConsumeRegex(), kgo.ConsumeTopics("^" + prefix + "-[ab]$"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
		if consumerProtocol {
			options = append(options, kgo.ServerSideBalancer())
		}
		c, err := open(ctx, e, options...)
		if err != nil {
			return "", err
		}
		defer c.cl.Close()
		read, err := poll(ctx, c.cl, 2)
		if err != nil {
			return "", err
		}
		var values []string
		for _, r := range read {
			values = append(values, string(r.Value))
		}
		sort.Strings(values)
		if !slices.Equal(values, []string{"-a", "-b"}) {
			return "", fmt.Errorf("read %q, want those of -a and -b", values)
		}
		if consumerProtocol {
			if err := x.isConsumerGroup(prefix, 1); err != nil {
				return "", err
			}
		}
		return "two of three topics match", nil
	}
}

func noOffset(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	committed, err := x.adm.FetchOffsets(ctx, e.Unique())
	if err != nil {
		return "", fmt.Errorf("all topics: %w", err)
	}
	if len(committed) != 0 {
		return "", fmt.Errorf("an unknown group has offsets: %v", committed)
	}
	// kadm hides what was never committed: ask as a consumer does.
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = e.Unique()
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.Partitions = topic, []int32{0}
	g.Topics = append(g.Topics, gt)
	req.Groups = append(req.Groups, g)
	req.Group, req.Topics = g.Group, []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{0}}}
	answer, err := req.RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	if len(answer.Groups) != 1 || len(answer.Groups[0].Topics) != 1 || len(answer.Groups[0].Topics[0].Partitions) != 1 {
		return "", fmt.Errorf("answer of another shape: %+v", answer)
	}
	p := answer.Groups[0].Topics[0].Partitions[0]
	if answer.Groups[0].ErrorCode != 0 || p.ErrorCode != 0 || p.Offset != -1 || p.Metadata == nil || *p.Metadata != "" {
		return "", fmt.Errorf("offset %d, error %d, metadata %v; want -1, none, empty", p.Offset, p.ErrorCode, p.Metadata)
	}
	return "-1, no error", nil
}

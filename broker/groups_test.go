package broker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/disk"
)

// consumer is a franz-go member of a group that notes what happens to it.
type consumer struct {
	*kgo.Client
	mu      sync.Mutex
	changes []string
	heard   map[string]int
	stopped chan struct{}
}

func (r *rig) consume(name string, opts ...kgo.Opt) *consumer {
	r.t.Helper()
	return consume(r.t, []string{r.address}, name, opts...)
}

func consume(t testing.TB, seeds []string, name string, opts ...kgo.Opt) *consumer {
	t.Helper()
	c := &consumer{heard: make(map[string]int), stopped: make(chan struct{})}
	note := func(what string) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.changes = append(c.changes, fmt.Sprint(what, parts))
		}
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ClientID(name),
		kgo.HeartbeatInterval(100 * time.Millisecond), kgo.SessionTimeout(20 * time.Second), kgo.AutoCommitInterval(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(note("assigned")), kgo.OnPartitionsRevoked(note("revoked")), kgo.OnPartitionsLost(note("lost")),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	c.Client = client
	go func() {
		defer close(c.stopped)
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(func(record *kgo.Record) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.heard[string(record.Value)]++
			})
		}
	}()
	t.Cleanup(func() {
		client.CloseAllowingRebalance()
		<-c.stopped
	})
	return c
}

func (c *consumer) times(value string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard[value]
}

func (c *consumer) history() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.changes...)
}

// within waits until holds.
func within(t testing.TB, d time.Duration, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, d, 10*time.Millisecond, what)
}

// stable waits until the group is stable with that many members, each with
// partitions, and returns it.
func (r *rig) stable(members int) kadm.DescribedGroup {
	r.t.Helper()
	return stable(r.t, r.client, members)
}

func stable(t testing.TB, client *kgo.Client, members int) kadm.DescribedGroup {
	t.Helper()
	var g kadm.DescribedGroup
	var err error
	defer func() {
		if t.Failed() {
			t.Logf("the group is %s with %d members: %v, %v", g.State, len(g.Members), g.Err, err)
		}
	}()
	within(t, time.Minute, "the group is stable", func() bool {
		var described kadm.DescribedGroups
		described, err = kadm.NewClient(client).DescribeGroups(t.Context(), "g")
		g = described["g"]
		return err == nil && g.State == "Stable" && len(g.Members) == members
	})
	return g
}

func TestARestartOfTheCoordinatorRebalancesNothing(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{})
	r.create("t", 4, nil)
	a, b := r.consume("a"), r.consume("b")
	r.stable(2)
	static := r.consume("s", kgo.InstanceID("s"))
	before := r.stable(3)
	generation := func(c *consumer) int32 {
		_, g := c.GroupMetadata()
		return g
	}
	all := []*consumer{a, b, static}
	within(t, time.Minute, "all are of one generation", func() bool {
		return generation(a) == generation(b) && generation(b) == generation(static)
	})
	// A cooperative group moves partitions in two rebalances.
	within(t, time.Minute, "every partition has an owner", func() bool {
		before = r.stable(3)
		return len(before.AssignedPartitions()["t"]) == 4
	})
	was := generation(a)
	for i := range int32(4) {
		r.produce("t", i, fmt.Sprint("before ", i))
	}
	heard := func(value string) func() bool {
		return func() bool { return a.times(value)+b.times(value)+static.times(value) == 1 }
	}
	for i := range 4 {
		within(t, time.Minute, "it is consumed", heard(fmt.Sprint("before ", i)))
	}
	// Only now: who consumes a partition has been told that it is his.
	var changes [][]string
	for _, c := range all {
		changes = append(changes, c.history())
	}

	for range 2 {
		r.restart()
		after := r.stable(3)
		require.Equal(t, before.Members, after.Members, "ids, hosts, subscriptions and assignments are what they were")
	}
	for i := range int32(4) {
		r.produce("t", i, fmt.Sprint("after ", i))
	}
	for i := range 4 {
		within(t, time.Minute, "it is consumed after the restart", heard(fmt.Sprint("after ", i)))
	}
	for i, c := range all {
		require.Equal(t, was, generation(c))
		require.Equal(t, changes[i], c.history(), "no assignment has changed hands")
	}
	// A static member that is away keeps its place over a restart.
	static.CloseAllowingRebalance() // without leaving, since it is static
	r.restart()
	r.stable(3)
}

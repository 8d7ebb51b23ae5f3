package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/metastore"
)

// The coordinator of a group is drained, stopped and killed, one broker after the
// other, while its members read and commit. They are told where to go on, and do:
// nobody is given anything else to read, no generation begins, and what was
// committed never goes back.
func TestAGroupFollowsItsCoordinatorWithoutARebalance(t *testing.T) {
	c := newBrokers(t, 3, func(cfg *broker.Config) {
		cfg.SessionTTL, cfg.StopTimeout = 3*time.Second, 2*time.Second
		cfg.API.TopicDefaults["durability"] = "object" // what a killed broker had others go on with at once
	})
	var seeds []string
	for _, n := range c.nodes {
		seeds = append(seeds, n.client.Addr().String())
	}
	// franz-go's admin requests do not ask again for a coordinator that cannot be
	// dialed, so each time another client asks.
	ask := func() *kgo.Client { return c.dial(c.nodes[0].client.Addr(), kgo.SeedBrokers(seeds...)) }
	admin := ask()
	created, err := kadm.NewClient(admin).CreateTopic(t.Context(), 6, 1, nil, "t")
	require.NoError(t, err)
	require.NoError(t, created.Err)
	// Short polls: a client has one under way at each broker, and what it is to
	// read there from now on waits for its end.
	poll := kgo.FetchMaxWait(200 * time.Millisecond)
	// With pauses of 20 ms the usual twenty tries would not outlast a lease.
	tries := kgo.RequestRetries(1000)
	members := []*consumer{consume(t, seeds, "a", poll, tries), consume(t, seeds, "b", poll, tries)}
	generation := func(of *consumer) int32 {
		_, g := of.GroupMetadata()
		return g
	}
	before := stable(t, admin, 2)
	within(t, time.Minute, "every partition has a reader", func() bool {
		before = stable(t, admin, 2)
		return len(before.AssignedPartitions()["t"]) == 6 && generation(members[0]) == generation(members[1])
	})
	was := generation(members[0])
	say := func(what string) {
		t.Helper()
		var records []*kgo.Record
		for p := range int32(6) {
			records = append(records, &kgo.Record{Topic: "t", Partition: p, Value: fmt.Appendf(nil, "%s %d", what, p)})
		}
		within(t, time.Minute, "produced "+what, func() bool { return admin.ProduceSync(t.Context(), records...).FirstErr() == nil })
		for _, r := range records {
			value := string(r.Value)
			within(t, time.Minute, "read "+what, func() bool { return members[0].times(value)+members[1].times(value) > 0 })
		}
	}
	say("before")
	// Only now: who reads a partition has been told that it is his.
	var history [][]string
	for _, m := range members {
		history = append(history, m.history())
	}

	// What is committed is watched all the time.
	stop, watched := make(chan struct{}), make(chan struct{})
	defer func() { <-watched }()
	stopOnce := sync.OnceFunc(func() { close(stop) })
	defer stopOnce()
	go func() {
		defer close(watched)
		seen := make(map[int32]int64)
		watching := ask()
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			offsets, err := kadm.NewClient(watching).FetchOffsets(t.Context(), "g")
			if err != nil {
				watching.Close()
				watching = ask()
				continue
			}
			offsets.Each(func(o kadm.OffsetResponse) {
				if o.Err == nil && o.At < seen[o.Partition] {
					t.Errorf("partition %d: %d is committed, and %d was", o.Partition, o.At, seen[o.Partition])
				} else if o.Err == nil {
					seen[o.Partition] = o.At
				}
			})
		}
	}()

	slot := metastore.SlotOf("g")
	alive := func() *clusterNode {
		for _, n := range c.nodes {
			if n.done != nil {
				return n
			}
		}
		t.Fatal("no broker is alive")
		return nil
	}
	coordinator := func() *clusterNode {
		var owner metastore.Slot
		c.until("the slot is owned", alive(), func(m *metastore.Catalog) (owned bool) {
			owner, owned = m.Slot(slot)
			return owned
		})
		return c.nodes[owner.Broker-1]
	}
	round := 0
	goesOn := func(what string, from *clusterNode, leave func(*clusterNode)) {
		t.Helper()
		begun, left := time.Now(), make(chan struct{})
		go func() {
			defer close(left)
			leave(from)
		}()
		other := c.nodes[from.id%3]
		c.until("the slot has another owner after: "+what, other, func(m *metastore.Catalog) bool {
			owner, owned := m.Slot(slot)
			return owned && owner.Broker != from.id
		})
		moved := time.Since(begun)
		<-left
		t.Logf("%s: the slot moved within %v, which took %v", what, moved.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
		admin = ask()
		after := stable(t, admin, 2)
		require.Equal(t, before.Members, after.Members, what)
		round++
		say(fmt.Sprint("after: ", what, " ", round))
		within(t, time.Minute, "committed after: "+what, func() bool {
			lag, err := kadm.NewClient(admin).Lag(t.Context(), "g")
			g := lag["g"]
			return err == nil && g.Error() == nil && g.Lag.Total() == 0
		})
		t.Logf("%s: all is as it was after %v", what, time.Since(begun).Round(time.Millisecond))
	}

	drained := coordinator()
	goesOn("drain", drained, func(n *clusterNode) {
		if err := n.store.SetDraining(t.Context(), n.id, true); err != nil {
			t.Error(err)
		}
	})
	require.NoError(t, drained.store.SetDraining(t.Context(), drained.id, false))
	c.until("it has its slots again", drained, func(m *metastore.Catalog) bool {
		owner, owned := m.Slot(slot)
		return owned && owner.Broker == drained.id
	})
	for range 2 {
		stopped := coordinator()
		goesOn("stop", stopped, c.end)
		c.start(stopped)
		c.until("it is back", stopped, func(m *metastore.Catalog) bool { return len(m.Brokers()) == 3 })
	}
	goesOn("kill", coordinator(), c.kill)
	stopOnce()

	for i, m := range members {
		require.Equal(t, was, generation(m), "no generation has begun")
		require.Equal(t, history[i], m.history(), "no assignment has changed hands")
	}
}

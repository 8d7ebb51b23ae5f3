package slots_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/broker/slots"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a broker as far as it coordinates groups.
type node struct {
	link    *faults.Store
	store   *metastore.Store
	session *metastore.BrokerSession
	groups  *group.Coordinator
	end     func() // as a broker that is told to stop
}

// byID gives the even slots to the lowest broker, the odd ones to the highest.
func byID(v *metastore.View) (wished [metastore.Slots]metastore.BrokerID) {
	brokers := v.Brokers()
	for n := range wished {
		wished[n] = metastore.NoBroker
		if len(brokers) > 0 {
			wished[n] = brokers[n%2*(len(brokers)-1)].ID
		}
	}
	return wished
}

func start(t *testing.T, k *memory.Store, id metastore.BrokerID) *node {
	n := &node{link: faults.New(k, faults.Plan{})}
	var err error
	n.store, err = metastore.Open(t.Context(), n.link, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	n.session, err = n.store.Register(t.Context(), metastore.Broker{ID: id}, 10*time.Second)
	require.NoError(t, err)
	quiet := slog.New(slog.DiscardHandler)
	n.groups = group.New(group.Config{}, func() *consumer.Topics { return consumer.NewTopics(1, nil) }, quiet, group.NewMetrics(nil))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		slots.New(slots.Options{Store: n.store, Session: n.session, Groups: n.groups, Wished: byID, Delay: 5 * time.Second, Log: quiet}).Run(ctx)
	}()
	ended := false
	n.end = func() {
		if ended {
			return
		}
		ended = true
		stop()
		<-done
		n.groups.Close()
		require.NoError(t, n.session.Close(context.WithoutCancel(t.Context())))
		n.store.Close()
	}
	return n
}

// serves tells of how many slots the broker serves a group.
func (n *node) serves(names []string) (count int) {
	for _, name := range names {
		if n.groups.Check(name) == nil {
			count++
		}
	}
	return count
}

// oneOfEach is a group in each slot.
func oneOfEach() []string {
	names := make([]string, metastore.Slots)
	for i, found := 0, 0; found < len(names); i++ {
		name := "g" + string(rune('a'+i%26)) + time.Duration(i).String()
		if n := metastore.SlotOf(name); names[n] == "" {
			names[n] = name
			found++
		}
	}
	return names
}

func TestSlotsMoveWithBrokersThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := memory.New()
		defer k.Close()
		names := oneOfEach()
		a := start(t, k, 1)
		defer a.end()
		<-time.After(time.Second)
		require.Equal(t, metastore.Slots, a.serves(names), "it is alone")
		p := topic.Partition{Topic: topic.NewID()}
		require.NoError(t, a.groups.Commit(t.Context(), names[1], "", "", -1, map[topic.Partition]group.Offset{p: {Offset: 7}}))

		b := start(t, k, 2)
		<-time.After(time.Second)
		require.Equal(t, metastore.Slots/2, a.serves(names))
		require.Equal(t, metastore.Slots/2, b.serves(names))
		committed, err := b.groups.Committed(t.Context(), names[1])
		require.NoError(t, err)
		require.EqualValues(t, 7, committed[p].Offset)

		// It stops: what it had is served elsewhere at once.
		b.end()
		<-time.After(100 * time.Millisecond)
		require.Equal(t, metastore.Slots, a.serves(names))

		// It is cut off: it does not serve what others may have by then, and they
		// have it when its lease is over.
		c := start(t, k, 3)
		<-time.After(time.Second)
		require.Equal(t, metastore.Slots/2, c.serves(names))
		cut, err := faults.ParsePlan("* * fail-before p=1")
		require.NoError(t, err)
		c.link.Use(cut)
		for range 200 {
			<-time.After(100 * time.Millisecond)
			require.LessOrEqual(t, a.serves(names)+c.serves(names), metastore.Slots, "none is served twice")
		}
		require.Equal(t, metastore.Slots, a.serves(names))
		c.link.Use(faults.Plan{})
		c.end()
	})
}

// Each move has the members of groups look for their coordinator again. A broker
// whose link comes and goes is given slots later each time; what nobody serves does
// not wait for anybody.
func TestABrokerThatFlapsIsGivenSlotsLaterEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := memory.New()
		defer k.Close()
		names := oneOfEach()
		a := start(t, k, 1)
		defer a.end()
		b := start(t, k, 2)
		<-time.After(time.Second)
		for _, hold := range []time.Duration{0, 10, 20} {
			b.end()
			<-time.After(time.Second)
			require.Equal(t, metastore.Slots, a.serves(names), "what it had is taken over at once")
			b = start(t, k, 2)
			if hold > 0 {
				<-time.After((hold - 1) * time.Second)
				require.Equal(t, metastore.Slots, a.serves(names), "it may go again")
			}
			<-time.After(2 * time.Second)
			require.Equal(t, metastore.Slots/2, b.serves(names))
		}
		b.end()
		<-time.After(time.Second)
		b = start(t, k, 2)
		defer b.end()
		<-time.After(time.Second)
		require.Zero(t, b.serves(names))
		a.end() // while the other is still waited for
		<-time.After(time.Second)
		require.Equal(t, metastore.Slots, b.serves(names), "nobody else is there")
	})
}

// A release of which it is not known whether it was applied ends the ownership:
// the broker that is to go on takes the slots again, with a new epoch, and the
// release comes to nothing.
func TestASlotWhoseReleaseIsInDoubtIsTakenAgain(t *testing.T) { // [doubted-release-retakes]
	synctest.Test(t, func(t *testing.T) {
		k := memory.New()
		defer k.Close()
		names := oneOfEach()
		a := start(t, k, 1)
		defer a.end()
		<-time.After(time.Second)
		late, err := faults.ParsePlan("txn /slots/ late=3s p=1")
		require.NoError(t, err)
		a.link.Use(late)
		b := start(t, k, 2) // is to have half of them
		<-time.After(2 * time.Second)
		require.Equal(t, metastore.Slots/2, a.serves(names), "what it wants to give back it does not serve")
		b.end() // and does not any more
		a.link.Use(faults.Plan{})
		<-time.After(20 * time.Second)
		a.link.Settle()
		<-time.After(time.Second)
		require.Equal(t, metastore.Slots, a.serves(names))
		for _, name := range names {
			require.NoError(t, a.groups.Commit(t.Context(), name, "", "", -1, map[topic.Partition]group.Offset{{}: {Offset: 1}}), "what it serves it owns")
		}
	})
}

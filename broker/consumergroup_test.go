package broker_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/disk"
)

// fleet is members of one group, real clients, with what each reads at the moment.
type fleet struct {
	*rig
	mu      sync.Mutex
	reads   map[string]map[int32]bool // partitions of "t" by member
	heard   map[string]int            // records by value
	changes int                       // of who reads what
	twice   []string                  // partitions that two members had at once
}

type fleetMember struct {
	name   string
	client *kgo.Client
	done   chan struct{}
}

func newFleet(r *rig) *fleet {
	return &fleet{rig: r, reads: make(map[string]map[int32]bool), heard: make(map[string]int)}
}

func (f *fleet) join(name string, opts ...kgo.Opt) *fleetMember {
	f.t.Helper()
	m := &fleetMember{name: name, done: make(chan struct{})}
	f.mu.Lock()
	f.reads[name] = make(map[int32]bool)
	f.mu.Unlock()
	drop := func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { f.note(name, parts["t"], false) }
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(f.address), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ClientID(name),
		kgo.HeartbeatInterval(50 * time.Millisecond), kgo.SessionTimeout(sessionTimeout), kgo.AutoCommitInterval(100 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { f.note(name, parts["t"], true) }),
		kgo.OnPartitionsRevoked(drop), kgo.OnPartitionsLost(drop),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
	require.NoError(f.t, err)
	m.client = client
	go func() {
		defer close(m.done)
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			f.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { f.heard[string(r.Value)]++ })
			f.mu.Unlock()
		}
	}()
	f.t.Cleanup(func() { f.leave(m) })
	return m
}

// sessionTimeout is how long static members that are gone are waited for. Those that
// are here have to be heard of so often, on a busy machine too: when the session of one
// lapses, its partitions go to others before it learns of it.
const sessionTimeout = 15 * time.Second

// modern is a member of the consumer protocol.
func modern() kgo.Opt { return kgo.ServerSideBalancer() }

func (f *fleet) leave(m *fleetMember) {
	m.client.CloseAllowingRebalance()
	<-m.done
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.reads, m.name) // a client that is closed reads nothing, whatever it was told last
}

func (f *fleet) note(name string, parts []int32, reads bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
	if f.reads[name] == nil {
		return // it has left
	}
	for _, p := range parts {
		for other, has := range f.reads {
			if reads && other != name && has[p] {
				f.twice = append(f.twice, fmt.Sprintf("%d: %s and %s", p, other, name))
			}
		}
		f.reads[name][p] = reads
	}
}

// spread is how many partitions each member reads, ascending.
func (f *fleet) spread() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var counts []int
	for _, has := range f.reads {
		n := 0
		for reads := range maps.Values(has) {
			if reads {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, n)
		}
	}
	slices.Sort(counts)
	return counts
}

// reading is what each member reads.
func (f *fleet) reading() map[string][]int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string][]int32)
	for name, has := range f.reads {
		for p, reads := range has {
			if reads {
				all[name] = append(all[name], p)
			}
		}
	}
	return all
}

func (f *fleet) settle(counts ...int) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return slices.Equal(counts, f.spread()) }, time.Minute, 10*time.Millisecond, "want %v", counts)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(f.t, f.twice, "partitions that two members had at once")
}

func (f *fleet) describe() kmsg.ConsumerGroupDescribeResponseGroup {
	f.t.Helper()
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{"g"}
	resp, err := req.RequestWith(f.t.Context(), f.client)
	require.NoError(f.t, err)
	return resp.Groups[0]
}

// kind is the group's type as ListGroups tells it.
func (f *fleet) kind() string {
	f.t.Helper()
	req := kmsg.NewPtrListGroupsRequest()
	resp, err := req.RequestWith(f.t.Context(), f.client)
	require.NoError(f.t, err)
	for _, g := range resp.Groups {
		if g.Group == "g" {
			return g.GroupType
		}
	}
	return ""
}

func consumerRig(t *testing.T, partitions int32) *fleet {
	r := newRig(t, disk.NewMemory(), ingest.Config{}, func(c *broker.Config) {
		delay := 20 * time.Millisecond
		c.Group.InitialRebalanceDelay, c.Group.ConsumerHeartbeatInterval = &delay, 50*time.Millisecond
		c.Group.ConsumerSessionTimeout = sessionTimeout
	})
	_, err := kadm.NewClient(r.client).CreateTopic(t.Context(), partitions, 1, nil, "t")
	require.NoError(t, err)
	return newFleet(r)
}

func (f *fleet) produce(from, to int) {
	f.t.Helper()
	for i := from; i < to; i++ {
		r := &kgo.Record{Topic: "t", Partition: int32(i % 6), Value: []byte(fmt.Sprint(i))}
		require.NoError(f.t, f.client.ProduceSync(f.t.Context(), r).FirstErr())
	}
}

// hears waits until every record up to n was read.
func (f *fleet) hears(n int) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.heard) == n
	}, time.Minute, 10*time.Millisecond)
}

func TestMembersOfTheConsumerProtocolShareTheirTopics(t *testing.T) {
	f := consumerRig(t, 6)
	a := f.join("a", modern())
	f.settle(6)
	b := f.join("b", modern())
	f.settle(3, 3)
	c := f.join("c", modern())
	f.settle(2, 2, 2)
	f.produce(0, 30)
	f.hears(30)

	require.Eventually(t, func() bool {
		offsets, err := kadm.NewClient(f.client).FetchOffsets(t.Context(), "g")
		require.NoError(t, err)
		var sum int64
		offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
		return sum == 30
	}, time.Minute, 10*time.Millisecond, "what was read is committed")

	d := f.describe()
	require.Zero(t, d.ErrorCode)
	require.Equal(t, "uniform", d.AssignorName)
	require.Len(t, d.Members, 3)
	require.EqualValues(t, 1, d.Members[0].MemberType)
	require.Equal(t, []string{"t"}, d.Members[0].SubscribedTopics)
	require.Equal(t, "consumer", f.kind())

	f.leave(b)
	f.settle(3, 3)
	f.leave(a)
	f.leave(c)
	require.Eventually(t, func() bool { return f.describe().State == "Empty" }, time.Minute, 10*time.Millisecond)
}

func TestAMemberOfTheConsumerProtocolSurvivesARestartOfItsCoordinator(t *testing.T) {
	f := consumerRig(t, 6)
	f.join("a", modern())
	f.join("b", modern())
	f.settle(3, 3)
	require.Eventually(t, func() bool { return f.describe().State == "Stable" }, time.Minute, 10*time.Millisecond)
	before := f.describe()
	f.mu.Lock()
	changes := f.changes
	f.mu.Unlock()

	f.restart()
	f.produce(0, 12)
	f.hears(12)
	require.Equal(t, before, f.describe(), "the same members with the same assignments in the same epochs")
	f.settle(3, 3)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, changes, f.changes, "nobody was told anything")
}

func TestAGroupIsUpgradedAndDowngradedWhileItReads(t *testing.T) {
	f := consumerRig(t, 6)
	a := f.join("a", kgo.Balancers(kgo.CooperativeStickyBalancer()))
	f.settle(6)
	require.Equal(t, "classic", f.kind())
	f.produce(0, 6)
	f.hears(6)

	b := f.join("b", modern())
	f.settle(3, 3)
	require.Equal(t, "consumer", f.kind())
	types := []int8{}
	for _, m := range f.describe().Members {
		types = append(types, m.MemberType)
	}
	require.ElementsMatch(t, []int8{0, 1}, types)
	f.produce(6, 18)
	f.hears(18)

	c := f.join("c", kgo.Balancers(kgo.CooperativeStickyBalancer()))
	f.settle(2, 2, 2)
	f.leave(b)
	f.settle(3, 3)
	require.Eventually(t, func() bool { return f.kind() == "classic" }, time.Minute, 10*time.Millisecond)
	f.produce(18, 30)
	f.hears(30)
	f.leave(a)
	f.settle(6)
	f.leave(c)
}

func TestAFleetOfBothProtocolsComesAndGoes(t *testing.T) {
	f := consumerRig(t, 24)
	rng := rand.New(rand.NewPCG(1, 1))
	var here []*fleetMember
	n := 0
	come := func() {
		opts := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
		if rng.IntN(3) > 0 {
			opts = []kgo.Opt{modern()}
		}
		if rng.IntN(4) == 0 {
			opts = append(opts, kgo.InstanceID(fmt.Sprintf("static-%d", n)))
		}
		n++
		here = append(here, f.join(fmt.Sprintf("m%d", n), opts...))
	}
	for range 4 {
		come()
	}
	records := 0
	steps := 40
	if testing.Short() {
		steps = 12
	}
	for i := range steps {
		if len(here) < 2 || len(here) < 10 && rng.IntN(2) == 0 {
			come()
		} else {
			at := rng.IntN(len(here))
			f.leave(here[at])
			here = slices.Delete(here, at, at+1)
		}
		if i%15 == 14 {
			f.restart()
		}
		f.produce(records, records+3)
		records += 3
		if rng.IntN(3) == 0 {
			<-time.After(time.Duration(rng.IntN(300)) * time.Millisecond)
		}
	}
	settled := func() bool {
		total := 0
		for _, count := range f.spread() {
			total += count
		}
		return total == 24 && len(f.spread()) == len(here)
	}
	if !assert.Eventually(t, settled, sessionTimeout+time.Minute, 20*time.Millisecond) {
		var names []string
		for _, m := range here {
			names = append(names, m.name)
		}
		t.Fatalf("members %v; what each reads: %v; the group: %+v", names, f.reading(), f.describe())
	}
	f.hears(records)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(t, f.twice, "partitions that two members had at once")
}

package group_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/slots"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

// The simulation: members of one group join, commit, crash and leave, while its
// slot moves between two brokers, which crash too, over a metadata store that
// loses requests and answers and applies some late. Members ask now and then who
// is not the coordinator. Time is virtual.
//
// What has to hold: of one generation only one assignment is ever given out, each
// member gets its own part, and an acknowledged offset is what is read. When the
// troubles end, the group comes to rest.

const (
	simMembers = 6
	simTime    = 8 * time.Minute
)

func TestOneAssignmentAGenerationUnderAnyFault(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	var total simCounts
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			s := &sim{t: t, seed: seed + 1, kv: memory.New(), given: make(map[int32]string), topic: topic.NewID()}
			s.run()
			total.synced += s.synced
			total.commits += s.commits
			total.notStored += s.notStored
			total.lives += s.lives
			total.moves += s.moves
		})
	}
	t.Logf("%+v", total)
	if !t.Failed() && (total.notStored == 0 || total.synced < 100 || total.commits < 1000 || total.lives < 4*int(seeds)) {
		t.Errorf("the faults did not bite: %+v", total)
	}
}

type simCounts struct{ synced, commits, notStored, lives, moves int }

type sim struct {
	t     *testing.T
	seed  uint64
	kv    *memory.Store
	topic topic.ID
	calm  atomic.Bool
	owner atomic.Int32 // the broker that is wished to coordinate
	at    [2]atomic.Pointer[group.Coordinator]

	mu    sync.Mutex
	given map[int32]string // by generation: the assignment that members were given
	simCounts
}

func (s *sim) count(f func(*simCounts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.simCounts)
}

func (s *sim) run() {
	ctx, end := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	for i := range s.at {
		all.Go(func() { s.broker(ctx, i) })
	}
	for i := range simMembers {
		all.Go(func() { s.member(ctx, i) })
	}
	rnd := rand.New(rand.NewPCG(s.seed, 1))
	for until := time.Now().Add(simTime); time.Now().Before(until); {
		<-time.After(time.Duration(rnd.IntN(60_000)) * time.Millisecond)
		s.owner.Store(int32(rnd.IntN(2)))
	}
	s.calm.Store(true)
	<-time.After(2 * time.Minute) // sessions and rebalances that were begun
	c := s.coordinator(0)
	require.NotNil(s.t, c, "seed %d", s.seed)
	d, err := c.Describe(ctx, "g")
	require.NoError(s.t, err, "seed %d", s.seed)
	require.Equal(s.t, group.Stable, d.Phase, "seed %d", s.seed)
	require.Len(s.t, d.Members, simMembers, "seed %d", s.seed)
	end()
	all.Wait()
	require.NoError(s.t, s.kv.Close())
}

// coordinator returns who coordinates; nil if nobody does, anybody sometimes.
func (s *sim) coordinator(mistake float64) *group.Coordinator {
	var found []*group.Coordinator
	for i := range s.at {
		if c := s.at[i].Load(); c != nil && (rand.Float64() < mistake || c.Check("g") == nil) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[rand.IntN(len(found))]
}

// wished gives every slot to the broker whose turn it is, if it lives.
func (s *sim) wished(v *metastore.View) (wished [metastore.Slots]metastore.BrokerID) {
	turn := metastore.BrokerID(s.owner.Load())
	if _, alive := v.Broker(turn); !alive {
		turn = 1 - turn
	}
	for n := range wished {
		wished[n] = turn
	}
	return wished
}

// broker runs one life after the other, each over a store with its own troubles.
func (s *sim) broker(ctx context.Context, i int) {
	rnd := rand.New(rand.NewPCG(s.seed, uint64(100+i)))
	troubles := []string{
		"", "txn * fail-after p=0.1; txn * lose p=0.1; txn * fail-before p=0.1",
		"txn /chronik-groups/ late=20s p=0.3", "txn /chronik-groups/ delay=3s p=0.5; range * delay=2s p=0.2",
		"txn /chronik-groups/ fail-before p=1; range * fail-before p=0.5",
	}
	for ctx.Err() == nil {
		flaky := faults.New(s.kv, faults.Plan{})
		store, err := metastore.Open(ctx, flaky, metastore.Options{Cluster: "sim", Seed: rnd.Uint64()})
		if ctx.Err() != nil {
			break
		}
		require.NoError(s.t, err)
		session, err := store.Register(ctx, metastore.Broker{ID: metastore.BrokerID(i)}, 10*time.Second)
		require.NoError(s.t, err)
		s.count(func(c *simCounts) { c.lives++ })
		delay := time.Second
		quiet := slog.New(slog.DiscardHandler)
		c := group.New(group.Config{InitialRebalanceDelay: &delay}, noTopics, quiet, group.NewMetrics(nil))
		managing, stop := context.WithCancel(ctx)
		managed := make(chan struct{})
		go func() {
			defer close(managed)
			slots.New(slots.Options{Store: store, Session: session, Groups: c, Wished: s.wished, Log: quiet}).Run(managing)
		}()
		s.at[i].Store(c)
		life, over := context.WithTimeout(ctx, time.Duration(20+rnd.IntN(120))*time.Second)
		for life.Err() == nil && session.Valid() {
			text := troubles[rnd.IntN(len(troubles))]
			if s.calm.Load() {
				text = ""
			}
			plan, err := faults.ParsePlan(text)
			require.NoError(s.t, err)
			plan.Seed = rnd.Uint64()
			flaky.Use(plan)
			select {
			case <-time.After(time.Duration(3+rnd.IntN(15)) * time.Second):
			case <-session.Done():
			case <-ctx.Done():
			}
			if s.calm.Load() && life.Err() != nil && ctx.Err() == nil {
				flaky.Use(faults.Plan{})
				<-ctx.Done() // nobody crashes any more
			}
		}
		over()
		// A crash leaves the session, which another life fences; a stop ends it.
		crash := rnd.IntN(2) == 0 && ctx.Err() == nil
		if crash {
			cut, err := faults.ParsePlan("* * fail-before p=1")
			require.NoError(s.t, err)
			flaky.Use(cut)
			s.at[i].Store(nil)
		} else {
			flaky.Use(faults.Plan{})
		}
		stop()
		<-managed
		s.at[i].Store(nil)
		if !crash {
			require.NoError(s.t, session.Close(context.WithoutCancel(ctx)))
		}
		slot, _ := store.Catalog().Slot(metastore.SlotOf("g"))
		s.count(func(c *simCounts) { c.moves = max(c.moves, int(slot.Epoch)) })
		c.Close()
		store.Close()
		if ctx.Err() == nil {
			<-time.After(time.Duration(rnd.IntN(4000)) * time.Millisecond)
		}
		defer flaky.Settle()
	}
}

// member is a client that goes on as Kafka's do.
func (s *sim) member(ctx context.Context, i int) {
	rnd := rand.New(rand.NewPCG(s.seed, uint64(200+i)))
	p := topic.Partition{Topic: s.topic, Index: int32(i)}
	id, value, acked := "", int64(0), int64(-1)
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		c := s.coordinator(0.01)
		if c == nil {
			pause(100 * time.Millisecond)
			continue
		}
		request := join(id)
		request.IDFirst = i%2 == 0
		asking, done := context.WithTimeout(ctx, 30*time.Second)
		joined, err := c.Join(asking, "g", request)
		done()
		switch {
		case errors.Is(err, group.ErrMemberIDRequired):
			id = joined.MemberID
			continue
		case errors.Is(err, group.ErrUnknownMember):
			id = ""
			continue
		case err != nil:
			s.note(err)
			pause(100 * time.Millisecond)
			continue
		}
		id = joined.MemberID
		sync := group.SyncRequest{MemberID: id, Generation: joined.Generation, Assignments: make(map[string][]byte)}
		if joined.Leader == id {
			nonce := fmt.Sprint(rnd.Uint64())
			for _, m := range joined.Members {
				sync.Assignments[m.ID] = []byte(nonce + " " + m.ID)
			}
		}
		asking, done = context.WithTimeout(ctx, 30*time.Second)
		synced, err := c.Sync(asking, "g", sync)
		done()
		if err != nil {
			s.note(err)
			if errors.Is(err, group.ErrUnknownMember) {
				id = ""
			}
			continue
		}
		s.assigned(joined.Generation, id, string(synced.Assignment))
		for ctx.Err() == nil {
			pause(time.Duration(500+rnd.IntN(3000)) * time.Millisecond)
			if c = s.coordinator(0.05); c == nil {
				continue
			}
			value++
			asking, done := context.WithTimeout(ctx, 20*time.Second)
			err := c.Commit(asking, "g", id, "", joined.Generation, map[topic.Partition]group.Offset{p: {Offset: value}})
			if err == nil {
				acked = value
				s.count(func(c *simCounts) { c.commits++ })
			}
			if stored, ferr := c.Committed(asking, "g"); ferr == nil && acked >= 0 {
				got := stored[p].Offset
				if got < acked || got > value {
					s.t.Errorf("seed %d: member %d reads %d, %d was acknowledged and %d committed last", s.seed, i, got, acked, value)
				}
			}
			done()
			err = c.Heartbeat(ctx, "g", id, "", joined.Generation)
			if errors.Is(err, group.ErrUnknownMember) || errors.Is(err, group.ErrIllegalGeneration) {
				id = ""
			}
			if errors.Is(err, group.ErrRebalancing) || id == "" {
				break
			}
			s.note(err)
			if !s.calm.Load() && rnd.IntN(60) == 0 {
				if rnd.IntN(2) == 0 { // or it crashes
					_ = c.Leave(ctx, "g", id, "", "")
				}
				id = ""
				break
			}
		}
	}
}

func (s *sim) note(err error) {
	if errors.Is(err, group.ErrNotStored) {
		s.count(func(c *simCounts) { c.notStored++ })
	}
}

func (s *sim) assigned(generation int32, id, assignment string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced++
	nonce, of, _ := strings.Cut(assignment, " ")
	switch before, known := s.given[generation]; {
	case of != id:
		s.t.Errorf("seed %d: %s got the part of %q", s.seed, id, of)
	case known && before != nonce:
		s.t.Errorf("seed %d: two assignments of generation %d", s.seed, generation)
	}
	s.given[generation] = nonce
}

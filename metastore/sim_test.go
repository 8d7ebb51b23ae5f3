package metastore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

// The simulation: a few brokers take, append, commit and release partitions, a
// compactor rewrites segments and drops them, over a metadata store that loses
// requests and answers, applies some much later and keeps leases from being
// renewed. Time is virtual. A checker sees every revision and holds it against
// the promises: offsets dense, given once, under the owner's session, in order.

const (
	simBrokers    = 3
	simPartitions = 6
	simTTL        = 10 * time.Second
	simTime       = 10 * time.Minute // virtual
)

// trouble is what a node's requests suffer, phase after phase.
var trouble = []string{
	"",
	"txn * fail-after p=0.1; txn * lose p=0.1; txn * fail-before p=0.1",
	"txn /commits/ late=40s p=0.2; txn /owners/ late=25s p=0.3; watch * cut p=0.2",
	"txn /brokers/ late=30s p=0.3; keepalive * fail-after p=0.5; * * delay=300ms p=0.1",
	"keepalive * lose p=1",                         // a zombie: all works but its lease
	"* * fail-before p=1",                          // cut off
	"txn * late=12s p=0.5; watch * delay=8s p=0.5", // far behind
}

func TestOffsetsAreDenseAndGivenOnceUnderAnyFault(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 5
	}
	var total simCounts
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { total.add(simulate(t, uint64(seed)+1)) })
		})
	}
	t.Logf("%+v", total)
	if !t.Failed() && (total.Fenced == 0 || total.Doubts == 0 || total.Dropped == 0 || total.Takes < seeds*simPartitions) {
		t.Errorf("the faults did not bite: %+v", total)
	}
}

// simCounts is what happened, so that a run that tests nothing is seen.
type simCounts struct {
	Commits, Fenced, Doubts, Sessions, Takes, Releases, Dropped int
}

func (c *simCounts) add(o simCounts) {
	c.Commits += o.Commits
	c.Fenced += o.Fenced
	c.Doubts += o.Doubts
	c.Sessions += o.Sessions
	c.Takes += o.Takes
	c.Releases += o.Releases
	c.Dropped += o.Dropped
}

type sim struct {
	t     *testing.T
	store *memory.Store
	topic topic.ID

	mu      sync.Mutex
	counts  simCounts
	acked   map[string]bool // segments whose Commit returned nil
	refused map[string]bool // segments whose Commit was fenced without doubt
}

func (s *sim) record(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func simulate(t *testing.T, seed uint64) simCounts {
	s := &sim{t: t, store: memory.New(), acked: map[string]bool{}, refused: map[string]bool{}}
	defer s.store.Close()
	ctx, cancel := context.WithCancel(t.Context())

	admin, err := Open(ctx, s.store, Options{Cluster: "sim", Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	created, err := admin.CreateTopic(ctx, Topic{Name: "t", Partitions: simPartitions})
	if err != nil {
		t.Fatal(err)
	}
	s.topic = created.ID
	admin.Close()

	var nodes sync.WaitGroup
	for i := range simBrokers {
		nodes.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			s.node(ctx, rnd, func(ctx context.Context, m *Store) { s.broker(ctx, m, rnd, BrokerID(i)) })
		})
	}
	nodes.Go(func() {
		rnd := rand.New(rand.NewPCG(seed, 100))
		s.node(ctx, rnd, func(ctx context.Context, m *Store) { s.compactor(ctx, m, rnd) })
	})

	history := make(chan map[string]bool)
	go func() { history <- s.check(t.Context()) }()
	time.Sleep(simTime)
	cancel()
	nodes.Wait() // including what is late
	synctest.Wait()
	s.store.Close() // ends the checker's watch
	committed := <-history
	for id := range s.acked {
		if !committed[id] {
			t.Errorf("segment %s was acknowledged and never committed", id)
		}
	}
	for id := range s.refused {
		if committed[id] {
			t.Errorf("segment %s was refused and committed all the same", id)
		}
	}
	s.counts.Commits = len(committed)
	return s.counts
}

// node runs a role over a store of its own whose troubles change, and starts
// it anew when it ends.
func (s *sim) node(ctx context.Context, rnd *rand.Rand, role func(context.Context, *Store)) {
	flaky := faults.New(s.store, faults.Plan{})
	defer flaky.Settle()
	fate := rand.New(rand.NewPCG(rnd.Uint64(), 0))
	go func() {
		for ctx.Err() == nil {
			plan, err := faults.ParsePlan(trouble[fate.IntN(len(trouble))])
			if err != nil {
				s.t.Error(err)
			}
			plan.Seed = fate.Uint64()
			flaky.Use(plan)
			pass(ctx, time.Duration(5+fate.IntN(25))*time.Second)
		}
		flaky.Use(faults.Plan{})
	}()
	for ctx.Err() == nil {
		m, err := Open(ctx, flaky, Options{Cluster: "sim", Seed: rnd.Uint64() | 1})
		if err != nil {
			pass(ctx, time.Second)
			continue
		}
		life, cancel := context.WithTimeout(ctx, time.Duration(20+rnd.IntN(200))*time.Second)
		role(life, m)
		cancel()
		m.Close()
	}
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// broker is the smallest broker that keeps the rules of package metastore.
type simBroker struct {
	*sim
	m     *Store
	rnd   *rand.Rand
	bs    *BrokerSession
	next  map[topic.Partition]int64 // of the owned partitions
	epoch map[topic.Partition]Epoch
	open  []SegmentRange // given and in no segment yet
	sent  int64          // sequence of the last segment
	wg    sync.WaitGroup
	fails bool // a commit did not come through; guarded by sim.mu
}

func (s *sim) broker(ctx context.Context, m *Store, rnd *rand.Rand, id BrokerID) {
	for ctx.Err() == nil {
		bs, err := m.Register(ctx, Broker{ID: id}, simTTL)
		if err != nil {
			continue
		}
		s.record(func() { s.counts.Sessions++ })
		b := &simBroker{sim: s, m: m, rnd: rnd, bs: bs, next: map[topic.Partition]int64{}, epoch: map[topic.Partition]Epoch{}}
		b.live(ctx)
		b.wg.Wait()
		if rnd.IntN(2) == 0 {
			cleaning, cancel := context.WithTimeout(context.Background(), time.Second)
			_ = bs.Close(cleaning) // if it fails the lease lapses
			cancel()
		}
	}
}

// live goes on while the session does.
func (b *simBroker) live(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for ctx.Err() == nil && !b.failed() {
		p := topic.Partition{Topic: b.topic, Index: b.rnd.Int32N(simPartitions)}
		switch _, owned := b.next[p]; {
		case !owned:
			b.take(ctx, p)
		case b.rnd.IntN(20) == 0:
			b.release(ctx, p)
		default:
			b.append(p)
		}
		if len(b.open) > b.rnd.IntN(6) {
			b.flush(ctx)
		}
		select {
		case <-time.After(time.Duration(b.rnd.IntN(400)) * time.Millisecond):
		case <-b.bs.Done():
			return
		case <-ctx.Done():
		}
	}
}

func (b *simBroker) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fails
}

func (b *simBroker) take(ctx context.Context, p topic.Partition) {
	view := b.m.Catalog().Partition(p)
	if view.OwnerAlive && view.Owner.Session != b.bs.ID() {
		return
	}
	pass(ctx, time.Duration(b.rnd.IntN(2000))*time.Millisecond) // what was seen gets old
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	taken, err := b.m.Take(ctx, b.bs, []Take{{View: view, First: view.Next()}})
	owner, ok := taken[p]
	if errors.Is(err, ErrInvalid) {
		b.t.Errorf("take %s: %v", p, err)
	}
	if !ok {
		return
	}
	b.record(func() { b.counts.Takes++ })
	b.next[p], b.epoch[p] = view.Next(), owner.Epoch
}

func (b *simBroker) append(p topic.Partition) {
	first := b.next[p]
	b.next[p] += 1 + b.rnd.Int64N(9)
	b.open = append(b.open, SegmentRange{Partition: p, Epoch: b.epoch[p], First: first, Next: b.next[p], Length: 1})
}

// flush commits what is open, in the background like a broker that uploads.
func (b *simBroker) flush(ctx context.Context) {
	b.sent++
	seg := Segment{
		ID: fmt.Sprintf("%d-%d", b.bs.ID(), b.sent), Object: fmt.Sprintf("o/%d-%d", b.bs.ID(), b.sent), Size: 1,
		Broker: b.bs.Broker(), Session: b.bs.ID(), Sequence: b.sent, Ranges: b.open,
	}
	b.open = nil
	b.wg.Go(func() {
		doubt := false
		for {
			try, cancel := context.WithTimeout(ctx, 15*time.Second)
			err := b.m.Commit(try, b.bs, seg)
			cancel()
			doubt = doubt || errors.Is(err, kv.ErrUnknownOutcome)
			b.record(func() {
				if doubt {
					b.counts.Doubts++
				}
				switch {
				case err == nil:
					b.acked[seg.ID] = true
				case errors.Is(err, ErrFenced):
					b.counts.Fenced++
					b.refused[seg.ID] = !doubt
				case errors.Is(err, ErrOutOfOrder) || errors.Is(err, ErrInvalid):
					b.t.Errorf("commit %s: %v", seg.ID, err)
				}
				b.fails = b.fails || errors.Is(err, ErrFenced)
			})
			if err == nil || errors.Is(err, ErrFenced) || ctx.Err() != nil {
				return
			}
		}
	})
}

// release gives a partition up: stop accepting, flush, know all commits applied.
func (b *simBroker) release(ctx context.Context, p topic.Partition) {
	delete(b.next, p)
	if len(b.open) > 0 {
		b.flush(ctx)
	}
	b.wg.Wait()
	if b.failed() || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := b.m.Release(ctx, b.bs, []topic.Partition{p}); err == nil {
		b.record(func() { b.counts.Releases++ })
	}
}

// compactor moves log marks over the oldest segment and drops it.
func (s *sim) compactor(ctx context.Context, m *Store, rnd *rand.Rand) {
	for pass(ctx, 200*time.Millisecond); ctx.Err() == nil; pass(ctx, time.Duration(rnd.IntN(1000))*time.Millisecond) {
		segments := m.Catalog().Segments()
		if len(segments) == 0 {
			continue
		}
		i := slices.IndexFunc(segments, func(seg *Segment) bool { return rewritable(m, seg) })
		if i < 0 {
			continue
		}
		seg := segments[i]
		swaps := rewrite(m, seg, rnd)
		try, cancel := context.WithTimeout(ctx, 15*time.Second)
		err := m.SwapManifests(try, swaps, nil)
		if err == nil {
			err = m.DropSegment(try, seg.ID, Deletion{Object: seg.Object})
		}
		cancel()
		if err == nil {
			s.record(func() { s.counts.Dropped++ })
		}
	}
}

// rewritable says that all before the segment's ranges has been rewritten.
func rewritable(m *Store, seg *Segment) bool {
	next := make(map[topic.Partition]int64)
	for _, r := range seg.Ranges {
		mark, ok := next[r.Partition]
		if !ok {
			mark = m.Catalog().Partition(r.Partition).Manifest.Marks.Log
		}
		if r.First > mark {
			return false
		}
		next[r.Partition] = max(mark, r.Next)
	}
	return true
}

// rewrite returns the swaps that move the log marks over a segment.
func rewrite(m *Store, seg *Segment, rnd *rand.Rand) (swaps []ManifestSwap) {
	marks := make(map[topic.Partition]int64)
	for _, r := range seg.Ranges {
		marks[r.Partition] = max(marks[r.Partition], r.Next)
	}
	for _, p := range slices.SortedFunc(maps.Keys(marks), topic.Partition.Compare) {
		seen := m.Catalog().Partition(p).Manifest
		if marks[p] <= seen.Marks.Log {
			continue
		}
		next := seen
		next.Object, next.Length = fmt.Sprintf("m/%x", rnd.Uint64()), 1
		next.Version++
		next.Marks.Log = marks[p]
		swaps = append(swaps, ManifestSwap{Partition: p, Seen: seen, New: next})
	}
	return swaps
}

// check follows the bare store revision by revision and returns the segments
// that were committed.
func (s *sim) check(ctx context.Context) map[string]bool {
	keys, _ := keysOf("sim")
	view := newView(keys, func(reason string, args ...any) { s.t.Errorf("%s: %v", reason, args) })
	committed := make(map[string]bool)
	last := make(map[Session]int64)
	for changes := range s.store.Watch(ctx, string(keys), 1) {
		for rest := changes.Events; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].ModRevision == rest[0].ModRevision {
				n++
			}
			for _, e := range rest[:n] {
				if dir, _ := keys.split(e.Key); dir == dirSegments && !e.Deleted {
					s.checkCommit(view, e, committed, last)
				}
			}
			if err := view.apply(kv.Changes{Revision: rest[0].ModRevision, Events: rest[:n]}); err != nil {
				s.t.Error(err)
			}
			rest = rest[n:]
		}
	}
	return committed
}

// checkCommit holds one commit against the state before it.
func (s *sim) checkCommit(before *View, e kv.Event, committed map[string]bool, last map[Session]int64) {
	seg, err := decodeSegmentPart(e.Value)
	if err != nil {
		s.t.Error(err)
		return
	}
	if committed[seg.ID] {
		s.t.Errorf("segment %s was committed twice", seg.ID)
	}
	committed[seg.ID] = true
	if seg.Sequence != last[seg.Session]+1 {
		s.t.Errorf("segment %s is number %d of its session, after %d", seg.ID, seg.Sequence, last[seg.Session])
	}
	last[seg.Session] = seg.Sequence
	next := make(map[topic.Partition]int64)
	for _, r := range seg.Ranges {
		view := before.Partition(r.Partition)
		if _, seen := next[r.Partition]; !seen {
			next[r.Partition] = view.Next()
		}
		if r.First != next[r.Partition] {
			s.t.Errorf("revision %d: segment %s commits [%d, %d) of %s, whose committed next is %d",
				e.ModRevision, seg.ID, r.First, r.Next, r.Partition, next[r.Partition])
		}
		next[r.Partition] = r.Next
		if view.Owner.Session != seg.Session || view.Owner.Epoch != r.Epoch || !view.OwnerAlive {
			s.t.Errorf("revision %d: segment %s of session %d, epoch %d, while session %d (alive: %v) owns %s in epoch %d",
				e.ModRevision, seg.ID, seg.Session, r.Epoch, view.Owner.Session, view.OwnerAlive, r.Partition, view.Owner.Epoch)
		}
	}
}

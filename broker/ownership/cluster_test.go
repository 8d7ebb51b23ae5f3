package ownership_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/broker/salvage"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/kv"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore/faults"
	memorybucket "github.com/chronik-stream/chronik/objstore/memory"
)

// The cluster: the halves of several brokers that write and own, over one
// metadata store and one bucket, in virtual time. Brokers come, go, crash, lose
// their leases and their way to the metadata; idempotent producers follow the
// partitions around and send again what was not acknowledged.

const clusterTTL = 10 * time.Second

type cluster struct {
	t      *testing.T
	kv     *memory.Store
	bucket *faults.Bucket
	admin  *metastore.Store
	topic  metastore.Topic
	object bool
	config ownership.Config
	nodes  []*node

	mu    sync.Mutex
	acked map[topic.Partition]map[int64][]byte // by offset
	sent  map[topic.Partition]map[string]bool  // all values
}

// node is a machine with a disk, on which a broker runs or not.
type node struct {
	*cluster
	wal      bool                               // configured otherwise than the cluster
	embedded bool                               // its topics have vectors
	served   func(*ingest.Log, topic.Partition) // told of what it begins to serve; nil: nobody is
	asked    atomic.Int64                       // how often it was asked what a topic's settings say
	id       metastore.BrokerID
	rack     string
	disk     *disk.Memory
	kv       *kvfaults.Store
	through  kv.Store // kv, seen by a test; nil: kv itself
	registry *prometheus.Registry
	metrics  *ownership.Metrics

	log    atomic.Pointer[ingest.Log]
	crash  context.CancelFunc // nil: it does not run
	stop   context.CancelFunc
	ended  chan struct{}
	silent atomic.Bool // it has crashed: what it says now is heard by nobody
}

func newCluster(t *testing.T, brokers int, partitions int32, object bool, config ownership.Config) *cluster {
	c := &cluster{
		t: t, kv: memory.New(), bucket: faults.New(memorybucket.New(), faults.Plan{}), object: object, config: config,
		acked: map[topic.Partition]map[int64][]byte{}, sent: map[topic.Partition]map[string]bool{},
	}
	var err error
	if c.admin, err = metastore.Open(t.Context(), c.kv, metastore.Options{Cluster: "test", Seed: 1}); err != nil {
		t.Fatal(err)
	}
	if c.topic, err = c.admin.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	for i := range brokers {
		n := &node{cluster: c, id: metastore.BrokerID(i), disk: disk.NewMemory(), kv: kvfaults.New(c.kv, kvfaults.Plan{}), registry: prometheus.NewRegistry()}
		n.metrics = ownership.NewMetrics(n.registry)
		c.nodes = append(c.nodes, n)
	}
	return c
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		n.leave()
		n.kv.Close()
	}
	c.admin.Close()
	c.kv.Close()
}

// start runs the broker of a node.
func (n *node) start() {
	if n.crash != nil {
		return
	}
	running, crash := context.WithCancel(context.Background())
	asked, stop := context.WithCancel(running)
	n.crash, n.stop, n.ended = crash, stop, make(chan struct{})
	n.silent.Store(false)
	n.kv.Use(kvfaults.Plan{})
	go func() {
		defer close(n.ended)
		for seed := uint64(n.id) + 1; asked.Err() == nil; seed += 100 {
			if err := n.session(running, asked, seed); err != nil && asked.Err() == nil {
				pass(asked, 100*time.Millisecond)
			}
		}
	}()
}

func pass(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// session is one life of a broker: it ends with the session, or when asked to.
func (n *node) session(running, asked context.Context, seed uint64) error {
	var link kv.Store = n.kv
	if n.through != nil {
		link = n.through
	}
	store, err := metastore.Open(asked, link, metastore.Options{Cluster: "test", Seed: seed})
	if err != nil {
		return err
	}
	defer store.Close()
	session, err := store.Register(asked, metastore.Broker{ID: n.id, Rack: n.rack}, clusterTTL)
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	log, rec, err := ingest.Open(ingest.Options{
		Config:  ingest.Config{SegmentBytes: 20_000, SegmentAge: 2 * time.Second, SegmentAgeUrgent: 100 * time.Millisecond, TailBytesMax: 30_000},
		WAL:     wal.Options{Dir: "wal", FS: n.disk, FileBytes: 64 << 10, Log: quiet},
		Session: session, Store: store, Bucket: n.bucket, Log: quiet,
	})
	if err != nil {
		return err
	}
	defer log.Close()
	if len(rec.Damage) != 0 {
		n.t.Errorf("damage: %v", rec.Damage)
	}
	flushing, stop := context.WithCancel(running)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- log.Run(flushing) }()
	m := ownership.New(ownership.Options{
		Config: n.config, Metrics: n.metrics,
		Store: store, Session: session, Log: log, Recovery: rec, Slog: quiet,
		Salvage: func(p topic.Partition, orphans []salvage.Orphan) {
			n.orphans(p, orphans)
			if n.served != nil {
				n.served(log, p)
			}
		},
		Object:    func(*metastore.Topic) bool { n.asked.Add(1); return n.object && !n.wal },
		Embedded:  func(*metastore.Topic, *metastore.Configs) bool { return n.embedded },
		Producers: committed.NewReader(store.Catalog(), n.bucket, committed.Options{}).Producers,
	})
	n.log.Store(log)
	defer n.log.Store(nil)
	err = m.Run(asked)
	if err == nil && running.Err() == nil {
		// As the broker stops.
		ctx, cancel := context.WithTimeout(running, 20*time.Second)
		defer cancel()
		log.Refuse()
		if err = log.Flush(ctx); err == nil {
			err = m.Release(ctx)
		}
		err = errors.Join(err, session.Close(ctx))
	}
	stop()
	<-ran
	return err
}

// kill ends the broker without any goodbye and cuts the power of its disk. At
// times the network goes first, so that what it wrote last is known to nobody.
func (n *node) kill(seed uint64) {
	if n.crash == nil {
		return
	}
	n.mu.Lock()
	n.silent.Store(true)
	after := n.disk.Crash(seed)
	n.mu.Unlock()
	cut, _ := kvfaults.ParsePlan("* * fail-before p=1")
	n.kv.Use(cut)
	n.crash()
	<-n.ended
	n.crash, n.disk = nil, after
}

// leave stops the broker in order.
func (n *node) leave() {
	if n.crash == nil {
		return
	}
	n.stop()
	<-n.ended
	n.crash()
	n.crash = nil
}

// follow produces as one idempotent producer until ctx ends. What is not
// acknowledged it sends again, to whoever owns the partition.
func (c *cluster) follow(ctx context.Context, p *client, rng *rand.Rand) {
	for ctx.Err() == nil {
		size := rng.IntN(600)
		for !c.try(ctx, p, size) && ctx.Err() == nil {
			pass(ctx, time.Duration(20+rng.IntN(100))*time.Millisecond)
		}
		if rng.IntN(4) == 0 {
			c.repeat(ctx, p)
		}
		pass(ctx, time.Duration(rng.IntN(1000))*time.Millisecond)
	}
}

// try sends the client's batch once.
func (c *cluster) try(ctx context.Context, p *client, size int) bool {
	owner := c.admin.Catalog().Partition(p.partition).Owner
	if owner.Broker < 0 || int(owner.Broker) >= len(c.nodes) {
		return false
	}
	n := c.nodes[owner.Broker]
	log := n.log.Load()
	if log == nil {
		return false
	}
	raw, err := p.batch(size)
	if err != nil {
		c.t.Error(err)
		return false
	}
	c.mu.Lock()
	if c.sent[p.partition] == nil {
		c.sent[p.partition] = map[string]bool{}
	}
	c.sent[p.partition][string(p.unacked)] = true
	c.mu.Unlock()
	o := core.AppendOptions{Acks: 1, Object: c.object, MessageBytesMax: 1 << 20, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64}
	if c.object {
		o.Acks = -1
	}
	pending, err := log.Append(ctx, p.partition, bytes.Clone(raw), o)
	var a core.Appended
	if err == nil {
		waiting, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		a, err = pending.Wait(waiting)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case n.silent.Load():
		return false
	case errors.Is(err, core.ErrOutOfOrderSequence), errors.Is(err, core.ErrInvalidProducerEpoch):
		c.t.Errorf("%s: an acknowledged record of its producer is missing: %v", p.partition, err)
		return false
	case errors.Is(err, core.ErrDuplicateSequence):
		c.t.Errorf("%s: a record was not recognised: %v", p.partition, err)
		return false
	case err != nil:
		return false
	}
	if c.acked[p.partition] == nil {
		c.acked[p.partition] = map[int64][]byte{}
	}
	if old, ok := c.acked[p.partition][a.First]; ok {
		c.t.Errorf("%s: offset %d was given to %x and to %x", p.partition, a.First, old[:12], p.unacked[:12])
	}
	c.acked[p.partition][a.First] = p.unacked
	p.acked, p.ackedAt = raw, a.First
	p.unacked = nil
	p.sequence++
	return true
}

// repeat sends the client's last acknowledged batch once more. Whoever owns the
// partition by now says where it is.
func (c *cluster) repeat(ctx context.Context, p *client) {
	owner := c.admin.Catalog().Partition(p.partition).Owner
	if owner.Broker < 0 || p.acked == nil {
		return
	}
	log := c.nodes[owner.Broker].log.Load()
	if log == nil {
		return
	}
	o := core.AppendOptions{Acks: 1, MessageBytesMax: 1 << 20, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64}
	pending, err := log.Append(ctx, p.partition, bytes.Clone(p.acked), o)
	if err != nil {
		if errors.Is(err, core.ErrOutOfOrderSequence) || errors.Is(err, core.ErrDuplicateSequence) {
			c.t.Errorf("%s: a repeat was not recognised: %v", p.partition, err)
		}
		return
	}
	if a, err := pending.Wait(ctx); err == nil && (a.First != p.ackedAt || !a.Duplicate) {
		c.t.Errorf("%s: a repeat of the batch at offset %d was appended at %d", p.partition, p.ackedAt, a.First)
	}
}

// counts is what is in the log at the end, held against what was acknowledged.
type counts struct{ acked, moved int }

// check reads the whole committed log: offsets are dense, no record is there
// twice, and what was acknowledged lies where the acknowledgement said; or,
// where salvage moved it, elsewhere.
func (c *cluster) check(salvage bool) (n counts) {
	c.t.Helper()
	w := &world{t: c.t, bucket: c.bucket}
	for i := range c.topic.Partitions {
		p := topic.Partition{Topic: c.topic.ID, Index: i}
		view := c.admin.Catalog().Partition(p)
		got := map[int64][]byte{}
		next := int64(0)
		for _, r := range view.Ranges {
			if r.First != next {
				c.t.Fatalf("%s: range begins at %d, want %d", p, r.First, next)
			}
			next = r.Next
			w.readRange(r, got)
		}
		if int64(len(got)) != next {
			c.t.Fatalf("%s: %d records below offset %d", p, len(got), next)
		}
		where := map[string]int64{}
		sequence := map[uint64]int64{}
		for offset := range next {
			value := got[offset]
			if other, ok := where[string(value[:12])]; ok {
				c.t.Errorf("%s: record %x is there twice, at %d and at %d", p, value[:12], other, offset)
			}
			where[string(value[:12])] = offset
			if !c.sent[p][string(value)] {
				c.t.Errorf("%s: offset %d holds what nobody sent", p, offset)
			}
			id := binary.BigEndian.Uint64(value)
			if seq := int64(binary.BigEndian.Uint32(value[8:])); !salvage && seq != sequence[id] {
				c.t.Errorf("%s: record %d of producer %d comes in the place of %d", p, seq, id, sequence[id])
			}
			sequence[id]++
		}
		for offset, value := range c.acked[p] {
			n.acked++
			switch at, ok := where[string(value[:12])]; {
			case !ok:
				c.t.Errorf("%s: record %x, acknowledged at offset %d, is lost", p, value[:12], offset)
			case at != offset && !salvage:
				c.t.Errorf("%s: record %x was acknowledged at offset %d and is at %d", p, value[:12], offset, at)
			case at != offset:
				n.moved++
			}
		}
	}
	return n
}

// until waits for a state of the catalog, in virtual time.
func (c *cluster) until(what string, patience time.Duration, holds func(*metastore.Catalog) bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		changed := c.admin.Catalog().Changed()
		if holds(c.admin.Catalog()) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// shares is how many partitions each live broker owns; false while one has none.
func shares(c *metastore.Catalog, t topic.ID) (map[metastore.BrokerID]int, bool) {
	n := map[metastore.BrokerID]int{}
	all := true
	found, _ := c.TopicByID(t)
	for i := range found.Partitions {
		if v := c.Partition(topic.Partition{Topic: t, Index: i}); v.OwnerAlive {
			n[v.Owner.Broker]++
		} else {
			all = false
		}
	}
	return n, all
}

func (c *cluster) balanced(brokers int) func(*metastore.Catalog) bool {
	return func(catalog *metastore.Catalog) bool {
		n, all := shares(catalog, c.topic.ID)
		most, least := 0, math.MaxInt
		for _, s := range n {
			most, least = max(most, s), min(least, s)
		}
		return all && len(n) == brokers && most-least <= 1
	}
}

// finish stops all brokers such that everything is committed: one whose session
// ends while it stops keeps what it has on its disk, and has to start again.
func (c *cluster) finish() {
	c.t.Helper()
	for range 10 {
		for _, n := range c.nodes {
			n.start()
		}
		c.until("every partition has an owner", 3*time.Minute, c.balanced(len(c.nodes)))
		for _, n := range c.nodes {
			n.kv.Settle()
			n.leave()
		}
		released := true
		for i := range c.topic.Partitions {
			released = released && c.admin.Catalog().Partition(topic.Partition{Topic: c.topic.ID, Index: i}).Owner.Broker == metastore.NoBroker
		}
		if released {
			return
		}
	}
	c.t.Fatal("the brokers never stop in order")
}

// mishaps befall a node one after the other.
var mishaps = []string{
	"txn * fail-after p=0.1; txn * lose p=0.1; txn * fail-before p=0.1",
	"txn /commits/ late=40s p=0.2; txn /owners/ late=25s p=0.3; watch * cut p=0.2",
	"txn /brokers/ late=30s p=0.3; keepalive * fail-after p=0.5; * * delay=300ms p=0.1",
	"keepalive * lose p=1",                         // its lease lapses, all else works
	"* * fail-before p=1",                          // cut off
	"txn * late=12s p=0.5; watch * delay=8s p=0.5", // far behind
}

func TestNothingIsLostDoubledOrReorderedAsBrokersComeAndGo(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for _, object := range []bool{true, false} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("object=%v/seed=%d", object, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { comeAndGo(t, object, seed) })
			})
		}
	}
}

func comeAndGo(t *testing.T, object bool, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	grace := time.Minute // who crashes is back before; under object it does not matter
	c := newCluster(t, 3, 6, object, ownership.Config{TakeoverGrace: grace, RebalanceDelay: 3 * time.Second})
	defer c.close()
	ctx, cancel := context.WithCancel(t.Context())
	var producing sync.WaitGroup
	for i := range 12 {
		p := &client{id: int64(i), partition: topic.Partition{Topic: c.topic.ID, Index: int32(i % 6)}}
		fate := rand.New(rand.NewPCG(seed, uint64(100+i)))
		producing.Go(func() { c.follow(ctx, p, fate) })
	}
	for _, n := range c.nodes {
		n.start()
	}
	for range 16 {
		pass(ctx, time.Duration(1+rng.IntN(12))*time.Second)
		n := c.nodes[rng.IntN(len(c.nodes))]
		switch rng.IntN(5) {
		case 0:
			n.kill(rng.Uint64())
			if object && rng.IntN(2) == 0 {
				pass(ctx, 2*grace) // others take over
			}
		case 1:
			n.leave()
		case 2:
			if err := c.admin.SetDraining(ctx, n.id, rng.IntN(2) == 0); err != nil {
				t.Fatal(err)
			}
		default:
			plan, err := kvfaults.ParsePlan(mishaps[rng.IntN(len(mishaps))])
			if err != nil {
				t.Fatal(err)
			}
			plan.Seed = rng.Uint64()
			n.kv.Use(plan)
			pass(ctx, time.Duration(5+rng.IntN(20))*time.Second)
			n.kv.Use(kvfaults.Plan{})
		}
		pass(ctx, time.Duration(rng.IntN(20))*time.Second)
		for _, n := range c.nodes {
			if rng.IntN(2) == 0 || !object {
				n.start()
			}
		}
	}
	for _, n := range c.nodes {
		n.start()
		if err := c.admin.SetDraining(ctx, n.id, false); err != nil {
			t.Fatal(err)
		}
	}
	c.until("partitions are spread evenly in the end", 3*time.Minute, c.balanced(3))
	pass(ctx, 5*time.Second)
	cancel()
	producing.Wait()
	c.finish()
	if n := c.check(false); n.acked < 1000 {
		t.Errorf("only %d records were acknowledged: the test shows little", n.acked)
	}
}

// orphans is told of batches that another owner has overtaken. Under object none
// of them was acknowledged; under wal there are none while everybody is back in time.
func (c *cluster) orphans(p topic.Partition, orphans []salvage.Orphan) {
	if !c.object {
		noOrphans(c.t)(p, orphans)
	}
}

// noOrphans is told of batches that another owner has overtaken, where none can be.
func noOrphans(t *testing.T) func(topic.Partition, []salvage.Orphan) {
	return func(p topic.Partition, orphans []salvage.Orphan) {
		if len(orphans) > 0 {
			t.Errorf("%s: %d batches were overtaken, from offset %d of epoch %d on", p, len(orphans), orphans[0].Frame.First, orphans[0].Frame.Epoch)
		}
	}
}

package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/compactor"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/kv"
	kvmemory "github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/retry"
	"github.com/chronik-stream/chronik/tests/history"
)

const cluster = "sim"

// Plan says what a run is made of.
type Plan struct {
	Seed       uint64
	Chance     uint64 // what Go decides by chance, in an exact build
	Brokers    int
	Compactors int
	Queries    int // query nodes; the topics are tables then
	Topics     []TopicPlan
	Producers  int
	Consumers  int
	Groups     int
	Members    []MembersPlan
	Time       time.Duration // virtual, of trouble; then everything heals
	Delay      time.Duration // after a change, before partitions move to whom they are wished for
	Grace      time.Duration // for which an owner's disk is waited for; 0: wal topics are salvaged
	Remade     bool          // a topic is deleted and made again under its name, all the time
	Again      TopicPlan     // that topic: what is derived from it
	Troubles   []string      // of the table in weather.go
	Planted    Planted       // bugs, to see that they are found
	Out        io.Writer     // the whole trace; nil: only its tail is kept
}

// TopicPlan is a topic to be made.
type TopicPlan struct {
	Name       string
	Partitions int32
	Object     bool
	Trimmed    bool // a client deletes records
	Keys       int  // so many, and compaction by them; 0: none
	Searchable bool
	Index      string // the kind of its vector index; empty: it has none
	// Retention and RetentionBytes bound the log; 0: they do not.
	Retention      time.Duration
	RetentionBytes int
}

// expires tells whether records go without being asked to.
func (t TopicPlan) expires() bool { return t.Retention > 0 || t.RetentionBytes > 0 }

// Planted are lies of the seams that the checker must find out. The product has
// no switches of its own for that.
type Planted struct {
	Store  func(inner kv.Store) kv.Store               // of every process
	Bucket func(inner objstore.Bucket) objstore.Bucket // of every process
	Disk   func(inner disk.FS) disk.FS                 // of every broker
	Vector func(text string, dimensions int) []float32 // of the provider of embeddings
	Config map[string]map[string]string                // by topic, which the checker is not told
	Ingest func(*ingest.Config)                        // of every broker
}

// World is a cluster, its clients, and everything under them.
type World struct {
	t       *testing.T
	plan    Plan
	seed    uint64
	trace   *trace
	sched   *scheduler
	net     *network
	store   *kvmemory.Store
	bucket  *memory.Bucket
	history *history.History

	provider *embeddertest.Server // of embeddings

	namesMu sync.Mutex
	names   map[topic.ID]string
	ids     map[string]topic.ID // of the plan's topics; does not change

	observer  *metastore.Store // sees every revision; nothing fails for it
	revision  int64
	committed map[string]bool  // segments; true: and dropped since
	gone      map[string]int64 // ids of topics, and the revision that no longer had them; 0: they are there

	nodes   []*server
	lives   sync.WaitGroup // of nodes, the dead included
	clients sync.WaitGroup
	members []*member
	calm    atomic.Bool // no member leaves or hangs any more
	healers sync.WaitGroup
}

// server is a broker, a compactor or a query node: one life after another.
type server struct {
	w     *World
	name  string
	rng   *rand.Rand
	start func(ctx context.Context, s *server, l *life) (run func(context.Context) error, err error)

	id   metastore.BrokerID // of a broker
	addr *net.TCPAddr
	disk *disk.Memory

	queries atomic.Pointer[queryLife] // of a query node

	mu       sync.Mutex
	running  bool
	life     *life
	registry *prometheus.Registry
	cancel   context.CancelFunc
	ended    chan struct{} // of the current life
}

// Run plays a plan and returns what the checker found, with the fingerprint and
// the last lines of the trace.
func Run(t *testing.T, plan Plan) (result history.Result, fingerprint, tail string) {
	w := &World{
		t: t, plan: plan, seed: plan.Seed, trace: newTrace(plan.Out), store: kvmemory.New(), bucket: memory.New(),
		history: history.New(), names: map[topic.ID]string{}, ids: map[string]topic.ID{}, committed: map[string]bool{}, gone: map[string]int64{},
	}
	w.provider = embeddertest.New(embeddertest.Options{Dimensions: dimensions, VectorOf: plan.Planted.Vector})
	w.sched = newScheduler(plan.Seed, w.trace)
	w.net = newNetwork(w)
	w.prepare()
	w.sched.mu.Lock()
	w.sched.after = w.observe
	w.sched.mu.Unlock()

	ctx, stop := context.WithCancel(context.Background())
	for i := range plan.Brokers {
		w.nodes = append(w.nodes, w.newBroker(i+1))
	}
	for i := range plan.Compactors {
		w.nodes = append(w.nodes, w.newCompactor(i+1))
	}
	for i := range plan.Queries {
		w.nodes = append(w.nodes, w.newQuery(i+1))
	}
	for _, s := range w.nodes {
		s.up()
	}
	writing, stopClients := context.WithCancel(ctx)
	w.work(writing)
	w.trouble(ctx)
	w.healers.Wait()
	w.heal()
	pass(ctx, 30*time.Second) // what was held up comes through
	w.settleMembers(ctx)
	stopClients()
	w.clients.Wait()
	w.settle(ctx)
	if err := w.readBack(ctx); err != nil {
		w.history.Report(history.Unread, "%v", err)
	}
	w.askAll(ctx)
	pass(ctx, orphanAge+5*time.Minute) // what nothing names is swept
	w.audit()
	for _, s := range w.nodes {
		s.down(false)
	}
	stop()
	w.lives.Wait()
	w.observer.Close()
	w.sched.end()
	if err := errors.Join(w.store.Close(), w.provider.Close()); err != nil {
		t.Error(err)
	}
	return w.history.Check(), w.trace.fingerprint(), w.trace.tail()
}

// settle waits until what is acknowledged can be read: what was overtaken is
// salvaged, and acks=1 under object is committed.
func (w *World) settle(ctx context.Context) {
	before := 1.0
	for range 60 {
		pass(ctx, 10*time.Second)
		pending := 0.0
		for _, s := range w.nodes {
			pending += s.metric("chronik_broker_salvage_pending_batches")
		}
		if before+pending == 0 { // what came last is committed, too
			return
		}
		before = pending
	}
	w.history.Report(history.Other, "ten minutes after all was well something is still to be salvaged")
}

// metric is the sum of a figure of the current life.
func (s *server) metric(name string) (sum float64) {
	s.mu.Lock()
	registry := s.registry
	s.mu.Unlock()
	families, err := registry.Gather()
	if err != nil {
		s.w.t.Errorf("%s: %v", s.name, err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// prepare makes the topics, and whoever watches.
func (w *World) prepare() {
	var err error
	w.observer, err = metastore.Open(context.Background(), w.store, metastore.Options{Cluster: cluster, Seed: w.seed | 1})
	if err != nil {
		w.t.Fatal(err)
	}
	for i, plan := range w.plan.Topics {
		t := metastore.Topic{Name: plan.Name, Partitions: plan.Partitions, Replicas: 1, Config: map[string]string{"durability": "wal"}}
		t.ID[0], t.ID[15] = byte(i+1), byte(w.seed) // who owns what follows from the id
		if plan.Object {
			t.Config["durability"] = "object"
		}
		if plan.Keys > 0 {
			t.Config["cleanup.policy"], t.Config["min.cleanable.dirty.ratio"] = "compact", "0.01"
			t.Config["delete.retention.ms"] = fmt.Sprint(tombstonesKept.Milliseconds())
		}
		if plan.Retention > 0 {
			t.Config["retention.ms"] = fmt.Sprint(plan.Retention.Milliseconds())
		}
		if plan.RetentionBytes > 0 {
			t.Config["retention.bytes"] = fmt.Sprint(plan.RetentionBytes)
		}
		maps.Copy(t.Config, w.derived(plan))
		maps.Copy(t.Config, w.plan.Planted.Config[plan.Name])
		if w.plan.Queries > 0 {
			t.Config["columnar.enabled"] = "true"
			// arrow-go pools its zstd encoders, whose channels cannot leave a bubble.
			t.Config["columnar.compression"] = "snappy"
		}
		if _, err := w.observer.CreateTopic(context.Background(), t); err != nil {
			w.t.Fatal(err)
		}
		w.call(t.ID, plan.Name)
		w.ids[plan.Name] = t.ID
		w.history.Topic(plan.Name, history.Topic{
			Object: plan.Object, Salvaged: !plan.Object && w.plan.Grace == 0, Trimmed: plan.Trimmed, Holes: plan.Keys > 0,
			Expires: plan.expires(), Retention: plan.Retention, Retained: int64(plan.RetentionBytes / recordBytesMax), TombstonesKept: tombstonesKept,
		})
	}
}

// derived are the settings of what is made of a topic's records for searches.
func (w *World) derived(plan TopicPlan) map[string]string {
	config := map[string]string{}
	if plan.Searchable {
		config["searchable"] = "true"
	}
	if plan.Index != "" {
		maps.Copy(config, w.vectorSettings(plan.Index))
	}
	return config
}

const (
	// tombstonesKept is for how long tombstones stay at least.
	tombstonesKept = 40 * time.Second
	// recordBytesMax is what a record of a producer takes at most, alone in a batch.
	recordBytesMax = 600
)

// observe tells the history of every commit and every log start, right after the event that made it.
func (w *World) observe() {
	w.observer.Catalog().View(func(v *metastore.View) {
		if v.Revision() == w.revision {
			return
		}
		w.observeKeys(v.Revision())
		w.revision = v.Revision()
		there := map[string]bool{}
		for _, s := range v.Segments() {
			there[s.ID] = true
			if gone, known := w.committed[s.ID]; gone {
				w.history.Report(history.CommitTwice, "segment %s of session %d had been dropped and is there again", s.ID, s.Session)
			} else if known || s.Session == 0 { // merged by a compactor, of what was committed before
				continue
			}
			w.committed[s.ID] = false
			var ranges []history.Range
			for _, r := range s.Ranges {
				ranges = append(ranges, history.Range{Partition: w.partition(r.Partition), First: r.First, Next: r.Next})
			}
			w.history.Committed(int64(s.Session), s.Sequence, s.ID, ranges...)
		}
		for id := range w.committed {
			w.committed[id] = !there[id]
		}
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				p := topic.Partition{Topic: t.ID, Index: i}
				if called := w.partition(p); called.Topic != "" {
					w.history.Starts(called, v.Partition(p).Manifest.LogStart)
				}
			}
		}
	})
}

func (w *World) partition(p topic.Partition) history.Partition {
	w.namesMu.Lock()
	defer w.namesMu.Unlock()
	return history.Partition{Topic: w.names[p.Topic], Index: p.Index}
}

// call gives a topic the name that it has in the history.
func (w *World) call(id topic.ID, name string) {
	w.namesMu.Lock()
	defer w.namesMu.Unlock()
	w.names[id] = name
}

func (w *World) partitions() (all []history.Partition) {
	for _, t := range w.plan.Topics {
		for i := range t.Partitions {
			all = append(all, history.Partition{Topic: t.Name, Index: i})
		}
	}
	return all
}

func (w *World) topicNames() (names []string) {
	for _, t := range w.plan.Topics {
		names = append(names, t.Name)
	}
	return names
}

func (w *World) addresses() (all []string) {
	for _, s := range w.nodes {
		if s.addr != nil {
			all = append(all, s.addr.String())
		}
	}
	return all
}

// work starts the clients.
func (w *World) work(ctx context.Context) {
	for i := range w.plan.Producers {
		acks := int16(-1)
		if i%4 == 3 {
			acks = 1
		}
		w.clients.Go(func() { w.producer(ctx, fmt.Sprintf("p%d", i+1), i%3 != 2, acks) })
	}
	for i := range w.plan.Consumers {
		w.clients.Go(func() { w.consumer(ctx, fmt.Sprintf("r%d", i+1)) })
	}
	if slices.ContainsFunc(w.plan.Topics, func(t TopicPlan) bool { return t.Trimmed }) {
		w.clients.Go(func() { w.trimmer(ctx, "d1") })
	}
	if w.plan.Remade {
		w.clients.Go(func() { w.remaker(ctx, "m1") })
	}
	if w.plan.Queries > 0 {
		w.clients.Go(func() { w.asker(ctx, "a1") })
	}
	w.join(ctx)
	for i := range w.plan.Groups {
		w.clients.Go(func() { w.committer(ctx, fmt.Sprintf("g%d", i+1), fmt.Sprintf("group-%d", i+1)) })
	}
}

// seams are what a process stands on.
func (s *server) seams(l *life) (kv.Store, objstore.Bucket, error) {
	var store kv.Store = &seamStore{l: l, inner: s.w.store}
	if plant := s.w.plan.Planted.Store; plant != nil {
		store = plant(store)
	}
	var bucket objstore.Bucket = &seamedBucket{l: l, inner: s.w.bucket}
	if plant := s.w.plan.Planted.Bucket; plant != nil {
		bucket = plant(bucket)
	}
	again, err := retry.New(bucket, retry.Options{Jitter: func() float64 { return 0.5 }})
	return store, again, err
}

// open opens the metadata, as a process does that starts.
func (s *server) open(ctx context.Context, store kv.Store, log *slog.Logger) (*metastore.Store, error) {
	for {
		opened, err := metastore.Open(ctx, store, metastore.Options{Cluster: cluster, Seed: s.rng.Uint64() | 1, Log: log})
		if err == nil {
			return opened, nil
		}
		if pass(ctx, 500*time.Millisecond); ctx.Err() != nil {
			return nil, err
		}
	}
}

func (w *World) newBroker(number int) *server {
	name := fmt.Sprintf("b%d", number)
	return &server{
		w: w, name: name, rng: w.random(name), id: metastore.BrokerID(number), disk: disk.NewMemory(),
		addr: &net.TCPAddr{IP: addressOf(name), Port: 9092}, start: startBroker,
	}
}

func startBroker(ctx context.Context, s *server, l *life) (func(context.Context) error, error) {
	log := s.logger(l)
	store, bucket, err := s.seams(l)
	if err != nil {
		return nil, err
	}
	meta, err := s.open(ctx, store, log)
	if err != nil {
		return nil, err
	}
	var fs disk.FS = &seamFS{l: l, inner: s.disk}
	if plant := s.w.plan.Planted.Disk; plant != nil {
		fs = plant(fs)
	}
	writing := ingest.Config{SegmentAge: 2 * time.Second, SegmentBytes: 16 << 10, TailBytesMax: 32 << 10}
	if plant := s.w.plan.Planted.Ingest; plant != nil {
		plant(&writing)
	}
	b := broker.New(broker.Config{
		ID: s.id, ClusterID: cluster, Version: "sim", DataDir: "data", WALFileBytes: 64 << 10, StopTimeout: 10 * time.Second,
		Ingest:    writing,
		API:       api.Config{TopicDefaults: topicconfig.Defaults{"durability": "wal"}},
		Group:     group.Config{ConsumerSessionTimeout: memberSession, ConsumerHeartbeatInterval: time.Second},
		Ownership: ownership.Config{TakeoverGrace: s.w.plan.Grace, RebalanceDelay: s.w.plan.Delay},
	}, broker.Deps{
		Dial:  func(ctx context.Context, address string) (net.Conn, error) { return s.w.net.dial(ctx, l, address) },
		Store: meta, Bucket: bucket, FS: fs, Log: log, LogLevel: new(slog.LevelVar), Registerer: s.registry,
		Committed: committed.NewReader(meta.Catalog(), bucket, committed.Options{}),
		Listeners: []broker.Listener{
			s.listener(l, "PLAINTEXT", s.addr),
			s.listener(l, metastore.InternalListener, &net.TCPAddr{IP: s.addr.IP, Port: s.addr.Port + 2}),
		},
	})
	return func(ctx context.Context) error {
		defer meta.Close()
		return b.Run(ctx)
	}, nil
}

func (s *server) listener(l *life, name string, addr *net.TCPAddr) broker.Listener {
	return broker.Listener{
		Advertised: metastore.Listener{Name: name, Host: addr.IP.String(), Port: int32(addr.Port)},
		Sockets:    []net.Listener{s.w.net.listen(l, addr)},
	}
}

// Times of the life cycle, short enough to be lived through.
const (
	orphanAge     = 10 * time.Minute
	deletionGrace = 20 * time.Second
)

func (w *World) newCompactor(number int) *server {
	name := fmt.Sprintf("c%d", number)
	return &server{w: w, name: name, rng: w.random(name), start: startCompactor}
}

func startCompactor(ctx context.Context, s *server, l *life) (func(context.Context) error, error) {
	log := s.logger(l)
	store, bucket, err := s.seams(l)
	if err != nil {
		return nil, err
	}
	meta, err := s.open(ctx, store, log)
	if err != nil {
		return nil, err
	}
	embeds, err := s.embedder(l)
	if err != nil {
		meta.Close()
		return nil, err
	}
	c, err := compactor.New(compactor.Config{
		ID: s.name, Version: "sim", Workers: 1, Defaults: topicconfig.Defaults{"durability": "wal"},
		// A log of a few hundred KiB is to go through all that a large one goes through.
		Policy:        compactor.Policy{FirstBytes: 24 << 10, FirstAge: 10 * time.Second, PlainAge: 15 * time.Second, MergeFiles: 3, FileBytesMax: 256 << 10},
		DeletionGrace: deletionGrace, DeletionEvery: 5 * time.Second, OrphanAge: orphanAge, OrphanEvery: time.Minute,
	}, compactor.Deps{Store: meta, Bucket: bucket, Log: log, Embedder: embeds})
	if err != nil {
		meta.Close()
		return nil, err
	}
	return func(ctx context.Context) error {
		defer meta.Close()
		return c.Run(ctx)
	}, nil
}

// logger writes a process's log between the lines of the trace.
func (s *server) logger(l *life) *slog.Logger {
	if s.w.plan.Out == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(logWriter{s, l}, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

type logWriter struct {
	s *server
	l *life
}

func (w logWriter) Write(p []byte) (int, error) {
	dead := ""
	if w.l.isDead() {
		dead = " (dead)"
	}
	w.s.w.trace.note(w.s.w.sched.now(), "%s%s: %s", w.s.name, dead, strings.TrimSpace(string(p)))
	return len(p), nil
}

// up starts a life, if there is none.
func (s *server) up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return
	}
	l := s.w.newLife(s.name)
	ctx, cancel := context.WithCancel(context.Background())
	s.running, s.life, s.cancel, s.ended = true, l, cancel, make(chan struct{})
	s.registry = prometheus.NewRegistry()
	ended := s.ended
	s.w.lives.Go(func() {
		defer close(ended)
		run, err := s.start(ctx, s, l)
		if err == nil {
			err = run(ctx)
		}
		if err != nil && ctx.Err() == nil && !l.isDead() {
			s.w.t.Errorf("%s ended by itself: %v", s.name, err)
		}
		l.die() // whatever it left behind
	})
}

// down ends a life: politely, or as by kill -9.
func (s *server) down(kill bool) {
	s.mu.Lock()
	if !s.running {
		s.mu.Unlock()
		return
	}
	s.running = false
	l, cancel, ended := s.life, s.cancel, s.ended
	s.mu.Unlock()
	if kill {
		l.die()
	}
	cancel()
	if !kill {
		<-ended
	}
}

// powerLoss ends a life and takes from its disk what was not synced.
func (s *server) powerLoss() {
	s.down(true)
	if s.disk != nil {
		s.disk = s.disk.Crash(s.rng.Uint64())
	}
}

func (s *server) current() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return nil
	}
	return s.life
}

// Package broker is the role that Kafka clients talk to. It takes records into
// a local WAL, seals them into segments in the bucket, commits those in the
// metadata store, and serves them back.
//
// The rooms: wire (connections and frames), api (one file per Kafka API), group
// (consumer groups), ingest with wal (writing), fetch (reading), ownership
// (which partitions are ours); core holds what they say to each other. This file
// wires them and runs one session after the other: whenever the session or the
// WAL is lost, everything of it is dropped, and the next one begins as after a
// restart, from the disk.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/fetch"
	"github.com/chronik-stream/chronik/broker/forward"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/broker/salvage"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
)

// Config is what the operator decides. Zero values mean the defaults.
type Config struct {
	ID           metastore.BrokerID
	Identity     string // of the data folder
	ClusterID    string
	Rack         string
	Version      string
	DataDir      string        // the WAL lies in DataDir/wal
	WALFileBytes int64         // default 64 MiB
	SessionTTL   time.Duration // after which a silent broker is held to be gone; default 10 s
	StopTimeout  time.Duration // for the last flush; default 30 s
	Ownership    ownership.Config

	Ingest ingest.Config
	Fetch  fetch.Config
	Wire   wire.Config
	API    api.Config
	Group  group.Config

	Forward forward.Config // under API.Shared
}

// Listener is an open socket and the address by which clients reach it.
type Listener struct {
	Advertised metastore.Listener
	Sockets    []net.Listener
}

// Deps is what a broker stands on.
type Deps struct {
	Store      *metastore.Store
	Bucket     objstore.Bucket
	Committed  *committed.Reader
	FS         disk.FS
	Listeners  []Listener
	Log        *slog.Logger
	LogLevel   *slog.LevelVar        // of Log; clients can alter it
	Registerer prometheus.Registerer // may be nil

	// Dial connects to another broker of the cluster; nil: over TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Broker is one broker. Run it once.
type Broker struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	server  *wire.Server
	forward *forward.Forwarder // nil unless clients see one node
	groups  *group.Coordinator
	metrics struct {
		wal       *wal.Metrics
		ingest    *ingest.Metrics
		ownership *ownership.Metrics
		salvage   *salvage.Metrics
	}
	next    *ownership.Next
	current atomic.Pointer[ingest.Log]
	waiting atomic.Pointer[string]    // why it is not ready; nil: it is
	left    atomic.Pointer[time.Time] // when it had a session last; nil: it has one, or has had none
}

// dialTimeout bounds the wait for a connection to another broker.
const dialTimeout = 5 * time.Second

// New wires a broker. Nothing runs yet.
func New(cfg Config, deps Deps) *Broker {
	if cfg.SessionTTL == 0 {
		cfg.SessionTTL = 10 * time.Second
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 30 * time.Second
	}
	if deps.Dial == nil {
		deps.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
		}
	}
	b := &Broker{cfg: cfg, deps: deps, log: deps.Log}
	b.next = ownership.NewNext(cfg.Ownership, b.object)
	b.metrics.wal = wal.NewMetrics(deps.Registerer)
	b.metrics.ingest = ingest.NewMetrics(deps.Registerer)
	b.metrics.ownership = ownership.NewMetrics(deps.Registerer)
	b.metrics.salvage = salvage.NewMetrics(deps.Registerer)
	b.notReady("starting")
	reader := fetch.NewReader(cfg.Fetch, b.current.Load, deps.Committed, deps.Store.Catalog(), fetch.NewMetrics(deps.Registerer))
	b.groups = newGroups(b)
	if cfg.API.Shared {
		if cfg.Forward.Dial == nil {
			cfg.Forward.Dial = deps.Dial
		}
		b.forward = forward.New(cfg.Forward, deps.Registerer)
	}
	handler := api.New(cfg.API, api.Deps{
		Log: front{b}, Reader: reader,
		Topics: topics{b}, Configs: topics{b}, Quotas: topics{b}, Cluster: cluster{b}, ProducerIDs: newProducerIDs(deps.Store), Groups: b.groups, Forward: b.forward, Away: b.away,
		LogLevel: deps.LogLevel,
	}, deps.Log, deps.Registerer)
	cfg.Wire.Quota = handler.ConnectionThrottle
	b.server = wire.New(cfg.Wire, handler, deps.Log, deps.Registerer)
	return b
}

// Ready returns nil when the broker serves, else the reason.
func (b *Broker) Ready() error {
	if why := b.waiting.Load(); why != nil {
		return fmt.Errorf("broker: %s", *why)
	}
	if l := b.current.Load(); l != nil {
		if err := l.Failed(); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	return nil
}

// away tells whether the broker has had no session for so long that others may
// have what was its own: what it knows of the cluster is old.
func (b *Broker) away() bool {
	left := b.left.Load()
	return left != nil && time.Since(*left) > b.cfg.SessionTTL
}

func (b *Broker) notReady(why string) { b.waiting.Store(&why) }

// Run serves until ctx ends; then it flushes, gives its partitions back and
// closes its connections. It returns an error only when it cannot go on.
func (b *Broker) Run(ctx context.Context) error {
	var tasks errgroup.Group
	for _, l := range b.deps.Listeners {
		for _, socket := range l.Sockets {
			tasks.Go(func() error {
				return b.server.Serve(socket, wire.Listener{Name: l.Advertised.Name, Internal: l.Advertised.Name == metastore.InternalListener})
			})
		}
	}
	forwarding, stopForwarding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopForwarding()
	if b.forward != nil {
		tasks.Go(func() error { b.forward.Run(forwarding); return nil })
		tasks.Go(func() error { b.followBrokers(forwarding); return nil })
	}
	sessions := make(chan error, 1)
	go func() { sessions <- b.sessions(ctx) }()
	err := <-sessions
	b.notReady("stopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.StopTimeout)
	defer cancel()
	b.groups.Close()
	err = errors.Join(err, b.server.Shutdown(stopping))
	stopForwarding() // after the last client has its answer
	return errors.Join(err, tasks.Wait())
}

// reviewPause is how often at most it is looked which brokers live.
const reviewPause = 100 * time.Millisecond

// followBrokers tells the forwarder whose sessions are over, until ctx ends.
func (b *Broker) followBrokers(ctx context.Context) {
	catalog := b.deps.Store.Catalog()
	for {
		changed := catalog.Changed()
		b.forward.Live(catalog.Brokers())
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		// The catalog changes with every commit of a segment: not each is worth a look.
		select {
		case <-time.After(reviewPause):
		case <-ctx.Done():
			return
		}
	}
}

// Pauses between sessions that end by themselves.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 5 * time.Second
)

// sessions runs one session after the other until ctx ends.
func (b *Broker) sessions(ctx context.Context) error {
	pause, refused := pauseMin, time.Time{}
	for {
		begun := time.Now()
		err := b.session(ctx)
		if !errors.Is(err, metastore.ErrBrokerTaken) {
			refused = time.Time{}
		} else if refused.IsZero() {
			refused = begun
		}
		switch {
		case !refused.IsZero() && time.Since(refused) > 2*b.cfg.SessionTTL:
			return fmt.Errorf("%w: it has been for longer than a dead one's lease; give this broker an id of its own, or stop the other", err)
		case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, metastore.ErrFenced)):
			return nil // asked to stop before it had begun, or as it ended by itself
		case ctx.Err() != nil:
			return err
		case b.deps.Store.Err() != nil:
			return b.deps.Store.Err()
		}
		b.notReady("between sessions: " + err.Error())
		if time.Since(begun) > pauseMax {
			pause = pauseMin
		}
		b.log.Error("session ended, the next one begins", "after", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, pauseMax)
	}
}

// session is one life: recover the WAL, register, take partitions, serve. It
// begins with nothing of the one before but the disk. [new-session-empty]
func (b *Broker) session(ctx context.Context) error {
	l, recovery, err := ingest.Open(ingest.Options{
		Config: b.cfg.Ingest, Store: b.deps.Store, Bucket: b.deps.Bucket,
		Log: b.log, Metrics: b.metrics.ingest,
		WAL: wal.Options{
			Dir: filepath.Join(b.cfg.DataDir, "wal"), FS: b.deps.FS, FileBytes: b.cfg.WALFileBytes,
			Log: b.log, Metrics: b.metrics.wal,
		},
	})
	if err != nil {
		return err
	}
	defer b.close("write-ahead log", l.Close)
	for _, d := range recovery.Damage {
		b.log.Error("write-ahead log is damaged, the rest of it is served", "damage", d.String())
	}
	settled, err := salvage.OpenSettled(b.deps.FS, filepath.Join(b.cfg.DataDir, "salvaged"), func(yield func(topic.Partition, metastore.Epoch) bool) {
		for _, f := range recovery.Frames {
			if !yield(f.Frame.Partition, metastore.Epoch(f.Frame.Epoch)) {
				return
			}
		}
	})
	if errors.Is(err, format.ErrVersion) {
		return err // it would be written over
	}
	if err != nil {
		b.log.Error("what was salvaged before is not known: should its records have expired, they are appended again", "error", err)
	}
	// Only now: who is registered is given partitions, and can serve them.
	s, err := b.deps.Store.Register(ctx, b.description(), b.cfg.SessionTTL)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // asked to stop before it had begun, whatever kept it from it
	}
	if err != nil {
		return err
	}
	defer b.close("session", func() error {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.SessionTTL)
		defer cancel()
		return s.Close(closing)
	})
	b.tellMissing(s)
	l.Begin(s)
	salvager := salvage.New(salvage.Options{
		Catalog: b.deps.Store.Catalog(), Read: l.ReadRecovered, Release: l.Release, Settled: settled, Config: b.resolve, Dial: b.deps.Dial,
		Expiry: b.cfg.Ingest.ProducerExpiry, Slog: b.log, Metrics: b.metrics.salvage,
	})
	defer salvager.Close() // a session may end before it serves
	return b.serve(ctx, s, l, ownership.New(ownership.Options{
		Config: b.cfg.Ownership,
		Store:  b.deps.Store, Session: s, Log: l, Recovery: recovery, Producers: b.deps.Committed.Producers,
		Object: b.object, Compacted: b.compacted, Embedded: b.embedded, Slog: b.log, Salvage: salvager.Add, Metrics: b.metrics.ownership,
	}), salvager)
}

// tellMissing says what may be missing when the data folder is another than that of
// the broker's last session.
func (b *Broker) tellMissing(s *metastore.BrokerSession) {
	if s.Former() == "" {
		return
	}
	n := 0
	b.deps.Store.Catalog().View(func(v *metastore.View) {
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				owner, _ := v.Owner(topic.Partition{Topic: t.ID, Index: i})
				if owner.Broker != b.cfg.ID || owner.Session == 0 || owner.Session == s.ID() {
					continue // it was given up, with all that was in it committed
				}
				if view := v.Partition(topic.Partition{Topic: t.ID, Index: i}); !b.object(t) || !view.AckedInBucket() {
					n++
				}
			}
		}
	})
	if n == 0 {
		b.log.Info("the data folder is another than before, and nothing is missing", "broker", b.cfg.ID, "folder", b.cfg.Identity, "before", s.Former())
		return
	}
	b.log.Error("the data folder is another than before: what this broker acknowledged last without durability=object may be in the old one's write-ahead log alone, and is lost unless that comes back",
		"broker", b.cfg.ID, "partitions", n, "folder", b.cfg.Identity, "before", s.Former())
}

// serve runs a session's parts until one of them ends or ctx does.
func (b *Broker) serve(ctx context.Context, s *metastore.BrokerSession, l *ingest.Log, m *ownership.Manager, salvager *salvage.Salvager) error {
	if _, err := m.Reconcile(ctx); errors.Is(err, metastore.ErrFenced) {
		return err
	} else if err != nil {
		b.log.Warn("some partitions could not be taken yet", "error", err)
	}
	b.current.Store(l)
	b.left.Store(nil)
	defer func() {
		b.current.Store(nil)
		b.left.Store(new(time.Now()))
	}()
	coordinating, stopCoordinating := context.WithCancel(context.WithoutCancel(ctx))
	coordinated := make(chan struct{})
	go func() {
		defer close(coordinated)
		b.coordinate(coordinating, s)
	}()
	defer func() {
		stopCoordinating()
		<-coordinated
	}()
	b.waiting.Store(nil)
	b.log.Info("broker serves", "broker", b.cfg.ID, "session", s.ID(), "partitions", len(l.Partitions()))

	// The flusher outlives ctx: stopping is not done before the last flush.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tasks errgroup.Group
	tasks.Go(func() error {
		defer stop()
		return l.Run(running)
	})
	taking, stopTaking := context.WithCancel(running)
	managed := make(chan struct{})
	tasks.Go(func() error {
		salvager.Run(taking)
		return nil
	})
	tasks.Go(func() error {
		defer close(managed)
		err := m.Run(taking)
		if ctx.Err() == nil {
			stop() // asked to stop it is not to end what the last flush needs
		}
		return err
	})
	tasks.Go(func() error {
		defer stop()
		select {
		case <-l.Done():
			return l.Failed()
		case <-running.Done():
			return nil
		case <-ctx.Done():
			stopTaking()
			<-managed
			return b.handOver(running, l, m)
		}
	})
	defer stopTaking()
	err := tasks.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// handOver stops accepting, flushes, and gives the partitions back.
func (b *Broker) handOver(ctx context.Context, l *ingest.Log, m *ownership.Manager) error {
	b.notReady("stopping")
	ctx, cancel := context.WithTimeout(ctx, b.cfg.StopTimeout)
	defer cancel()
	// Most is flushed while everything is still served.
	err := l.Flush(ctx)
	l.Refuse()
	if err == nil {
		err = l.Flush(ctx)
	}
	if err != nil {
		b.log.Warn("stopping without a last flush, the write-ahead log keeps what is acknowledged", "error", err)
		return nil
	}
	return m.Release(ctx)
}

func (b *Broker) close(what string, f func() error) {
	if err := f(); err != nil {
		b.log.Warn("cannot close cleanly", "what", what, "error", err)
	}
}

func (b *Broker) description() metastore.Broker {
	d := metastore.Broker{ID: b.cfg.ID, Identity: b.cfg.Identity, Rack: b.cfg.Rack, Version: b.cfg.Version, StartedAt: time.Now()}
	for _, l := range b.deps.Listeners {
		d.Listeners = append(d.Listeners, l.Advertised)
	}
	return d
}

// compacted tells whether a topic is compacted by key.
// By what is set on all brokers, as the compactors see it.
func (b *Broker) compacted(t *metastore.Topic, set *metastore.Configs) bool {
	return b.resolve(t, set).CleanupCompact
}

// embedded tells whether a topic has vectors, as the compactors see it.
func (b *Broker) embedded(t *metastore.Topic, set *metastore.Configs) bool {
	return b.resolve(t, set).Vector.Enabled
}

func (b *Broker) resolve(t *metastore.Topic, set *metastore.Configs) topicconfig.Effective {
	all := dynamicconfig.TopicDefaults(set.Of(metastore.ConfigResource{Kind: metastore.ConfigBrokers}))
	return topicconfig.Resolve(t.Config, topicconfig.Merge(topicconfig.Layer{Set: all}, topicconfig.Layer{Set: b.cfg.API.TopicDefaults}))
}

// object tells whether a topic has durability=object.
func (b *Broker) object(t *metastore.Topic) bool {
	return topicconfig.Resolve(t.Config, b.cfg.API.TopicDefaults).Durability == topicconfig.DurabilityObject
}

// front is the log of the current session, for the handlers.
type front struct{ b *Broker }

// Append implements api.Log.
func (f front) Append(ctx context.Context, p topic.Partition, records []byte, o core.AppendOptions) (core.Pending, error) {
	l := f.b.current.Load()
	if l == nil {
		return nil, core.ErrNotOwner
	}
	return l.Append(ctx, p, records, o)
}

// EpochEnd implements api.Log.
func (f front) EpochEnd(_ context.Context, p topic.Partition, current, epoch metastore.Epoch) (metastore.Epoch, int64, error) {
	l := f.b.current.Load()
	if l == nil {
		return -1, -1, core.ErrNotOwner
	}
	return l.EpochEnd(p, current, epoch)
}

// DeleteRecords implements api.Log.
func (f front) DeleteRecords(ctx context.Context, p topic.Partition, before int64) (int64, error) {
	l := f.b.current.Load()
	if l == nil {
		return -1, core.ErrNotOwner
	}
	return l.DeleteRecords(ctx, p, before)
}

// Producers implements api.Log.
func (f front) Producers(p topic.Partition) ([]core.ActiveProducer, error) {
	l := f.b.current.Load()
	if l == nil {
		return nil, core.ErrNotOwner
	}
	return l.Producers(p)
}

// LogDir implements api.Log.
func (f front) LogDir() (core.LogDir, error) {
	dir := filepath.Join(f.b.cfg.DataDir, "wal")
	total, usable, err := f.b.deps.FS.Space(dir)
	return core.LogDir{Path: dir, Total: total, Usable: usable}, err
}

// adopted returns a channel that is closed when the next partition is served.
func (b *Broker) adopted() <-chan struct{} {
	if l := b.current.Load(); l != nil {
		return l.Changed()
	}
	return nil
}

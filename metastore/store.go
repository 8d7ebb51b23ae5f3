package metastore

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Options of a Store.
type Options struct {
	Cluster    string                // name of the cluster, part of every key
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: metrics are not exported
	Seed       uint64                // of the jitter between retries and of ids; 0: random
}

// Store is one node's access to the metadata. All methods may be called at once.
type Store struct {
	kv      kv.Store
	keys    keys
	log     *slog.Logger
	metrics *metrics
	catalog *Catalog
	blocks  *blockCache
	offsets *offsetWriter

	// topicDeletions is the revision of the last deletion of a topic that this
	// store came to see; CreateTopic tells what for.
	topicDeletions atomic.Int64

	randMu sync.Mutex
	rand   *rand.Rand

	life   context.Context // of the goroutines below; ends at Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	done   chan struct{}
	err    error // why done was closed; written before that
}

// Open reads the cluster's metadata and follows it from there. The catalog is
// complete when Open returns. The store stays the caller's, to be closed after
// the Store.
func Open(ctx context.Context, store kv.Store, opts Options) (*Store, error) {
	k, err := keysOf(opts.Cluster)
	if err != nil {
		return nil, fmt.Errorf("open the metadata: %w", err)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Seed == 0 {
		opts.Seed = rand.Uint64()
	}
	s := &Store{
		keys:    k,
		log:     opts.Log,
		metrics: newMetrics(),
		catalog: new(Catalog),
		blocks:  newBlockCache(),
		rand:    rand.New(rand.NewPCG(opts.Seed, 0)),
		done:    make(chan struct{}),
	}
	s.offsets = &offsetWriter{store: s}
	s.kv = measured{Store: store, metrics: s.metrics}
	if err := s.loadCatalog(ctx); err != nil {
		return nil, fmt.Errorf("open the metadata of cluster %s: %w", opts.Cluster, err)
	}
	if err := s.metrics.register(opts.Registerer, s.catalog); err != nil {
		return nil, fmt.Errorf("open the metadata of cluster %s: %w", opts.Cluster, err)
	}
	s.life, s.cancel = context.WithCancel(context.Background())
	s.tasks.Go(func() { s.follow(s.life) })
	return s, nil
}

// Close stops following. Sessions, memberships and locks of this Store that were
// not closed before are over on this side, and lapse in the metadata store.
func (s *Store) Close() {
	s.cancel()
	s.tasks.Wait()
	s.metrics.unregister()
}

// Catalog returns the picture that the Store keeps.
func (s *Store) Catalog() *Catalog { return s.catalog }

// Done is closed when the catalog is not kept up any more: after Close, or when
// the metadata cannot be understood, which Err tells. A node then has to stop.
func (s *Store) Done() <-chan struct{} { return s.done }

// Err says why Done was closed: ErrClosed after Close. Before it is nil.
func (s *Store) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// loadCatalog reads everything into a new view and puts that in place.
func (s *Store) loadCatalog(ctx context.Context) error {
	entries, revision, err := s.kv.Range(ctx, string(s.keys))
	if err != nil {
		return err
	}
	v := newView(s.keys, s.anomaly)
	if err := v.load(entries, revision); err != nil {
		return &unreadable{err}
	}
	s.catalog.replace(v)
	return nil
}

// unreadable marks errors that trying again does not heal.
type unreadable struct{ error }

func (e *unreadable) Unwrap() error { return e.error }

func (s *Store) anomaly(reason string, args ...any) {
	s.metrics.anomalies.Inc()
	s.log.Error("metadata contradict themselves: "+reason, args...)
}

// caughtUp waits until the own catalog shows a revision, as long as ctx allows
// and the catalog is kept up. What was written stays written if it does not.
func (s *Store) caughtUp(ctx context.Context, revision int64) {
	for {
		changed := s.catalog.Changed()
		if s.catalog.Revision() >= revision {
			return
		}
		select {
		case <-changed:
		case <-s.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// LongHistory reports whether the metadata store still keeps what was so many
// revisions ago. Every commit is a revision with a value, so history that nobody
// compacts fills the store. It is false where the store does not tell.
func (s *Store) LongHistory(ctx context.Context, revisions int64) (bool, error) {
	store := s.kv
	if m, ok := store.(measured); ok {
		store = m.Store
	}
	historian, ok := store.(kv.Historian)
	if !ok || s.catalog.Revision() <= revisions {
		return false, nil
	}
	compacted, err := historian.Compacted(ctx, s.keys.topicDeletions(), s.catalog.Revision()-revisions)
	if err != nil {
		return false, fmt.Errorf("look at the history of the metadata: %w", err)
	}
	return !compacted, nil
}

// CatchUp waits until the catalog shows everything that was written before the
// call, by anybody.
func (s *Store) CatchUp(ctx context.Context) error {
	_, revision, err := s.kv.Range(ctx, s.keys.topicDeletions()) // a small one: the revision is what counts
	if err == nil {
		err = s.catalog.WaitRevision(ctx, revision)
	}
	if err != nil {
		return fmt.Errorf("catch up with the metadata: %w", err)
	}
	return nil
}

// newID returns 16 bytes of the store's randomness, as hex.
func (s *Store) newID() string {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return fmt.Sprintf("%016x%016x", s.rand.Uint64(), s.rand.Uint64())
}

func (s *Store) jitter() float64 {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return s.rand.Float64()
}

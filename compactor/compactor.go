// Package compactor rewrites what brokers have committed, in the background:
// segments of many partitions into log files of one, and log files into the
// Parquet files that make a topic a SQL table.
//
// It works in rounds. A round looks at the catalog, plans a pass for each of its
// partitions that is due (policy.go, pure), carries the passes out (pass.go,
// table.go), and swaps the manifests of all of them in one transaction
// (round.go). Segments of which little is needed any more are merged (merge.go),
// those whose every range is in log files are dropped (segments.go); what nothing names any more is deleted after a grace period by
// whoever holds the janitor's lock (janitor.go). What would hold a round up,
// embedding and the merges of shards, is done in jobs beside it (jobs.go,
// shards.go), whose work the next pass adopts.
//
// What it promises rests on three habits. An attempt writes under names that
// were never used, so nothing it does can harm what is there. Objects come
// first, then the manifest object, then the compare-and-swap that brings all of
// it to life: a crash or a lost answer at any point leaves orphans and nothing
// else, and of two compactors on one manifest version one wins. And nothing is
// deleted while metadata names it, nor before readers have had their time.
//
// Partitions are shared out over the live compactors, which only saves work. No
// request waits for this package; while it is away, queries read the log.
package compactor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/milvus"
	"github.com/chronik-stream/chronik/objstore"
)

// restMax is the longest time between two rounds.
const restMax = 10 * time.Second

// jobsTogether is for how long jobs that end are gathered, to be adopted with one
// manifest object.
const jobsTogether = 100 * time.Millisecond

// Config says how a compactor works. Zero values are defaults.
type Config struct {
	ID       string // unique among the cluster's compactors
	Address  string
	Version  string
	Defaults topicconfig.Defaults // the cluster's

	Policy            Policy
	Workers           int           // passes at once; default half the cores
	Embeddings        int           // partitions whose new records are embedded at once; default 8
	ShardWorkers      int           // merges of large shards at once, and as many of small ones, of a core each; default 1
	Upserts           int           // partitions whose vectors are put into a Milvus at once; default 4
	CollectionsEvery  time.Duration // between looks at what collections a Milvus has; default 30 s
	CleanBytesMax     int64         // memory for the keys that compaction by key gathers; default 128 MiB
	BatchBytesMax     int           // of a decompressed batch; default 256 MiB
	LookEvery         time.Duration // for which changes of the metadata are gathered; default 1 s
	PassTimeout       time.Duration // of a group of passes; default 30 m, and never above a quarter of OrphanAge
	MemberTTL         time.Duration // default 10 s
	ProducerExpiry    time.Duration // how long an idle idempotent producer is remembered; default 24 h
	DeletionGrace     time.Duration // from an object's last use to its deletion; default 10 m
	DeletionEvery     time.Duration // between two looks at what is to be deleted; default 30 s
	OrphanAge         time.Duration // from which an object without a name in the metadata is swept; default 24 h
	OrphanEvery       time.Duration // between two sweeps; default 6 h
	FailurePauseMin   time.Duration // before a failed partition is tried again; default 1 s, doubled up to FailurePauseMax
	FailurePauseMax   time.Duration // default 5 m
	IcebergEvery      time.Duration // between two commits of an Iceberg table; default 1 m
	IcebergRetention  time.Duration // for which a snapshot is kept after it was superseded; default 3 h
	IcebergLocation   string        // of the bucket as readers of tables see it; empty: no tables
	manifestsInFlight int           // of one read of manifests
	collectVectors    int64         // of a shard, about, that are put into a Milvus before the job notes that they are there
	sweepAtOnce       int           // names that a sweep holds in memory
	historyMax        int64         // revisions that the metadata store should not keep
}

func (c Config) withDefaults() Config {
	c.Policy = c.Policy.withDefaults()
	c.Workers = cmp.Or(c.Workers, max(1, runtime.GOMAXPROCS(0)/2))
	c.Embeddings = cmp.Or(c.Embeddings, 8)
	c.ShardWorkers = cmp.Or(c.ShardWorkers, 1)
	c.Upserts = cmp.Or(c.Upserts, 4)
	c.CollectionsEvery = cmp.Or(c.CollectionsEvery, 30*time.Second)
	c.CleanBytesMax = cmp.Or(c.CleanBytesMax, 128<<20)
	c.BatchBytesMax = cmp.Or(c.BatchBytesMax, 256<<20)
	c.LookEvery = cmp.Or(c.LookEvery, time.Second)
	c.PassTimeout = cmp.Or(c.PassTimeout, 30*time.Minute)
	c.MemberTTL = cmp.Or(c.MemberTTL, 10*time.Second)
	c.ProducerExpiry = cmp.Or(c.ProducerExpiry, 24*time.Hour)
	c.DeletionGrace = cmp.Or(c.DeletionGrace, 10*time.Minute)
	c.DeletionEvery = cmp.Or(c.DeletionEvery, 30*time.Second)
	c.OrphanAge = cmp.Or(c.OrphanAge, 24*time.Hour)
	c.OrphanEvery = cmp.Or(c.OrphanEvery, 6*time.Hour)
	// An attempt must have given up long before what it wrote counts as orphaned.
	c.PassTimeout = min(c.PassTimeout, c.OrphanAge/4) // [attempts-end]
	c.FailurePauseMin = cmp.Or(c.FailurePauseMin, time.Second)
	c.FailurePauseMax = cmp.Or(c.FailurePauseMax, 5*time.Minute)
	c.IcebergEvery = cmp.Or(c.IcebergEvery, time.Minute)
	c.IcebergRetention = cmp.Or(c.IcebergRetention, 3*time.Hour)
	c.manifestsInFlight = 16
	c.historyMax = cmp.Or(c.historyMax, 500_000)       // days of a cluster with a few brokers
	c.collectVectors = cmp.Or(c.collectVectors, 1<<17) // a walk through the shard for each so many
	c.sweepAtOnce = cmp.Or(c.sweepAtOnce, 20_000)
	return c
}

// Deps are what a compactor works with.
type Deps struct {
	Store      *metastore.Store
	Bucket     objstore.Bucket // with retries: what fails here fails the pass
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	Embedder   *embedder.Service     // nil: nothing is embedded
	Milvus     *milvus.Client        // nil: there is none
}

// Compactor is one member of the cluster's compactors.
type Compactor struct {
	config    Config
	policy    Policy
	store     *metastore.Store
	catalog   *metastore.Catalog
	bucket    objstore.Bucket
	log       *slog.Logger
	now       func() time.Time
	metrics   *metrics
	source    *source
	workers   *workers
	jobs      *jobs
	embedders *embedder.Service
	milvus    *milvus.Client
	watched   watched
	decoder   sync.Pool // of *batch.Decoder

	sweeping atomic.Bool // it holds the janitor's lock

	sections  map[topic.Partition]known     // manifests as last read
	failures  map[topic.Partition]failure   // partitions to be left alone for a while
	cleanings map[topic.Partition]*cleaning // those that take several passes
	derived   map[topic.ID]bool             // topics that files are derived from, as of this round

	segmentFailures map[string]failure   // segments to be left alone for a while, by id
	damaged         map[string]time.Time // objects that merges leave out, and until when
}

// known is a manifest section with the version that it is.
type known struct {
	version int64
	object  string
	section manifest.Section

	newcomers []newcomer // those of its columnar files that came since the first read
}

// failure is the record of something that failed some times in a row.
type failure struct {
	until  time.Time
	pause  time.Duration
	damage int // how many of them because of damage
}

// again notes one more failure: the pause gets longer each time.
func (f *failure) again(now time.Time, c Config) {
	f.pause = min(max(2*f.pause, c.FailurePauseMin), c.FailurePauseMax)
	f.until = now.Add(f.pause)
}

// New returns a compactor; Run makes it work.
func New(config Config, d Deps) (*Compactor, error) {
	if config.ID == "" || d.Store == nil || d.Bucket == nil || d.Log == nil {
		return nil, errors.New("new compactor: it needs an id, a store, a bucket and a log")
	}
	c := &Compactor{
		config:    config.withDefaults(),
		store:     d.Store,
		catalog:   d.Store.Catalog(),
		bucket:    d.Bucket,
		log:       d.Log,
		now:       d.Now,
		metrics:   newMetrics(),
		source:    newSource(d.Bucket),
		embedders: d.Embedder,
		milvus:    d.Milvus,
		sections:  make(map[topic.Partition]known),
		failures:  make(map[topic.Partition]failure),

		cleanings:       make(map[topic.Partition]*cleaning),
		segmentFailures: make(map[string]failure),
		damaged:         make(map[string]time.Time),
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.policy = c.config.Policy
	c.decoder.New = func() any { return batch.NewDecoder(c.config.BatchBytesMax) }
	if err := c.metrics.register(d.Registerer); err != nil {
		return nil, err
	}
	return c, nil
}

// Run works until ctx ends, and returns nil then. It is called once. A round
// that is under way is given up: what it has written becomes orphans.
func (c *Compactor) Run(ctx context.Context) error {
	defer c.metrics.unregister()
	member := metastore.Member{ID: c.config.ID, Address: c.config.Address, Version: c.config.Version, StartedAt: c.now()}
	membership, err := c.store.RegisterCompactor(ctx, member, c.config.MemberTTL)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("run compactor: %w", err)
	}
	c.startWorkers()
	var janitor sync.WaitGroup
	janitor.Go(func() { c.janitor(ctx) })
	if c.config.IcebergLocation != "" {
		janitor.Go(func() { c.icebergs(ctx) })
	}
	if c.milvus != nil {
		janitor.Go(func() { c.watchCollections(ctx) })
	}

	c.rounds(ctx)

	janitor.Wait()
	c.stopWorkers()
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.MemberTTL)
	defer cancel()
	if err := membership.Close(leaving); err != nil {
		c.log.Warn("the compactor's key is left to its lease", "err", err)
	}
	return nil
}

func (c *Compactor) startWorkers() {
	c.workers = startWorkers(c.config.Workers, c.log)
	c.jobs = newJobs(c.config, c.now, c.log, map[lane]int{
		embedLane: c.config.Embeddings, redoLane: max(1, c.config.Embeddings/2), mergeLane: c.config.ShardWorkers, largeLane: c.config.ShardWorkers, collectLane: c.config.Upserts,
	})
}

func (c *Compactor) stopWorkers() {
	c.jobs.stop()
	c.workers.stop()
}

// rounds works through what is due, and waits for more in between. When a round
// has done something, the next one begins at once: there may be more.
func (c *Compactor) rounds(ctx context.Context) {
	for ctx.Err() == nil {
		changed := c.catalog.Changed()
		worked, again := c.round(ctx)
		if !worked {
			c.rest(ctx, changed, again)
		}
	}
}

// rest waits for a change or a time, but never longer than restMax, since
// retention has no time of its own. Commits come several a second and hardly
// ever make something due, so changes are looked at LookEvery together.
func (c *Compactor) rest(ctx context.Context, changed <-chan struct{}, again time.Time) {
	wait := restMax
	if !again.IsZero() {
		wait = max(0, min(wait, again.Sub(c.now())))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		pause(ctx, min(c.config.LookEvery, time.Millisecond))
	case <-c.jobs.wake:
		pause(ctx, min(c.config.LookEvery, jobsTogether))
	case <-changed:
		pause(ctx, min(c.config.LookEvery, wait))
	}
}

// newID makes a name for one object of one attempt; no other attempt has it, and
// none that finds it adopts it. [own-names]
func (c *Compactor) newID() ulid.ULID { return ulid.MustNew(ulid.Timestamp(c.now()), rand.Reader) }

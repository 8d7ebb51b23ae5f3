// Package query is the query node: SQL over topics, answered over HTTP, and search
// by words and by meaning.
//
// It holds nothing but caches. A query passes the gate (package gate), is bound
// to one snapshot of every topic that it names, and runs in an engine of its own
// (package engine), unless the same question was answered from the same files
// before (package resultcache). A snapshot is, for each partition, the Parquet files of its
// manifest (kept locally by package filecache) up to the columnar mark, and the
// rows from there on that package tail reads from the brokers: every record
// once, and with freshness "latest" every record that was acknowledged before
// the request came. The answer says which offsets it covers.
//
// Any node answers any query; one that another node is likely to have at hand is
// handed on to that (package peers). If a node dies, its requests fail and any
// other node answers them; what it left on disk is checked or thrown away by its next life.
//
// The HTTP contract: /_sql here, what is like Elasticsearch in package elastic,
// /_vector in semantic, /_query in federated; one error envelope; a closed
// connection ends the work behind it. Health and metrics are the process's.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/auth"
	"github.com/chronik-stream/chronik/query/elastic"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/federated"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/masks"
	"github.com/chronik-stream/chronik/query/peers"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/produce"
	"github.com/chronik-stream/chronik/query/resultcache"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/shardcache"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/splitcache"
	"github.com/chronik-stream/chronik/query/tail"
	"github.com/chronik-stream/chronik/query/vector"
)

// Limits of requests, from the contract.
const (
	limitDefault   = 1_000
	limitMax       = 1_000_000
	bodyBytesMax   = 16 << 20
	timeoutMax     = 24 * time.Hour
	describeWait   = 5 * time.Second
	tailIdle       = time.Minute
	drainWait      = 10 * time.Second
	trimIntervalMs = 200
)

// Config is what a node works with. Bucket, Catalog and DataDir are required.
type Config struct {
	Catalog *metastore.Catalog
	Bucket  objstore.Bucket
	DataDir string // for caches and what spills; this node's alone

	// TopicDefaults are the cluster's defaults of topic settings.
	TopicDefaults topicconfig.Defaults
	// CatchUp waits until Catalog has all that is in the metadata store. Without
	// it the catalog is taken as it is.
	CatchUp func(context.Context) error
	// ReportDamage says that a file of a table is damaged or missing, so that it is
	// made again. Without it, it stays as it is.
	ReportDamage func(ctx context.Context, object, reason string) error
	// Seeds returns addresses of brokers; default: those of the live brokers
	// in the catalog.
	Seeds func() []string
	// Kafka holds what else a Kafka client needs: TLS, SASL.
	Kafka []tail.ClientOption

	// Embedder makes vectors of the texts that are searched for. Nil: only vectors
	// can be.
	Embedder *embedder.Service
	// Milvus has the vectors of topics whose index is there. Nil: those are searched
	// in their shards.
	Milvus vector.Collections

	Timeout        time.Duration // of a request that names none; default 30 s
	ConcurrentMax  int           // queries at once; default 4
	WaitingMax     int           // further ones that wait; default 256
	WaitMax        time.Duration // for which one waits; default 10 s
	Threads        int           // of one query; default one per core
	MemoryBytesMax int64         // of one query; default 1 GiB
	CacheBytesMax  int64         // of local files: Parquet, splits; default 8 GiB
	TailBytesMax   int64         // of records that are in no such file yet; default 1 GiB

	ResultBytesMax       int64         // of answers that are kept; 0: none are
	ResultAnswerBytesMax int64         // of one of them
	ResultAge            time.Duration // for which one is kept

	// Self is the node's id among the query nodes of the catalog; with it, what
	// another one is preferred for is handed on. Empty: every query is answered here.
	Self string

	Cluster          string // its name, as it is shown
	WriteBytesMax    int64  // of documents under way to the log; default 128 MiB
	AutoCreateTopics bool   // a document for a topic that is not there creates it

	// Auth tells who asks, over HTTP and Flight. Nil: everybody is anonymous.
	Auth auth.Authenticator
	// Administrator returns why whoever sent a request may not have the vectors of
	// topics made anew or dropped. Nil: everybody may.
	Administrator func(*http.Request) error
	// Indexes does it; nil: this node cannot.
	Indexes Indexes

	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics

	wholeBytes int64 // Parquet files up to this size are fetched whole; tests set it
}

// Node is a query node.
type Node struct {
	config    Config
	manifests *committed.Reader
	cache     *filecache.Cache
	tails     *tail.Tails
	sources   *snapshot.Sources
	splits    *splitcache.Cache
	shards    *shardcache.Cache
	search    *search.Searcher
	vectors   *vector.Searcher
	producer  *produce.Producer
	elastic   *elastic.Surface
	semantic  *semantic.Surface
	federated *federated.Surface
	engine    *engine.Engine // nil in a build without one
	results   *resultcache.Cache
	peers     *peers.Peers // nil: there are none
	places    *places.Places
	metrics   *metrics
	handler   http.Handler
}

// Open prepares the caches and the engine. The node answers on Handler at once;
// Run serves it and keeps the tails small.
func Open(ctx context.Context, c Config) (*Node, error) {
	c = c.withDefaults()
	dir, err := dataDir(c.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open the query node: %w", err)
	}
	c.DataDir = dir
	if err := clearVectors(dir); err != nil {
		return nil, fmt.Errorf("open the query node: %w", err)
	}
	n := &Node{
		config: c, manifests: committed.NewReader(c.Catalog, c.Bucket, committed.Options{}),
		places:  places.New(places.Options{RunningMax: c.ConcurrentMax, WaitingMax: c.WaitingMax, WaitMax: c.WaitMax}),
		results: resultcache.New(resultcache.Options{BytesMax: c.ResultBytesMax, AnswerBytesMax: c.ResultAnswerBytesMax, Age: c.ResultAge}),
	}
	if c.Self != "" {
		n.peers = peers.New(peers.Options{Self: c.Self, Members: c.Catalog.Queries, Log: c.Log})
	}
	if n.cache, err = filecache.Open(c.Bucket, filecache.Options{
		Dir: filepath.Join(c.DataDir, "objects"), BytesMax: c.CacheBytesMax, Log: c.Log,
	}); err != nil {
		return nil, fmt.Errorf("open the query node: %w", err)
	}
	if n.tails, err = tail.Open(tail.Options{
		Dir: filepath.Join(c.DataDir, "tail"), BytesMax: c.TailBytesMax, Seeds: c.Seeds, Client: c.Kafka, Log: c.Log,
		Exists: func(name string, id topic.ID) bool {
			t, ok := c.Catalog.Topic(name)
			return ok && t.ID == id
		},
	}); err != nil {
		n.cache.Close()
		return nil, fmt.Errorf("open the query node: %w", err)
	}
	n.sources = &snapshot.Sources{
		Catalog: c.Catalog, Manifests: n.manifests, Tails: n.tails, CatchUp: c.CatchUp, ReportDamage: c.ReportDamage, Log: c.Log,
	}
	n.splits = splitcache.New(n.cache, splitcache.Options{MappedBytesMax: c.CacheBytesMax / 3})
	n.shards = shardcache.New(n.cache, shardcache.Options{MappedBytesMax: c.CacheBytesMax / 3})
	masked := masks.New(n.cache)
	n.search = search.New(search.Config{
		Sources: n.sources, Splits: n.splits, Masks: masked, Places: n.places, TopicDefaults: c.TopicDefaults, Timeout: c.Timeout, Parallel: c.Threads, Log: c.Log,
	})
	n.vectors = vector.New(vector.Config{
		Sources: n.sources, Shards: n.shards, Masks: masked, Places: n.places, Embedder: c.Embedder, Milvus: c.Milvus, TopicDefaults: c.TopicDefaults, Timeout: c.Timeout, Parallel: c.Threads, Log: c.Log,
	})
	n.engine, err = engine.Open(ctx, engine.Options{
		Threads: c.Threads, MemoryBytesMax: c.MemoryBytesMax, SpillDir: filepath.Join(c.DataDir, "spill"), Log: c.Log,
	})
	if err != nil && !errors.Is(err, engine.ErrDisabled) {
		return nil, errors.Join(fmt.Errorf("open the query node: %w", err), n.close())
	}
	n.producer = produce.New(produce.Options{Seeds: c.Seeds, Client: c.Kafka, BytesMax: c.WriteBytesMax, Log: c.Log})
	n.elastic, n.semantic, n.federated = n.newElastic(), n.newSemantic(), n.newFederated()
	if n.metrics, err = newMetrics(c.Registerer, n); err != nil {
		return nil, errors.Join(fmt.Errorf("open the query node: %w", err), n.close())
	}
	n.handler = n.routes()
	return n, nil
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.ConcurrentMax <= 0 {
		c.ConcurrentMax = 4
	}
	if c.WaitingMax <= 0 {
		c.WaitingMax = 256
	}
	if c.WaitMax <= 0 {
		c.WaitMax = 10 * time.Second
	}
	if c.wholeBytes <= 0 {
		c.wholeBytes = wholeBytes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Seeds == nil {
		catalog := c.Catalog
		c.Seeds = func() []string { return seeds(catalog) }
	}
	return c
}

// dataDir makes the path absolute, and refuses one that the engine would take
// for a pattern.
func dataDir(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(path, "*?[") {
		return "", fmt.Errorf("the data folder %s: its path must not have any of the characters * ? [", path)
	}
	return path, nil
}

// seeds are the addresses by which the tail reaches the live brokers: of each its
// internal listener, or its plain one where it has none, as `chronik dev`.
func seeds(catalog *metastore.Catalog) []string {
	var addresses []string
	for _, b := range catalog.Brokers() {
		for _, name := range []string{metastore.InternalListener, "PLAINTEXT"} {
			if i := slices.IndexFunc(b.Listeners, func(l metastore.Listener) bool { return l.Name == name }); i >= 0 {
				l := b.Listeners[i]
				addresses = append(addresses, net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))))
				break
			}
		}
	}
	slices.Sort(addresses)
	return addresses
}

// Search is full-text search over the topics.
func (n *Node) Search() *search.Searcher { return n.search }

// Vectors is search by meaning over the topics.
func (n *Node) Vectors() *vector.Searcher { return n.vectors }

// Handler serves the whole HTTP surface.
func (n *Node) Handler() http.Handler { return n.handler }

// Run serves the listeners until ctx ends, lets running requests finish for a
// while, and closes the node. It owns the listeners. A node runs once.
func (n *Node) Run(ctx context.Context, listeners ...net.Listener) error {
	server := &http.Server{
		Handler:           n.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(n.config.Log.Handler(), slog.LevelDebug),
	}
	group, inner := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		n.follow(inner)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWait)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			return errors.Join(fmt.Errorf("drain HTTP requests: %w", err), server.Close())
		}
		return nil
	})
	return errors.Join(group.Wait(), n.Close())
}

// Close frees everything but the listeners. Run does it; it may be called again.
func (n *Node) Close() error { return n.close() }

// SQL reports whether the node has an engine; a build without one has none.
func (n *Node) SQL() bool { return n.engine != nil }

func (n *Node) close() error {
	if n.producer != nil {
		n.producer.Close()
	}
	n.tails.Close()
	n.cache.Close()
	if n.splits != nil {
		n.splits.Close()
	}
	if n.shards != nil {
		n.shards.Close()
	}
	if n.peers != nil {
		n.peers.Close()
	}
	if n.engine != nil {
		return n.engine.Close()
	}
	return nil
}

// follow keeps the tails no longer than needed until ctx ends: rows go when a
// manifest covers them, topics when they are deleted or nobody asks for them.
func (n *Node) follow(ctx context.Context) {
	tick := time.NewTicker(trimIntervalMs * time.Millisecond)
	defer tick.Stop()
	seen := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			n.tails.Expire(now.Add(-tailIdle))
		}
		if revision := n.config.Catalog.Revision(); revision != seen {
			seen = revision
			n.trim()
		}
	}
}

func (n *Node) trim() {
	for _, key := range n.tails.Active() {
		kind := snapshot.Columnar
		if key.Form == tail.Index {
			kind = snapshot.Text
		}
		marks, ok := n.sources.Marks(key.ID, kind)
		if !ok {
			n.tails.Drop(key)
			continue
		}
		n.tails.Trim(key, marks)
	}
}

package node

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/tlsfiles"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/embed"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
	"github.com/chronik-stream/chronik/milvus"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/cache"
	"github.com/chronik-stream/chronik/objstore/faults"
	"github.com/chronik-stream/chronik/objstore/open"
)

// parts are what modules make for those that need them.
type parts struct {
	bucket    objstore.Bucket // uncached
	etcd      *embed.Server
	metadata  *metastore.Store
	committed *committed.Reader
	embedder  *embedder.Service
	milvus    *milvus.Client // nil: there is none
}

// BucketConfig is the bucket of a configuration.
func BucketConfig(cfg *config.Config) (open.Config, error) {
	s := cfg.ObjectStore
	plan, err := faults.ParsePlan(s.Faults)
	if err != nil {
		return open.Config{}, fmt.Errorf("objstore.faults: %w", err)
	}
	c := open.Config{
		Provider: s.Provider, Dir: s.Dir, Prefix: strings.Trim(s.Prefix+"/"+cfg.Cluster, "/"),
		Bucket: s.Bucket, Endpoint: s.Endpoint, Region: s.Region, PathStyle: s.PathStyle, CAFile: s.CAFile,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		CreateBucket: s.CreateBucket, Faults: plan,
	}
	if c.Dir == "" {
		c.Dir = cfg.Path("bucket")
	}
	return c, nil
}

func startBucket(ctx context.Context, n *Node) (running, error) {
	c, err := BucketConfig(n.cfg)
	if err != nil {
		return running{}, err
	}
	// A broker was here before, and what it has acknowledged lies in its WAL.
	_, missing := os.Stat(n.cfg.Path("wal"))
	c.MayBeAway = missing == nil
	bucket, closeBucket, err := n.openBucket(ctx, c)
	if err != nil {
		return running{}, err
	}
	n.parts.bucket = bucket
	n.opened(func() { n.bucket = bucket })
	return closing(closeBucket), nil
}

// openBucket opens the bucket. Where several things start at once the store may
// come later: a node of a cluster waits for it, and says so.
func (n *Node) openBucket(ctx context.Context, c open.Config) (objstore.Bucket, func() error, error) {
	for tries := uint(1); ; tries++ {
		bucket, release, err := open.Bucket(ctx, c, n.log, n.registry)
		if err == nil || !n.cfg.Clustered() || !errors.Is(err, objstore.ErrUnavailable) || ctx.Err() != nil {
			return bucket, release, err
		}
		n.is("waiting for the bucket")
		n.warnSeldom(tries, "the object store does not answer yet, waiting for it", "error", err)
		select {
		case <-time.After(openAgainAfter):
		case <-ctx.Done():
		}
	}
}

// warnSeldom tells of the 1st, 2nd, 4th, 8th, … try that failed: what lasts is told
// ever less often.
func (n *Node) warnSeldom(tries uint, message string, args ...any) {
	if bits.OnesCount(tries) == 1 {
		n.log.Warn(message, append([]any{"tries", tries}, args...)...)
	}
}

func startEmbeddedEtcd(ctx context.Context, n *Node) (running, error) {
	server, err := embed.Start(ctx, embed.Config{Dir: n.cfg.Path("etcd"), Log: n.log})
	if err != nil {
		return running{}, err
	}
	n.parts.etcd = server
	r := closing(func() error { server.Close(); return nil })
	r.failed = server.Err()
	return r, nil
}

func startMetadata(ctx context.Context, n *Node) (running, error) {
	options, err := n.etcdOptions()
	if err != nil {
		return running{}, err
	}
	store, metadata, err := n.openMetadata(ctx, options)
	if err != nil {
		return running{}, err
	}
	n.parts.metadata = metadata
	if n.cfg.Clustered() && !n.cfg.Has(RoleBroker) && unheardOf(metadata.Catalog()) {
		n.log.Warn("no broker has been in this cluster yet: is its name right?", "cluster", n.cfg.Cluster)
	}
	n.opened(func() { n.store = metadata })
	failed := make(chan error, 1)
	go func() {
		<-metadata.Done()
		failed <- metadata.Err()
	}()
	r := closing(func() error {
		metadata.Close()
		return store.Close()
	})
	r.failed = failed
	return r, nil
}

// etcdOptions say how to reach the etcd that the configuration names, or the
// embedded one.
func (n *Node) etcdOptions() (etcd.Options, error) {
	if n.parts.etcd != nil {
		return etcd.Options{Endpoints: []string{n.parts.etcd.Endpoint()}}, nil
	}
	e := n.cfg.Etcd
	options := etcd.Options{Endpoints: e.Endpoints, Username: e.Username, Password: e.Password.Reveal(), DialTimeout: e.DialTimeout}
	if strings.HasPrefix(e.Endpoints[0], "https://") {
		var err error
		if options.TLS, err = etcd.LoadTLS(tlsfiles.Files{CA: e.CAFile, Cert: e.CertFile, Key: e.KeyFile, ServerName: e.ServerName}); err != nil {
			return etcd.Options{}, err
		}
	}
	return options, nil
}

const (
	// openWithin bounds one try to read the metadata; big clusters take seconds.
	openWithin = time.Minute
	// openAgainAfter is the pause before the next.
	openAgainAfter = time.Second
)

// openMetadata connects and reads the metadata. While etcd is away it waits,
// and says so; what trying again cannot heal is an error.
func (n *Node) openMetadata(ctx context.Context, options etcd.Options) (*etcd.Store, *metastore.Store, error) {
	for tries := uint(1); ; tries++ {
		store, metadata, err := n.tryMetadata(ctx, options)
		switch {
		case err == nil:
			return store, metadata, nil
		case ctx.Err() != nil:
			return nil, nil, err
		case !errors.Is(err, kv.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded):
			return nil, nil, explainEtcd(err, n.cfg)
		}
		n.is("waiting for etcd at " + strings.Join(options.Endpoints, ", "))
		n.warnSeldom(tries, "etcd does not answer yet, waiting for it", "endpoints", options.Endpoints, "error", err)
		select {
		case <-time.After(openAgainAfter):
		case <-ctx.Done():
		}
	}
}

func (n *Node) tryMetadata(ctx context.Context, options etcd.Options) (*etcd.Store, *metastore.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	store, err := n.connect(ctx, options)
	if err != nil {
		return nil, nil, err
	}
	metadata, err := metastore.Open(ctx, store, metastore.Options{Cluster: n.cfg.Cluster, Log: n.log, Registerer: n.registry})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, metadata, nil
}

// connect gives up sooner than reading may take, so that waiting shows.
func (n *Node) connect(ctx context.Context, options etcd.Options) (*etcd.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Etcd.DialTimeout)
	defer cancel()
	return etcd.Open(ctx, options)
}

// unheardOf tells whether a catalog has nothing of a cluster: brokers make it.
func unheardOf(c *metastore.Catalog) bool { return len(c.Brokers()) == 0 && len(c.Topics()) == 0 }

// explainEtcd adds to a refusal what the operator can do about it.
func explainEtcd(err error, cfg *config.Config) error {
	switch {
	case errors.Is(err, etcd.ErrNoPermission):
		return fmt.Errorf("%w (the user %q needs to read and write /chronik/%s/ and /chronik-groups/%s/, and to read /chronik)", err, cfg.Etcd.Username, cfg.Cluster, cfg.Cluster)
	case errors.Is(err, etcd.ErrNotAuthenticated):
		return fmt.Errorf("%w (etcd.username and etcd.password are CHRONIK_ETCD_USERNAME and CHRONIK_ETCD_PASSWORD)", err)
	}
	return err
}

// startReader opens what reads committed records: for fetches of older ones and
// for the compactor. Pieces of objects are cached, on disk too where the bucket
// is far away.
func startReader(_ context.Context, n *Node) (running, error) {
	o := cache.Options{
		MemoryBytesMax: int64(n.cfg.Cache.MemoryBytes), ReadaheadChunks: 4,
		Log: n.log, Registerer: n.registry,
	}
	if n.cfg.ObjectStore.Provider != "local" {
		o.Dir, o.DiskBytesMax = n.cfg.Path("cache/objects"), int64(n.cfg.Cache.DiskBytes)
	}
	bucket, err := cache.Open(n.parts.bucket, o)
	if err != nil {
		return running{}, err
	}
	metrics, err := committed.NewMetrics(n.registry)
	if err != nil {
		return running{}, errors.Join(err, bucket.Close())
	}
	n.parts.committed = committed.NewReader(n.parts.metadata.Catalog(), bucket, committed.Options{Metrics: metrics})
	return closing(bucket.Close), nil
}

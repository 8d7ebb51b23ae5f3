package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/embed"
	"github.com/chronik-stream/chronik/metastore/kv/etcd"
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
	bucket, closeBucket, err := open.Bucket(ctx, c, n.log, n.registry)
	if err != nil {
		return running{}, err
	}
	n.parts.bucket = bucket
	return closing(closeBucket), nil
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
	store, err := etcd.Open(ctx, etcd.Options{Endpoints: []string{n.parts.etcd.Endpoint()}})
	if err != nil {
		return running{}, err
	}
	metadata, err := metastore.Open(ctx, store, metastore.Options{Cluster: n.cfg.Cluster, Log: n.log, Registerer: n.registry})
	if err != nil {
		return running{}, errors.Join(err, store.Close())
	}
	n.parts.metadata = metadata
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

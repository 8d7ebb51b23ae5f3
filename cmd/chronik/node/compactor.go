package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/compactor"
	"github.com/chronik-stream/chronik/internal/version"
)

func startCompactor(_ context.Context, n *Node) (running, error) {
	tables, err := icebergLocation(n.cfg)
	if err != nil {
		return running{}, err
	}
	c, err := compactor.New(compactorConfig(n.cfg, n.memberID(), n.address(), tables), compactor.Deps{
		Store: n.parts.metadata, Bucket: n.parts.bucket, Log: n.log.With("role", RoleCompactor), Registerer: n.registry,
		Embedder: n.parts.embedder, Milvus: n.parts.milvus,
	})
	if err != nil {
		return running{}, err
	}
	n.opened(func() { n.janitor = c.Janitor })
	return background(c.Run), nil
}

func compactorConfig(c *config.Config, id, address, tables string) compactor.Config {
	return compactor.Config{
		ID: id, Address: address, Version: version.String(), Defaults: c.TopicDefaults(),
		Policy: compactor.Policy{
			FirstBytes: int64(c.Compactor.FirstBytes), FirstAge: c.Compactor.FirstAge, PlainAge: c.Compactor.PlainAge,
			PassBytesMax: int64(c.Compactor.PassBytes), FileBytesMax: int64(c.Compactor.FileBytes), MergeFiles: c.Compactor.MergeFiles,
			EmbedAge: c.Compactor.EmbedAge, ShardBytesMax: int64(c.Compactor.ShardBytes),
		},
		CleanBytesMax: int64(c.Compactor.CleanBytes),
		Upserts:       c.Milvus.Upserts, Workers: c.Compactor.Workers, LookEvery: c.Compactor.LookEvery,
		ProducerExpiry: c.Producer.Expiry, DeletionGrace: c.Compactor.DeletionGrace, OrphanAge: c.Compactor.OrphanAge, OrphanEvery: c.Compactor.OrphanEvery,
		IcebergEvery: c.Iceberg.Every, IcebergRetention: c.Iceberg.Retention, IcebergLocation: tables,
	}
}

// icebergLocation is where readers of Iceberg tables find the bucket.
func icebergLocation(cfg *config.Config) (string, error) {
	if cfg.Iceberg.Location != "" {
		return cfg.Iceberg.Location, nil
	}
	c, err := BucketConfig(cfg)
	if err != nil {
		return "", err
	}
	if c.Provider != "local" {
		return strings.TrimSuffix("s3://"+c.Bucket+"/"+c.Prefix, "/"), nil
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", fmt.Errorf("find the bucket's folder: %w", err)
	}
	return "file://" + filepath.ToSlash(filepath.Join(dir, c.Prefix)), nil
}

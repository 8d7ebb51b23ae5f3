package node

import (
	"context"
	"fmt"
	"os"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/compactor"
	"github.com/chronik-stream/chronik/internal/version"
)

func startCompactor(_ context.Context, n *Node) (running, error) {
	host, err := os.Hostname()
	if err != nil {
		return running{}, fmt.Errorf("find a name for the compactor: %w", err)
	}
	c, err := compactor.New(compactorConfig(n.cfg, host), compactor.Deps{
		Store: n.parts.metadata, Bucket: n.parts.bucket, Log: n.log.With("role", RoleCompactor), Registerer: n.registry,
	})
	if err != nil {
		return running{}, err
	}
	return background(c.Run), nil
}

func compactorConfig(c *config.Config, host string) compactor.Config {
	return compactor.Config{
		ID: fmt.Sprintf("%s-%d", host, c.Broker.ID), Version: version.String(), Defaults: c.TopicDefaults(),
		Policy: compactor.Policy{
			FirstBytes: int64(c.Compactor.FirstBytes), FirstAge: c.Compactor.FirstAge, PlainAge: c.Compactor.PlainAge,
			PassBytesMax: int64(c.Compactor.PassBytes), FileBytesMax: int64(c.Compactor.FileBytes), MergeFiles: c.Compactor.MergeFiles,
		},
		Workers: c.Compactor.Workers, LookEvery: c.Compactor.LookEvery,
		ProducerExpiry: c.Producer.Expiry, DeletionGrace: c.Compactor.DeletionGrace, OrphanAge: c.Compactor.OrphanAge, OrphanEvery: c.Compactor.OrphanEvery,
	}
}

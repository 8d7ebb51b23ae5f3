package node

import (
	"context"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/compactor"
	"github.com/chronik-stream/chronik/internal/version"
)

func startCompactor(_ context.Context, n *Node) (running, error) {
	c, err := compactor.New(compactorConfig(n.cfg, n.memberID(), n.address()), compactor.Deps{
		Store: n.parts.metadata, Bucket: n.parts.bucket, Log: n.log.With("role", RoleCompactor), Registerer: n.registry,
	})
	if err != nil {
		return running{}, err
	}
	n.opened(func() { n.janitor = c.Janitor })
	return background(c.Run), nil
}

func compactorConfig(c *config.Config, id, address string) compactor.Config {
	return compactor.Config{
		ID: id, Address: address, Version: version.String(), Defaults: c.TopicDefaults(),
		Policy: compactor.Policy{
			FirstBytes: int64(c.Compactor.FirstBytes), FirstAge: c.Compactor.FirstAge, PlainAge: c.Compactor.PlainAge,
			PassBytesMax: int64(c.Compactor.PassBytes), FileBytesMax: int64(c.Compactor.FileBytes), MergeFiles: c.Compactor.MergeFiles,
		},
		CleanBytesMax: int64(c.Compactor.CleanBytes),
		Workers:       c.Compactor.Workers, LookEvery: c.Compactor.LookEvery,
		ProducerExpiry: c.Producer.Expiry, DeletionGrace: c.Compactor.DeletionGrace, OrphanAge: c.Compactor.OrphanAge, OrphanEvery: c.Compactor.OrphanEvery,
	}
}

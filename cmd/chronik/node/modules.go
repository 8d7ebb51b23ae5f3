package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

// module is a row of the table: a part of the process, what it needs, and how
// long it may take to stop.
type module struct {
	name       string
	needs      []string
	stopWithin time.Duration
	start      func(ctx context.Context, n *Node) (running, error)
}

// The roles, as users name them.
const (
	RoleBroker    = config.RoleBroker
	RoleCompactor = config.RoleCompactor
	RoleQuery     = config.RoleQuery
)

// surface is the module that every process has, and the last to stop: it says
// how the others are.
const surface = "HTTP"

// modules is the table. A deployment is a choice of its rows, made by naming
// roles; what they need comes with them. A node of a cluster has its metadata
// in an etcd that is there, any other brings one.
func modules(cfg *config.Config) []module {
	table := []module{
		{surface, nil, 15 * time.Second, startHTTP},
		{"data folder", nil, 5 * time.Second, startDataFolder},
		{"bucket", []string{"data folder"}, 5 * time.Second, startBucket},
		{"embedded etcd", []string{"data folder"}, 15 * time.Second, startEmbeddedEtcd},
		{"metadata store", []string{"embedded etcd"}, 10 * time.Second, startMetadata},
		{"bucket and metadata", []string{"bucket", "metadata store"}, 5 * time.Second, startPairing},
		{"reader", []string{"bucket and metadata"}, 5 * time.Second, startReader},
		{"embedder", nil, 5 * time.Second, startEmbedder},
		{"milvus", nil, 5 * time.Second, startMilvus},
		{RoleBroker, []string{"reader"}, cfg.Broker.StopTimeout + 10*time.Second, startBroker},
		{RoleCompactor, []string{"bucket and metadata", "embedder", "milvus"}, 20 * time.Second, startCompactor},
		{RoleQuery, []string{surface, "bucket and metadata", "embedder", "milvus"}, cfg.Query.StopTimeout + 10*time.Second, startQuery},
	}
	if cfg.Clustered() {
		for i := range table {
			table[i].needs = slices.DeleteFunc(table[i].needs, func(need string) bool { return need == "embedded etcd" })
		}
	}
	return table
}

func startDataFolder(_ context.Context, n *Node) (running, error) {
	release, err := lockDir(n.cfg.DataDir)
	if err != nil {
		return running{}, err
	}
	if n.identity, err = identity(n.cfg.DataDir); err != nil {
		return running{}, errors.Join(err, release())
	}
	return closing(release), nil
}

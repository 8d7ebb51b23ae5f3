package node

import (
	"context"
	"time"
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
	RoleBroker    = "broker"
	RoleCompactor = "compactor"
	RoleQuery     = "query"
)

// modules is the table. A deployment is a choice of its rows, made by naming
// roles; what they need comes with them.
func modules() []module {
	return []module{
		{"data folder", nil, 5 * time.Second, startDataFolder},
		{"bucket", []string{"data folder"}, 5 * time.Second, startBucket},
		{"embedded etcd", []string{"data folder"}, 15 * time.Second, startEmbeddedEtcd},
		{"metadata store", []string{"embedded etcd"}, 10 * time.Second, startMetadata},
		{"reader", []string{"bucket", "metadata store"}, 5 * time.Second, startReader},
		{RoleBroker, []string{"reader"}, 40 * time.Second, startBroker},
		{RoleCompactor, []string{"bucket", "metadata store"}, 20 * time.Second, startCompactor},
		{RoleQuery, []string{"bucket", "metadata store"}, 20 * time.Second, startQuery},
	}
}

func startDataFolder(_ context.Context, n *Node) (running, error) {
	release, err := lockDir(n.cfg.DataDir)
	if err != nil {
		return running{}, err
	}
	return closing(release), nil
}

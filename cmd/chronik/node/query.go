package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/internal/version"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query"
)

// memberTTL is how long a query node that is silent is still listed.
const memberTTL = 10 * time.Second

func startQuery(ctx context.Context, n *Node) (running, error) {
	c := queryConfig(n.cfg)
	c.Catalog, c.CatchUp, c.Bucket = n.parts.metadata.Catalog(), n.parts.metadata.CatchUp, n.parts.bucket
	c.ReportDamage, c.Indexes = n.parts.metadata.ReportDamage, n.parts.metadata
	if n.parts.milvus != nil { // a nil client is not no Collections
		c.Milvus = n.parts.milvus
	}
	c.Embedder, c.Administrator = n.parts.embedder, n.surface.Administrator
	c.Log, c.Registerer = n.log.With("role", RoleQuery), n.registry
	if n.cfg.Query.Affinity == "topic" {
		c.Self = n.memberID()
	}
	q, err := query.Open(ctx, c)
	if err != nil {
		return running{}, err
	}
	member, err := n.parts.metadata.RegisterQuery(ctx, metastore.Member{
		ID: n.memberID(), Address: n.queryAddress(), Version: version.String(), StartedAt: time.Now(),
	}, memberTTL)
	if err != nil {
		return running{}, errors.Join(err, q.Close())
	}
	n.surface.Attach(q.Handler(), q.Flight(), q.SQL())
	r := background(func(ctx context.Context) error { return q.Run(ctx) })
	end := r.stop
	r.stop = func(ctx context.Context) error {
		left := member.Close(ctx)
		requests, cancel := context.WithTimeout(ctx, n.cfg.Query.StopTimeout)
		defer cancel()
		n.surface.Detach(requests)
		return errors.Join(left, end(ctx))
	}
	return r, nil
}

// queryAddress is where the other query nodes reach this one.
func (n *Node) queryAddress() string {
	given := n.cfg.Query.Advertised
	if given == nil {
		return n.address()
	}
	return net.JoinHostPort(given.Host, fmt.Sprint(cmp.Or(given.Port, n.httpPort)))
}

func queryConfig(c *config.Config) query.Config {
	return query.Config{
		DataDir: c.Path("query"), TopicDefaults: c.TopicDefaults(), Cluster: c.Cluster,
		AutoCreateTopics: c.Topic.AutoCreate, WriteBytesMax: int64(c.Query.WriteBytes),
		Timeout: time.Duration(c.Query.TimeoutSeconds) * time.Second, ConcurrentMax: c.Query.Concurrent,
		WaitingMax: c.Query.Waiting, WaitMax: c.Query.Wait, Threads: c.Query.Threads,
		MemoryBytesMax: int64(c.Query.MemoryBytes), CacheBytesMax: int64(c.Query.CacheBytes), TailBytesMax: int64(c.Query.TailBytes),
		ResultBytesMax: int64(c.Query.ResultsBytes), ResultAnswerBytesMax: int64(c.Query.ResultsAnswerBytes), ResultAge: c.Query.ResultsAge,
	}
}

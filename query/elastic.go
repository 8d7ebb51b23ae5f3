package query

import (
	"cmp"
	"context"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/version"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/elastic"
)

// newElastic is Elasticsearch's surface over the node's topics.
func (n *Node) newElastic() *elastic.Surface {
	return elastic.New(elastic.Options{
		Backend:   elastic.Backend{Searcher: n.search, Catalog: indexes{n}, Producer: n.producer, Admin: n.producer},
		Principal: principalOf, Near: n.near,
		Translate: func(ctx context.Context, err error) *envelope.Failure { return failureOf(endedBy(ctx, err)) },
		Timeout:   n.config.Timeout, WriteBytesMax: n.config.WriteBytesMax, AutoCreate: n.config.AutoCreateTopics,
		Log: n.config.Log,
	})
}

// indexes are the topics as elastic knows them.
type indexes struct{ *Node }

// Topic implements elastic.Catalog.
func (x indexes) Topic(name string) (elastic.Topic, bool) {
	t, ok := x.config.Catalog.Topic(name)
	if !ok {
		return elastic.Topic{}, false
	}
	settings := topicconfig.Resolve(t.Config, x.config.TopicDefaults).Search
	return elastic.Topic{
		Name: t.Name, ID: t.ID.String(), Partitions: int(t.Partitions), Searchable: settings.Enabled, Mapping: settings.Mapping,
	}, true
}

// Names implements elastic.Catalog.
func (x indexes) Names() []string { return x.topicNames() }

// Leaderless implements elastic.Catalog.
func (x indexes) Leaderless(name string) (count int) {
	x.config.Catalog.View(func(v *metastore.View) {
		t, ok := v.Topic(name)
		if !ok {
			return
		}
		for i := range t.Partitions {
			if _, alive := v.Owner(topic.Partition{Topic: t.ID, Index: i}); !alive {
				count++
			}
		}
	})
	return count
}

// CatchUp implements elastic.Catalog.
func (x indexes) CatchUp(ctx context.Context) error {
	if x.config.CatchUp == nil {
		return nil
	}
	return x.config.CatchUp(ctx)
}

// Cluster implements elastic.Catalog.
func (x indexes) Cluster() (c elastic.Cluster) {
	c = elastic.Cluster{Name: x.config.Cluster, UUID: x.config.Cluster, Node: cmp.Or(x.config.Self, x.config.Cluster), Version: version.String()}
	x.config.Catalog.View(func(v *metastore.View) {
		c.Brokers = len(v.Brokers())
		c.Nodes = c.Brokers + len(v.Queries())
	})
	return c
}

package query

import (
	"context"
	"errors"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/federated"
	"github.com/chronik-stream/chronik/query/peers"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
	"github.com/chronik-stream/chronik/query/vector"
)

// Indexes have the vectors of topics made anew or dropped: *metastore.Store.
type Indexes interface {
	RebuildVectors(ctx context.Context, id topic.ID, partitions ...int32) error
	DropVectors(ctx context.Context, id topic.ID) error
}

// newSemantic is the surface of search by meaning over the node's topics.
func (n *Node) newSemantic() *semantic.Surface {
	return semantic.New(semantic.Options{
		Vectors: n.vectors, Text: n.search, Indexes: indexing{n}, Principal: principalOf, Administrator: n.administrator, Near: n.near,
		Body: readBody, Fail: n.fail, Timeout: n.config.Timeout,
	})
}

// newFederated is the surface of questions to several topics and kinds of search.
func (n *Node) newFederated() *federated.Surface {
	return federated.New(federated.Options{
		Backends:     federated.Backends{Text: n.search, Vectors: n.vectors, SQL: statements{n}, Log: logs{n}},
		Capabilities: n.capabilities, Principal: principalOf, Near: n.near, Body: readBody, Fail: n.fail,
		Translate: func(ctx context.Context, err error) *envelope.Failure { return failureOf(endedBy(ctx, err)) },
	})
}

// administrator refuses whoever may not change what topics are made into.
func (n *Node) administrator(c *gin.Context) error {
	if n.config.Administrator == nil {
		return nil
	}
	return n.config.Administrator(c.Request)
}

// capabilities are what can be asked of each topic.
func (n *Node) capabilities() []federated.Capability {
	all := []federated.Capability{}
	n.config.Catalog.View(func(v *metastore.View) {
		for _, t := range v.Topics() {
			settings := topicconfig.Resolve(t.Config, n.config.TopicDefaults)
			all = append(all, federated.Capability{
				Topic: t.Name, Text: settings.Search.Enabled, Vector: settings.Vector.Enabled && !v.VectorIndex(t.ID).Dropped,
				SQL: n.SQL() && settings.Columnar.Enabled, Fetch: true,
			})
		}
	})
	return all
}

// indexing is what semantic asks of the compactors, through the metadata store.
type indexing struct{ *Node }

// RebuildVectors implements semantic.Indexes.
func (x indexing) RebuildVectors(ctx context.Context, name string, partitions []int32) error {
	t, err := x.withVectors(name)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(partitions, func(p int32) bool { return p < 0 || p >= t.Partitions }); i >= 0 {
		return envelope.Invalid("topic %s has no partition %d: it has %d", name, partitions[i], t.Partitions)
	}
	return x.config.Indexes.RebuildVectors(ctx, t.ID, partitions...)
}

// DropVectors implements semantic.Indexes.
func (x indexing) DropVectors(ctx context.Context, name string) error {
	t, err := x.withVectors(name)
	if err != nil {
		return err
	}
	return x.config.Indexes.DropVectors(ctx, t.ID)
}

// withVectors finds a topic whose records get vectors.
func (x indexing) withVectors(name string) (*metastore.Topic, error) {
	if x.config.Indexes == nil {
		return nil, unavailable("this node cannot change what topics are made into")
	}
	t, ok := x.config.Catalog.Topic(name)
	if !ok {
		return nil, noTopic(name)
	}
	if !topicconfig.Resolve(t.Config, x.config.TopicDefaults).Vector.Enabled {
		return nil, &vector.NotEnabledError{Topic: name}
	}
	return t, nil
}

// statements run SQL for federated, here: the other backends do so, too.
type statements struct{ *Node }

// Open implements federated.Statements.
func (x statements) Open(ctx context.Context, text string, fresh snapshot.Freshness, principal string) (federated.Rows, error) {
	c, err := x.open(ctx, statement{SQL: text, Limit: unlimited, Freshness: fresh, Principal: principal, Place: peers.Here})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// logs read records for federated.
type logs struct{ *Node }

// Fetch implements federated.Log.
func (x logs) Fetch(ctx context.Context, name string, partitions []int32, first int64, recordsMax, bytesMax int) ([]tail.Fetched, error) {
	t, ok := x.config.Catalog.Topic(name)
	if !ok {
		return nil, noTopic(name)
	}
	if partitions == nil {
		for p := range t.Partitions {
			partitions = append(partitions, p)
		}
	}
	for _, p := range partitions {
		if p >= t.Partitions {
			return nil, envelope.Invalid("topic %s has no partition %d: it has %d", name, p, t.Partitions)
		}
	}
	if err := x.places.Take(ctx); err != nil {
		return nil, err
	}
	defer x.places.Leave()
	fetched, err := x.tails.Fetch(ctx, tail.FetchRequest{
		Topic: t.Name, ID: t.ID, Count: t.Partitions, Partitions: partitions, First: first,
		RecordsMax: recordsMax, BytesMax: max(1, bytesMax/len(partitions)),
	})
	if errors.Is(err, tail.ErrGone) {
		return nil, noTopic(name)
	}
	return fetched, err
}

func noTopic(name string) error { return &vector.UnknownTopicError{Topic: name} }

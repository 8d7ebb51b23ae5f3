package compactor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/milvus"
)

// watched are the collections that were in the Milvus when somebody last looked.
type watched struct {
	mu      sync.Mutex
	looked  bool
	present map[string]string // name → incarnation
}

// saw notes a collection that was found or made since.
func (w *watched) saw(name, incarnation string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.present != nil {
		w.present[name] = incarnation
	}
}

// lost are the collections that the manifest names and that are not there any
// more, or are others. Those that nobody has looked for are taken to be there.
func (w *watched) lost(s snapshot) map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lost map[string]bool
	for _, c := range s.section.Collections {
		if is, there := w.present[c.Name]; w.looked && (!there || is != c.Incarnation) {
			if lost == nil {
				lost = make(map[string]bool)
			}
			lost[c.Name] = true
		}
	}
	return lost
}

// watchCollections looks every now and then what collections there are: those that
// somebody dropped are filled anew, and those that nothing names any more go.
func (c *Compactor) watchCollections(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.lookAtCollections(ctx); err != nil && ctx.Err() == nil {
			c.metrics.failures.WithLabelValues(collectionName).Inc()
			c.log.Warn("the collections in Milvus are looked at again later", "err", err)
		}
		pause(ctx, c.config.CollectionsEvery)
	}
}

func (c *Compactor) lookAtCollections(ctx context.Context) error {
	cluster, err := c.store.BucketID(ctx)
	if err != nil {
		return err
	}
	names, err := c.milvus.Collections(ctx, milvus.Prefix(cluster))
	if err != nil {
		return err
	}
	present := make(map[string]string, len(names))
	for _, name := range names {
		incarnation, err := c.milvus.Incarnation(ctx, name)
		if errors.Is(err, milvus.ErrMissing) {
			continue // since it was listed
		}
		if err != nil {
			return err
		}
		present[name] = incarnation
	}
	c.watched.mu.Lock()
	c.watched.present, c.watched.looked = present, true
	c.watched.mu.Unlock()
	if !c.sweeping.Load() {
		return nil
	}
	return c.sweepCollections(ctx, cluster, present)
}

// sweepCollections drops collections that no manifest names: of topics that are
// gone or have their vectors elsewhere, of models and indexes that they had before.
//
// As with objects, the order makes it safe: what was listed is held against a
// catalog that has caught up after the listing. A job makes a collection before a
// manifest names it, so those of topics that want one are left alone while they
// are young.
func (c *Compactor) sweepCollections(ctx context.Context, cluster string, present map[string]string) error {
	if len(present) == 0 {
		return nil
	}
	if err := c.store.CatchUp(ctx); err != nil {
		return err
	}
	var failed []error
	for name, incarnation := range present {
		id, ok := milvus.TopicOf(cluster, name)
		if !ok {
			continue
		}
		used, err := c.usesCollection(ctx, id, name, incarnation)
		if err == nil && !used {
			if err = c.milvus.Drop(ctx, name); err == nil {
				c.metrics.deleted.WithLabelValues(collectionName).Inc()
				c.log.Info("a collection in Milvus that nothing names is dropped", "collection", name)
			}
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// usesCollection tells whether a topic has a collection, or may come to.
func (c *Compactor) usesCollection(ctx context.Context, id topic.ID, name, incarnation string) (bool, error) {
	refs := make(map[topic.Partition]metastore.ManifestRef)
	wanted := false
	c.catalog.View(func(v *metastore.View) {
		t, exists := v.TopicByID(id)
		if !exists {
			return
		}
		config := c.effective(v)(t).Vector
		wanted = config.Enabled && config.Backend == "milvus" && !v.VectorIndex(id).Dropped
		for i := range t.Partitions {
			p := topic.Partition{Topic: id, Index: i}
			if ref := v.Partition(p).Manifest; ref.Object != "" {
				refs[p] = ref
			}
		}
	})
	if made, err := ulid.ParseStrict(incarnation); wanted && (err != nil || c.now().Sub(time.UnixMilli(int64(made.Time()))) < c.config.OrphanAge/2) {
		return true, nil
	}
	for p, ref := range refs {
		section, err := readSection(ctx, c.bucket, p, ref)
		if err != nil {
			return true, fmt.Errorf("read the manifest of %v: %w", p, err)
		}
		for i := range section.Collections {
			if section.Collections[i].Name == name {
				return true, nil
			}
		}
	}
	return false, nil
}

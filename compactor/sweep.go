package compactor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// sweepOrphans deletes objects that no metadata names: what attempts left behind
// that crashed or lost.
//
// The order makes it safe. Objects are listed first and only those count that
// are older than OrphanAge by two clocks, their name's and the bucket's. An
// attempt gives up long before that (PassTimeout here, the session of a broker
// there), so none of them can still come into the metadata; and what is in it
// by now shows in a catalog that has caught up after the listing.
//
// A manifest that cannot be read shields its partition: what it names cannot be
// told from orphans there, and is elsewhere.
func (c *Compactor) sweepOrphans(ctx context.Context) error {
	before := c.now().Add(-c.config.OrphanAge)
	var old []objstore.Name
	var failed []error
	for a, err := range c.bucket.List(ctx, "") {
		if err != nil {
			return errors.Join(append(failed, fmt.Errorf("list the bucket: %w", err))...)
		}
		name, err := objstore.ParseName(a.Name)
		if err != nil || !name.Created().Before(before) || !a.Modified.Before(before) {
			continue // names that this version does not know are left alone too
		}
		if name.Kind == objstore.KindSegment && !name.Merged && c.sessionLives(name) {
			continue // its broker might still commit it, however unlikely
		}
		if old = append(old, name); len(old) == c.config.sweepAtOnce {
			failed = append(failed, c.sweepSome(ctx, old))
			old = old[:0]
		}
	}
	return errors.Join(append(failed, c.sweepSome(ctx, old))...)
}

func (c *Compactor) sessionLives(name objstore.Name) bool {
	b, ok := c.catalog.Broker(metastore.BrokerID(name.Broker))
	return ok && b.Session == metastore.Session(name.Session)
}

// sweepSome deletes those of the objects that nothing names.
func (c *Compactor) sweepSome(ctx context.Context, old []objstore.Name) error {
	if len(old) == 0 {
		return nil
	}
	used, failed := c.namedAmong(ctx, old)
	if used == nil {
		return failed
	}
	var g errgroup.Group
	var marks []metastore.Deletion
	g.SetLimit(deletesAtOnce)
	for _, name := range old {
		object := name.String()
		if used(name) {
			continue
		}
		if c.mayBeInTable(name) {
			marks = append(marks, c.deletion(object)) // a snapshot may have it: the janitor knows when not
			continue
		}
		g.Go(func() error {
			if err := c.bucket.Delete(ctx, object); err != nil {
				return fmt.Errorf("delete %s: %w", object, err)
			}
			c.metrics.deleted.WithLabelValues("orphan").Inc()
			c.log.Info("orphan deleted", "object", object)
			return nil
		})
	}
	return errors.Join(failed, g.Wait(), c.store.SwapManifests(ctx, nil, marks))
}

// namedAmong returns a function that says which of the objects the metadata
// names, by itself or through manifests, or might name. It is nil when that
// cannot be known at all.
//
// Marks are read last: what loses its name meanwhile is marked with that.
func (c *Compactor) namedAmong(ctx context.Context, old []objstore.Name) (used func(objstore.Name) bool, err error) {
	if err := c.store.CatchUp(ctx); err != nil {
		return nil, err
	}
	named := c.namedByKeys()
	shielded := make(map[topic.Partition]bool)
	var failed []error
	refs := c.manifestsOf(old)
	for _, p := range slices.SortedFunc(maps.Keys(refs), topic.Partition.Compare) {
		section, err := readSection(ctx, c.bucket, p, refs[p])
		if err != nil {
			shielded[p] = true
			failed = append(failed, fmt.Errorf("read the manifest of %v: %w", p, err))
			continue
		}
		section.Objects(func(object string) bool { named[object] = true; return true })
	}
	tables, broken, err := c.icebergObjects(ctx, old)
	if err != nil {
		failed = append(failed, err)
	}
	maps.Copy(named, tables)
	marked, err := c.store.Deletions(ctx)
	if err != nil {
		return nil, errors.Join(append(failed, err)...)
	}
	for _, d := range marked {
		named[d.Object] = true // it will go when its time has come
	}
	return func(n objstore.Name) bool {
		return named[n.String()] || n.OfPartition() && shielded[n.Partition] || n.OfIceberg() && broken[n.Topic]
	}, errors.Join(failed...)
}

// manifestsOf returns the manifests of the partitions that the objects are of.
func (c *Compactor) manifestsOf(objects []objstore.Name) map[topic.Partition]metastore.ManifestRef {
	refs := make(map[topic.Partition]metastore.ManifestRef)
	c.catalog.View(func(v *metastore.View) {
		for _, o := range objects {
			if _, known := refs[o.Partition]; known || !o.OfPartition() {
				continue
			}
			if view := v.Partition(o.Partition); view.Topic != nil && view.Manifest.Object != "" {
				refs[o.Partition] = view.Manifest
			}
		}
	})
	return refs
}

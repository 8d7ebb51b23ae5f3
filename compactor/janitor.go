package compactor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// janitorLock is the name of the lock that one compactor holds while it
// deletes. It saves work; what is done under it is harmless when done twice.
const janitorLock = "janitor"

// janitor deletes, whenever it holds the lock, what has been marked for long
// enough, and at longer intervals what nothing names.
func (c *Compactor) janitor(ctx context.Context) {
	for ctx.Err() == nil {
		lock, err := c.store.Lock(ctx, janitorLock, c.config.MemberTTL)
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn("the janitor's lock cannot be had", "err", err)
				pause(ctx, c.config.MemberTTL)
			}
			continue
		}
		holding, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-lock.Done():
				cancel()
			case <-holding.Done():
			}
		}()
		c.tidy(holding)
		cancel()
		leaving, done := context.WithTimeout(context.WithoutCancel(ctx), c.config.MemberTTL)
		if err := lock.Unlock(leaving); err != nil && !errors.Is(err, metastore.ErrLapsed) {
			c.log.Warn("the janitor's lock is left to its lease", "err", err)
		}
		done()
	}
}

// tidy works until ctx ends: the lock is lost or the compactor stops.
func (c *Compactor) tidy(ctx context.Context) {
	var swept time.Time
	for ctx.Err() == nil {
		if err := c.deleteMarked(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("marked objects could not be deleted yet", "err", err)
		}
		if now := c.now(); now.Sub(swept) >= c.config.OrphanEvery {
			swept = now
			if err := errors.Join(c.store.SweepTopics(ctx), c.sweepOrphans(ctx)); err != nil && ctx.Err() == nil {
				c.log.Error("the sweep of orphans was cut short", "err", err)
			}
		}
		pause(ctx, c.config.DeletionEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// deleteMarked deletes the objects whose mark is due.
func (c *Compactor) deleteMarked(ctx context.Context) error {
	marked, err := c.store.Deletions(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range marked {
		if c.now().Before(d.NotBefore) {
			continue
		}
		if c.inUse(d.Object) {
			// No code path marks what is in use. If one ever does, the mark is
			// what goes, and not the data.
			c.log.Error("an object in use is marked for deletion", "object", d.Object)
		} else if err := c.bucket.Delete(ctx, d.Object); err != nil {
			failed = append(failed, fmt.Errorf("delete %s: %w", d.Object, err))
			continue
		} else {
			c.metrics.deleted.WithLabelValues("replaced").Inc()
		}
		if err := c.store.ForgetDeletions(ctx, d); err != nil {
			return errors.Join(append(failed, err)...)
		}
	}
	return errors.Join(failed...)
}

// inUse reports whether a key in the metadata names the object.
func (c *Compactor) inUse(object string) (found bool) {
	c.catalog.View(func(v *metastore.View) {
		for _, s := range v.Segments() {
			found = found || s.Object == object
		}
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				found = found || v.Partition(topic.Partition{Topic: t.ID, Index: i}).Manifest.Object == object
			}
		}
	})
	return found
}

// sweepOrphans deletes objects that no metadata names: what attempts left
// behind that crashed or lost, and what deleted topics had.
//
// The order makes it safe. Objects are listed first and only those count that
// are older than OrphanAge by two clocks, their name's and the bucket's. An
// attempt gives up long before that (PassTimeout here, the session of a broker
// there), so none of them can still come into the metadata; and what is in it
// by now shows in a catalog that is read after the listing.
func (c *Compactor) sweepOrphans(ctx context.Context) error {
	old, err := c.oldObjects(ctx)
	if err != nil || len(old) == 0 {
		return err
	}
	used, err := c.namedObjects(ctx)
	if err != nil {
		return err
	}
	for name := range old {
		if used[name] {
			continue
		}
		if err := c.bucket.Delete(ctx, name); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		c.metrics.deleted.WithLabelValues("orphan").Inc()
		c.log.Info("orphan deleted", "object", name)
	}
	return nil
}

// oldObjects lists what is old enough to be an orphan. Names that this version
// does not know are left alone.
func (c *Compactor) oldObjects(ctx context.Context) (map[string]bool, error) {
	before := c.now().Add(-c.config.OrphanAge)
	old := make(map[string]bool)
	for a, err := range c.bucket.List(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("list the bucket: %w", err)
		}
		name, err := objstore.ParseName(a.Name)
		if err != nil || !name.Created().Before(before) || !a.Modified.Before(before) {
			continue
		}
		if name.Kind == objstore.KindSegment && !name.Merged && c.sessionLives(name) {
			continue // its broker might still commit it, however unlikely
		}
		old[a.Name] = true
	}
	return old, nil
}

func (c *Compactor) sessionLives(name objstore.Name) bool {
	b, ok := c.catalog.Broker(metastore.BrokerID(name.Broker))
	return ok && b.Session == metastore.Session(name.Session)
}

// namedObjects returns everything that the metadata names, itself and through
// manifests. All manifests must be readable: what one that is not names cannot
// be told from orphans.
func (c *Compactor) namedObjects(ctx context.Context) (map[string]bool, error) {
	marked, err := c.store.Deletions(ctx) // as new as anything; the catalog below is not older by a swap of ours
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	for _, d := range marked {
		used[d.Object] = true // it will go when its time has come
	}
	refs := make(map[topic.Partition]metastore.ManifestRef)
	c.catalog.View(func(v *metastore.View) {
		for _, s := range v.Segments() {
			used[s.Object] = true
		}
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				p := topic.Partition{Topic: t.ID, Index: i}
				if ref := v.Partition(p).Manifest; ref.Object != "" {
					refs[p] = ref
				}
			}
		}
	})
	for p, ref := range refs {
		used[ref.Object] = true
		section, err := readSection(ctx, c.bucket, p, ref)
		if err != nil {
			return nil, fmt.Errorf("read the manifest of %v: %w", p, err)
		}
		section.Objects(func(name string) bool { used[name] = true; return true })
	}
	return used, nil
}

package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

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
		c.sweeping.Store(true)
		c.tidy(holding)
		c.sweeping.Store(false)
		cancel()
		leaving, done := context.WithTimeout(context.WithoutCancel(ctx), c.config.MemberTTL)
		if err := lock.Unlock(leaving); err != nil && !errors.Is(err, metastore.ErrLapsed) {
			c.log.Warn("the janitor's lock is left to its lease", "err", err)
		}
		done()
	}
}

// Janitor tells whether this compactor holds the janitor's lock.
func (c *Compactor) Janitor() bool { return c.sweeping.Load() }

// tidy works until ctx ends: the lock is lost or the compactor stops.
func (c *Compactor) tidy(ctx context.Context) {
	var swept, looked time.Time
	for ctx.Err() == nil {
		if now := c.now(); now.Sub(looked) >= historyEvery {
			looked = now
			if err := c.lookAtHistory(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("whether the history of the metadata is compacted is not known", "err", err)
			}
		}
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

const historyEvery = time.Hour

// lookAtHistory warns when nobody compacts the metadata store's history.
func (c *Compactor) lookAtHistory(ctx context.Context) error {
	long, err := c.store.LongHistory(ctx, c.config.historyMax)
	if err != nil {
		return err
	}
	c.metrics.longHistory.Set(0)
	if long {
		c.metrics.longHistory.Set(1)
		c.log.Warn("etcd keeps a long history and will fill up: set --auto-compaction-mode=periodic and --auto-compaction-retention=1h, say, on its members",
			"revisions", c.config.historyMax)
	}
	return nil
}

// deleteMarked deletes the objects whose mark is due, and forgets the marks.
func (c *Compactor) deleteMarked(ctx context.Context) error {
	marked, err := c.store.Deletions(ctx)
	if err != nil {
		return err
	}
	marked = slices.DeleteFunc(marked, func(d metastore.Deletion) bool { return c.now().Before(c.due(d)) })
	if len(marked) == 0 {
		return nil
	}
	if err := c.store.CatchUp(ctx); err != nil { // a table that the catalog does not know yet holds files too
		return err
	}
	marked = slices.DeleteFunc(marked, c.heldByIceberg)
	used := c.namedByKeys()
	var failed []error
	for some := range slices.Chunk(marked, forgetAtOnce) {
		done := make([]bool, len(some))
		errs := make([]error, len(some))
		var g errgroup.Group
		g.SetLimit(deletesAtOnce)
		for i, d := range some {
			g.Go(func() error {
				done[i], errs[i] = c.deleteOne(ctx, d.Object, used)
				return nil
			})
		}
		_ = g.Wait() // the errors are in errs
		failed = append(failed, errs...)
		var forget []metastore.Deletion
		for i, d := range some {
			if done[i] {
				forget = append(forget, d)
			}
		}
		if err := c.store.ForgetDeletions(ctx, forget...); err != nil {
			return errors.Join(append(failed, err)...)
		}
	}
	return errors.Join(failed...)
}

// due is when a mark may be served. Those of topics say when they were deleted, by
// nodes that know nothing of the grace.
func (c *Compactor) due(d metastore.Deletion) time.Time {
	if strings.HasSuffix(d.Object, "/") {
		return d.NotBefore.Add(c.config.DeletionGrace)
	}
	return d.NotBefore
}

const (
	deletesAtOnce = 16
	forgetAtOnce  = 1024
)

// deleteOne deletes what a mark names, an object or all below a prefix, and
// reports whether the mark has served.
func (c *Compactor) deleteOne(ctx context.Context, object string, used map[string]bool) (bool, error) {
	if used[object] {
		// No code path marks what is in use. If one ever does, the mark is what
		// goes, and not the data.
		c.log.Error("an object in use is marked for deletion", "object", object)
		return true, nil
	}
	if strings.HasSuffix(object, "/") {
		err := c.deleteTopic(ctx, object)
		return err == nil, err
	}
	if err := c.bucket.Delete(ctx, object); err != nil {
		return false, fmt.Errorf("delete %s: %w", object, err)
	}
	c.metrics.deleted.WithLabelValues("replaced").Inc()
	return true, nil
}

// deleteTopic deletes everything below the prefix of a deleted topic. What a
// compactor that was at it still puts there is left to the sweep.
func (c *Compactor) deleteTopic(ctx context.Context, prefix string) error {
	id, err := objstore.ParseTopicPrefix(prefix)
	if err != nil {
		c.log.Error("a mark for deletion names no topic and is ignored", "prefix", prefix)
		return nil
	}
	if err := c.store.CatchUp(ctx); err != nil {
		return err
	}
	if t, known := c.catalog.TopicByID(id); known {
		c.log.Error("a topic in use is marked for deletion", "topic", t.Name)
		return nil
	}
	var g errgroup.Group
	g.SetLimit(deletesAtOnce)
	for a, err := range c.bucket.List(ctx, prefix) {
		if err != nil {
			_ = g.Wait() // the listing's error is told
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		g.Go(func() error {
			if err := c.bucket.Delete(ctx, a.Name); err != nil {
				return fmt.Errorf("delete %s: %w", a.Name, err)
			}
			c.metrics.deleted.WithLabelValues("topic").Inc()
			return nil
		})
	}
	return g.Wait()
}

// namedByKeys are the objects that keys in the metadata name.
func (c *Compactor) namedByKeys() map[string]bool {
	used := make(map[string]bool)
	c.catalog.View(func(v *metastore.View) {
		for _, s := range v.Segments() {
			used[s.Object] = true
		}
		for _, t := range v.Topics() {
			if table, ok := v.Iceberg(t.ID); ok {
				used[table.Object] = true
			}
			for i := range t.Partitions {
				used[v.Partition(topic.Partition{Topic: t.ID, Index: i}).Manifest.Object] = true
			}
		}
	})
	return used
}

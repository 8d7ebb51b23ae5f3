package compactor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/rendezvous"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/iceberg"
	"github.com/chronik-stream/chronik/objstore"
)

// published is what this compactor knows of a topic's Iceberg table.
type published struct {
	at      time.Time // of the last try
	failure           // tries that failed in a row

	shown  [sha256.Size]byte // what the table shows: see icebergTask.shows
	result iceberg.Result    // of the last try that went well
}

// icebergTask is a topic that has a table, or should have one or none.
type icebergTask struct {
	src   iceberg.Source
	views []metastore.PartitionView
	drop  bool
}

// tablesAtOnce bounds the Iceberg tables that are worked on.
const tablesAtOnce = 4

// icebergs publishes tables until ctx ends, each at most every IcebergEvery.
func (c *Compactor) icebergs(ctx context.Context) {
	known := make(map[topic.ID]*published)
	for ctx.Err() == nil {
		present := make(map[topic.ID]bool)
		var g errgroup.Group
		g.SetLimit(tablesAtOnce)
		for _, id := range c.icebergTopics() {
			present[id] = true
			if known[id] == nil {
				known[id] = &published{}
			}
			p := known[id]
			if now := c.now(); now.Before(p.until) || !p.at.IsZero() && now.Sub(p.at) < c.config.IcebergEvery {
				continue
			}
			g.Go(func() error {
				c.iceberg(ctx, id, p)
				return nil
			})
		}
		_ = g.Wait() // failures are in known
		maps.DeleteFunc(known, func(id topic.ID, _ *published) bool { return !present[id] })
		pause(ctx, c.config.LookEvery)
	}
}

// columnarOf returns the settings of topics as they are in force.
func (c *Compactor) columnarOf(v *metastore.View) func(*metastore.Topic) topicconfig.Columnar {
	effective := c.effective(v)
	return func(t *metastore.Topic) topicconfig.Columnar { return effective(t).Columnar }
}

// effective returns all the settings of topics as they are in force.
func (c *Compactor) effective(v *metastore.View) func(*metastore.Topic) topicconfig.Effective {
	defaults := topicconfig.Merge(
		topicconfig.Layer{Set: dynamicconfig.TopicDefaults(v.Configs().Of(metastore.ConfigResource{Kind: metastore.ConfigBrokers}))},
		topicconfig.Layer{Set: c.config.Defaults},
	)
	return func(t *metastore.Topic) topicconfig.Effective { return topicconfig.Resolve(t.Config, defaults) }
}

// icebergTopics are this compactor's share of the topics that are tables of
// Iceberg, or were.
func (c *Compactor) icebergTopics() []topic.ID {
	var ids []topic.ID
	c.catalog.View(func(v *metastore.View) {
		var members []string
		for _, m := range v.Compactors() {
			members = append(members, m.ID)
		}
		columnar := c.columnarOf(v)
		for _, t := range v.Topics() {
			_, exists := v.Iceberg(t.ID)
			if (exists || iceberg.Wanted(columnar(t))) && rendezvous.Pick(t.ID.String(), members) == c.config.ID {
				ids = append(ids, t.ID)
			}
		}
	})
	return ids
}

// icebergTask is what is to be done for a topic, all at one revision.
func (c *Compactor) icebergTask(id topic.ID) (task icebergTask, ok bool) {
	c.catalog.View(func(v *metastore.View) {
		t, exists := v.TopicByID(id)
		if !exists {
			return
		}
		config := c.columnarOf(v)(t)
		seen, exists := v.Iceberg(id)
		wanted := iceberg.Wanted(config)
		if ok = exists || wanted; !ok {
			return
		}
		task = icebergTask{drop: !wanted, src: iceberg.Source{
			Topic: t, Revision: v.Revision(), Seen: seen, Partitioning: config.Partitioning, Fixed: config.JSONSchema,
		}}
		for i := range t.Partitions {
			task.views = append(task.views, v.Partition(topic.Partition{Topic: id, Index: i}))
		}
	})
	return task, ok
}

// shows is a digest of all that a table is made from.
func (t *icebergTask) shows() (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", t.src.Partitioning, t.src.Fixed)
	for _, v := range t.views {
		fmt.Fprintf(h, "%d %q %d\n", v.Partition.Index, v.Manifest.Object, v.Manifest.LogStart)
	}
	h.Sum(sum[:0])
	return sum
}

// unchanged reports that the table is as this compactor left it, that it was made
// from the same, and that no snapshot of it is to go yet.
func (p *published) unchanged(t *icebergTask, now time.Time) bool {
	return t.src.Seen.Object != "" && t.src.Seen.Object == p.result.Object && t.shows() == p.shown &&
		(p.result.Expires.IsZero() || now.Before(p.result.Expires))
}

// iceberg brings one table up to date.
func (c *Compactor) iceberg(ctx context.Context, id topic.ID, p *published) {
	t, ok := c.icebergTask(id)
	if !ok {
		return
	}
	working, cancel := context.WithTimeout(ctx, c.config.PassTimeout) // [attempts-end]
	defer cancel()
	now := c.now()
	p.at = now
	var err error
	if t.drop {
		err = c.store.DropIceberg(working, id, t.src.Seen)
	} else {
		err = c.publish(working, t, p)
	}
	switch {
	case err == nil:
		p.failure = failure{}
		if p.result.Created && !t.drop {
			p.at = time.Time{} // its files are next
		}
	case ctx.Err() != nil, errors.Is(err, metastore.ErrConflict):
		c.log.Info("the Iceberg table is left to another try", "topic", t.src.Topic.Name, "err", err)
	default:
		p.again(now, c.config)
		c.reportUnreadable(working, err)
		c.metrics.icebergCommits.WithLabelValues("failed").Inc()
		c.log.Error("the Iceberg table could not be committed and is tried again", "topic", t.src.Topic.Name, "pause", p.pause, "err", err)
	}
}

// reportUnreadable has a file made again that a table could not be made for. The
// partition's compactor looks for itself whether it is damaged.
func (c *Compactor) reportUnreadable(ctx context.Context, err error) {
	var file *iceberg.FileError
	if !errors.As(err, &file) {
		return
	}
	if err := c.store.ReportDamage(ctx, file.Object, file.Error()); err != nil {
		c.log.Warn("a damaged file could not be reported", "object", file.Object, "err", err)
	}
}

// publish commits what is new, and reads nothing if nothing is.
func (c *Compactor) publish(ctx context.Context, t icebergTask, p *published) error {
	if p.unchanged(&t, c.now()) {
		return nil
	}
	for _, v := range t.views {
		if v.Manifest.Object == "" || t.src.Seen.Object == "" { // a new table begins empty
			continue
		}
		s, err := readSection(ctx, c.bucket, v.Partition, v.Manifest)
		if err != nil {
			return err
		}
		s.LogStart = max(s.LogStart, v.Manifest.LogStart)
		t.src.Sections = append(t.src.Sections, s)
	}
	result, err := c.publisher().Publish(ctx, t.src)
	if err != nil {
		return err
	}
	if p.result = result; !result.Created {
		p.shown = t.shows()
	}
	if result.Changed {
		c.metrics.icebergCommits.WithLabelValues("done").Inc()
	}
	return nil
}

func (c *Compactor) publisher() *iceberg.Publisher {
	return &iceberg.Publisher{
		Bucket: c.bucket, Store: c.store, Location: c.config.IcebergLocation, Retention: c.config.IcebergRetention,
		Grace: c.config.DeletionGrace, Now: c.now, NewID: c.newID,
	}
}

// heldByIceberg tells whether a snapshot of an Iceberg table may still have the
// marked object: one does if it shows a revision before the mark. [iceberg-holds]
func (c *Compactor) heldByIceberg(d metastore.Deletion) bool {
	name, err := objstore.ParseName(d.Object)
	if err != nil || name.Kind != objstore.KindParquet {
		return false
	}
	held := false
	c.catalog.View(func(v *metastore.View) {
		if _, exists := v.TopicByID(name.Partition.Topic); exists {
			t, ok := v.Iceberg(name.Partition.Topic)
			held = ok && t.Revision < d.ModRevision
		}
	})
	return held
}

// mayBeInTable tells whether the object is a data file of a topic with a table.
func (c *Compactor) mayBeInTable(n objstore.Name) bool {
	ok := false
	if n.Kind == objstore.KindParquet {
		c.catalog.View(func(v *metastore.View) { _, ok = v.Iceberg(n.Partition.Topic) })
	}
	return ok
}

// icebergObjects are the objects of tables that their metadata names.
func (c *Compactor) icebergObjects(ctx context.Context, old []objstore.Name) (named map[string]bool, broken map[topic.ID]bool, err error) {
	named, broken = make(map[string]bool), make(map[topic.ID]bool)
	read := make(map[topic.ID]bool)
	var failed []error
	for _, n := range old {
		if !n.OfIceberg() || read[n.Topic] {
			continue
		}
		read[n.Topic] = true
		var t metastore.IcebergTable
		c.catalog.View(func(v *metastore.View) { t, _ = v.Iceberg(n.Topic) })
		if t.Object == "" {
			continue
		}
		if err := iceberg.Objects(ctx, c.bucket, t.Object, func(object string) { named[object] = true }); err != nil {
			broken[n.Topic] = true
			failed = append(failed, err)
		}
	}
	return named, broken, errors.Join(failed...)
}

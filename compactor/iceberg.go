package compactor

import (
	"context"
	"errors"
	"time"

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
}

// icebergTask is a topic that has a table, or should have one or none.
type icebergTask struct {
	src    iceberg.Source
	views  []metastore.PartitionView
	config topicconfig.Columnar
	drop   bool
}

// icebergs publishes tables until ctx ends, each at most every IcebergEvery.
func (c *Compactor) icebergs(ctx context.Context) {
	known := make(map[topic.ID]*published)
	for ctx.Err() == nil {
		tasks := c.icebergTasks()
		present := make(map[topic.ID]bool)
		for _, t := range tasks {
			id := t.src.Topic.ID
			present[id] = true
			if known[id] == nil {
				known[id] = &published{}
			}
			c.iceberg(ctx, t, known[id])
		}
		for id := range known {
			if !present[id] {
				delete(known, id)
			}
		}
		pause(ctx, c.config.LookEvery)
	}
}

// icebergTasks are this compactor's share of the topics that are tables of
// Iceberg, or were, all at one revision.
func (c *Compactor) icebergTasks() []icebergTask {
	var tasks []icebergTask
	c.catalog.View(func(v *metastore.View) {
		members := make([]string, 0, 4)
		for _, m := range v.Compactors() {
			members = append(members, m.ID)
		}
		defaults := topicconfig.Merge(
			topicconfig.Layer{Set: dynamicconfig.TopicDefaults(v.Configs().Of(metastore.ConfigResource{Kind: metastore.ConfigBrokers}))},
			topicconfig.Layer{Set: c.config.Defaults},
		)
		for _, t := range v.Topics() {
			if rendezvous.Pick(t.ID.String(), members) != c.config.ID {
				continue
			}
			config := topicconfig.Resolve(t.Config, defaults).Columnar
			seen, exists := v.Iceberg(t.ID)
			wanted := iceberg.Wanted(config)
			if !exists && !wanted {
				continue
			}
			task := icebergTask{config: config, drop: !wanted, src: iceberg.Source{
				Topic: t, Revision: v.Revision(), Seen: seen, Partitioning: config.Partitioning, Fixed: config.JSONSchema,
			}}
			for i := range t.Partitions {
				task.views = append(task.views, v.Partition(topic.Partition{Topic: t.ID, Index: i}))
			}
			tasks = append(tasks, task)
		}
	})
	return tasks
}

// iceberg brings one table up to date, if that is due.
func (c *Compactor) iceberg(ctx context.Context, t icebergTask, p *published) {
	now := c.now()
	if now.Before(p.until) || !p.at.IsZero() && now.Sub(p.at) < c.config.IcebergEvery && t.src.Seen.Object != "" && !t.drop {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, min(c.config.PassTimeout, max(c.config.DeletionGrace/2, 10*time.Second))) // [attempts-end]
	defer cancel()
	var err error
	if t.drop {
		err = c.store.DropIceberg(ctx, t.src.Topic.ID, t.src.Seen)
	} else {
		err = c.publish(ctx, t)
	}
	p.at = now
	switch {
	case err == nil:
		p.failure = failure{}
	case ctx.Err() != nil, errors.Is(err, metastore.ErrConflict):
		c.log.Info("the Iceberg table is left to another try", "topic", t.src.Topic.Name, "err", err)
	default:
		p.again(now, c.config)
		c.metrics.icebergCommits.WithLabelValues("failed").Inc()
		c.log.Error("the Iceberg table could not be committed and is tried again", "topic", t.src.Topic.Name, "pause", p.pause, "err", err)
	}
}

func (c *Compactor) publish(ctx context.Context, t icebergTask) error {
	for _, v := range t.views {
		if v.Manifest.Object == "" {
			continue
		}
		s, err := readSection(ctx, c.bucket, v.Partition, v.Manifest)
		if err != nil {
			return err
		}
		s.LogStart = max(s.LogStart, v.Manifest.LogStart)
		t.src.Sections = append(t.src.Sections, s)
	}
	publisher := iceberg.Publisher{
		Bucket: c.bucket, Store: c.store, Location: c.config.IcebergLocation, Retention: c.config.IcebergRetention,
		Grace: c.config.DeletionGrace, Now: c.now, NewID: c.newID,
	}
	changed, err := publisher.Publish(ctx, t.src)
	if err == nil && changed {
		c.metrics.icebergCommits.WithLabelValues("done").Inc()
	}
	return err
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

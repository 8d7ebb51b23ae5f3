package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/topic"
)

// Retention is how long committed offsets of which nobody makes use are kept.
type Retention struct {
	Time  time.Duration
	Check time.Duration // how often it is looked
}

// CheckMetadata refuses what is too long to be stored with an offset.
func (c *Coordinator) CheckMetadata(metadata string) error {
	if len(metadata) > c.metadata {
		c.metrics.metadataRefused.Inc()
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMetadataTooLarge, len(metadata), c.metadata)
	}
	return nil
}

// Commit stores offsets for a member, or for somebody outside an empty group.
// ErrGroupUnknown for a member of a group that there is not.
func (c *Coordinator) Commit(ctx context.Context, group, id, instance string, generation int32, offsets map[topic.Partition]Offset) error {
	var refused error
	var batch *commitBatch
	_, err := c.with(ctx, group, func(g *running, now time.Time) {
		switch {
		case g.kind != nil:
			refused = g.committable(now, id, instance, generation, maps.Keys(offsets))
		case generation >= 0:
			refused = ErrGroupUnknown
		}
		if refused == nil && len(offsets) > 0 {
			// Here, so that nobody who may commit later comes before it.
			batch, refused = g.term.commits.add(group, offsets)
		}
	})
	if err = cmp.Or(err, refused); err != nil || batch == nil {
		return err
	}
	return batch.wait(ctx)
}

// Committed returns all that a group has committed; an unknown group nothing.
func (c *Coordinator) Committed(ctx context.Context, group string) (map[topic.Partition]Offset, error) {
	t, err := c.check(group)
	if err != nil {
		return nil, err
	}
	return t.storage.FetchOffsets(ctx, group)
}

// DeleteOffsets forgets offsets of topics that no member reads; of the others it
// returns ErrSubscribed. A group that does not use the protocol of Kafka's
// consumers has to be empty.
func (c *Coordinator) DeleteOffsets(ctx context.Context, group string, partitions map[string][]topic.Partition) (refused map[string]error, err error) {
	if group == "" {
		return nil, ErrInvalidGroupID
	}
	known, busy := false, false
	refused = make(map[string]error)
	g, err := c.with(ctx, group, func(g *running, _ time.Time) {
		if known = g.kind != nil; known {
			s := g.kind.Summary()
			busy = s.Phase != Empty && s.ProtocolType != consumer.ClassicType
			for name := range partitions {
				if g.kind.Subscribed(name) {
					refused[name] = ErrSubscribed
				}
			}
		}
		if !busy {
			g.hold()
		}
	})
	switch {
	case err != nil:
		return nil, err
	case busy:
		return nil, ErrNotEmpty
	}
	defer g.release()
	if !known {
		committed, err := g.term.storage.FetchOffsets(ctx, group)
		if err != nil {
			return nil, err
		}
		if len(committed) == 0 {
			return nil, ErrGroupUnknown
		}
	}
	var gone []topic.Partition
	for name, of := range partitions {
		if refused[name] == nil {
			gone = append(gone, of...)
		}
	}
	return refused, g.term.storage.DeleteOffsets(ctx, group, gone)
}

// expire looks for offsets whose time is over until the session is.
func (t *term) expire() {
	every := time.NewTicker(t.coordinator.retention.Check)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-t.life.Done():
			return
		}
		if err := t.expireAll(); err != nil && t.life.Err() == nil {
			t.coordinator.log.Warn("offsets that are due could not all be deleted", "error", err)
		}
	}
}

// expireAll deletes what is due of all groups that this broker coordinates.
func (t *term) expireAll() error {
	names, err := t.storage.GroupsWithOffsets(t.life)
	if err != nil {
		return err
	}
	heads, err := t.storage.GroupHeads(t.life)
	if err != nil {
		return err
	}
	for _, name := range names {
		heads[name] = nil
	}
	var failed error
	for name := range heads {
		if t.life.Err() != nil {
			return failed
		}
		if t.coordinator.owns(name) {
			failed = errors.Join(failed, t.expireGroup(name))
		}
	}
	return errors.Join(failed, t.storage.Sweep(t.life))
}

// expireGroup deletes the offsets of a group that are due, and the group itself
// when it has neither offsets nor members.
func (t *term) expireGroup(name string) error {
	offsets, err := t.storage.FetchOffsets(t.life, name)
	if err != nil {
		return err
	}
	c := t.coordinator
	due := make(map[topic.Partition]Offset)
	empty := false
	topics := c.topics()
	_, err = c.with(t.life, name, func(g *running, now time.Time) {
		for p, o := range offsets {
			one, exists := topics.Identified(p.Topic)
			if !exists {
				continue // Sweep deletes what is of no topic
			}
			since, expires := o.CommittedAt, true
			if g.kind != nil {
				since, expires = g.kind.Since(one.Name, o.CommittedAt)
			}
			at := since.Add(c.retention.Time)
			if !o.ExpiresAt.IsZero() {
				at = o.ExpiresAt
			}
			if expires && !now.Before(at) {
				due[p] = o
			}
		}
		empty = g.kind != nil && g.kind.Idle()
	})
	if err != nil {
		return err
	}
	if len(due) > 0 {
		if err := t.storage.ExpireOffsets(t.life, name, due); err != nil {
			return err
		}
		c.metrics.expired.Add(float64(len(due)))
		c.log.Info("offsets have expired", "group", name, "partitions", len(due))
	}
	if !empty || len(due) < len(offsets) {
		return nil
	}
	return c.stored(t.life, name, func(g *running, _ time.Time) {
		if g.kind != nil && g.kind.Idle() {
			g.become(nil)
		}
	})
}

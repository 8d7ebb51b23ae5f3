package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Retention is how long committed offsets of which nobody makes use are kept.
type Retention struct {
	Time  time.Duration
	Check time.Duration // how often it is looked
}

// expire looks for offsets whose time is over until the term is.
func (t *term) expire() {
	// Begun at once, the slots do not all look at the same time.
	select {
	case <-time.After(t.coordinator.retention.Check * time.Duration(t.slot) / metastore.Slots):
	case <-t.life.Done():
		return
	}
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

// expireAll deletes what is due of all groups of the slot.
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
	var failed error // the first: a store that is away fails all alike
	for name := range heads {
		if t.life.Err() != nil {
			return failed
		}
		if !t.owns(name) {
			continue
		}
		if err := t.expireGroup(name); err != nil && failed == nil {
			failed = fmt.Errorf("group %q: %w", name, err)
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

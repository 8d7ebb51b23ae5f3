package group

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Describe shows a group of the classic protocol. One that only has offsets is
// Empty, of no protocol type: Kafka's simple group. ErrGroupUnknown.
func (c *Coordinator) Describe(ctx context.Context, group string) (Description, error) {
	d := Description{Phase: Dead}
	var refused error
	g, err := c.with(ctx, group, func(g *running, _ time.Time) {
		switch s := g.kind.(type) {
		case *State:
			d = s.Describe()
		case *consumers:
			refused = fmt.Errorf("%w of the classic protocol", ErrGroupUnknown)
		}
	})
	if err = cmp.Or(err, refused); err != nil || d.Phase != Dead {
		return d, err
	}
	offsets, err := g.term.storage.FetchOffsets(ctx, group)
	switch {
	case err != nil:
		return d, err
	case len(offsets) == 0:
		return d, ErrGroupUnknown
	}
	return Description{Phase: Empty}, nil
}

// Listed is a group of List.
type Listed struct {
	Group string
	Summary
}

// List returns the groups that this broker coordinates, sorted by name.
func (c *Coordinator) List(ctx context.Context) ([]Listed, error) {
	terms, err := c.served()
	if err != nil {
		return nil, err
	}
	bySlot := make([]map[string]Summary, len(terms))
	var reading errgroup.Group
	reading.SetLimit(listersMax)
	for i, t := range terms {
		bySlot[i] = make(map[string]Summary)
		reading.Go(func() error { return t.list(ctx, bySlot[i]) })
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	byName := make(map[string]Summary)
	for _, groups := range bySlot {
		maps.Copy(byName, groups)
	}
	listed := make([]Listed, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		listed = append(listed, Listed{name, byName[name]})
	}
	return listed, nil
}

// listersMax is how many slots are read at once for a list.
const listersMax = 8

// list adds the groups of the slot.
func (t *term) list(ctx context.Context, byName map[string]Summary) error {
	committed, err := t.storage.GroupsWithOffsets(ctx)
	if err != nil {
		return err
	}
	for _, name := range committed {
		if t.owns(name) {
			byName[name] = Summary{Kind: Classic, Phase: Empty}
		}
	}
	heads, err := t.storage.GroupHeads(ctx)
	if err != nil {
		return err
	}
	for name, head := range heads {
		s, err := summarize(head)
		if err != nil {
			t.coordinator.log.Error("a group cannot be read", "group", name, "error", err)
		} else if t.owns(name) {
			byName[name] = s
		}
	}
	for _, g := range t.all() {
		g.mu.Lock()
		if g.gone == nil && g.kind != nil {
			byName[g.name] = g.kind.Summary()
		}
		g.mu.Unlock()
	}
	return nil
}

// Delete forgets a group without members, and its offsets. Who wants to join, or
// to commit, meanwhile finds it gone.
func (c *Coordinator) Delete(ctx context.Context, group string) error {
	busy, known := false, false
	g, err := c.with(ctx, group, func(g *running, _ time.Time) {
		known = g.kind != nil
		if busy = known && g.kind.Summary().Phase != Empty; !busy {
			g.hold()
		}
	})
	switch {
	case err != nil:
		return err
	case busy:
		return ErrNotEmpty
	}
	defer g.release()
	if busy := g.term.commits.settled(group); busy != nil {
		select { // or what is being committed would come back
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	offsets, err := g.term.storage.FetchOffsets(ctx, group)
	switch {
	case err != nil:
		return err
	case len(offsets) == 0 && !known:
		return ErrGroupUnknown
	}
	// The state last: while it is there, the group is.
	if err := g.term.storage.DeleteGroupOffsets(ctx, group); err != nil || !known {
		return err
	}
	done := make(chan error, 1)
	g.mu.Lock()
	gone := g.gone
	if gone == nil {
		g.step(time.Now(), func() {
			g.become(nil)
			g.told = append(g.told, func(err error) { done <- err })
		})
	}
	g.mu.Unlock()
	if gone != nil {
		return gone
	}
	return settled(ctx, done)
}

package metastore

import (
	"context"
	"sync"

	"github.com/chronik-stream/chronik/internal/topic"
)

// Catalog is all metadata but group offsets, in memory, at one revision at a
// time. It is written by its Store alone. All methods may be called at once;
// what they return is never changed afterwards and must not be changed by the
// caller. Two calls may see two revisions: use View where that matters.
type Catalog struct {
	mu   sync.RWMutex
	view *View

	notify  sync.Mutex
	changed chan struct{} // nil while nobody waits
}

// View calls f with the catalog held at one revision. f must be short, must not
// call methods of the Catalog, and must not keep the *View.
func (c *Catalog) View(f func(*View)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	f(c.view)
}

// Changed returns a channel that is closed at the next change. Take it before
// looking at what is waited for.
func (c *Catalog) Changed() <-chan struct{} {
	c.notify.Lock()
	defer c.notify.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// WaitRevision waits until the catalog shows everything up to revision.
func (c *Catalog) WaitRevision(ctx context.Context, revision int64) error {
	for {
		changed := c.Changed()
		if c.Revision() >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// update changes the view under the lock and wakes those who wait.
func (c *Catalog) update(change func(*View) error) error {
	c.mu.Lock()
	err := change(c.view)
	c.mu.Unlock()
	c.wake()
	return err
}

// replace puts another view in place of the current one.
func (c *Catalog) replace(v *View) {
	c.mu.Lock()
	c.view = v
	c.mu.Unlock()
	c.wake()
}

func (c *Catalog) wake() {
	c.notify.Lock()
	defer c.notify.Unlock()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// ask answers one question under the read lock.
func ask[T any](c *Catalog, question func(*View) T) T {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return question(c.view)
}

// Revision is the revision that the catalog shows.
func (c *Catalog) Revision() int64 { return ask(c, (*View).Revision) }

// Topic returns the topic of that name.
func (c *Catalog) Topic(name string) (*Topic, bool) {
	t := ask(c, func(v *View) *Topic { return v.topics[name] })
	return t, t != nil
}

// TopicByID returns the topic of that id.
func (c *Catalog) TopicByID(id topic.ID) (*Topic, bool) {
	t := ask(c, func(v *View) *Topic { return v.topicsByID[id] })
	return t, t != nil
}

// Topics returns all topics, sorted by name.
func (c *Catalog) Topics() []*Topic { return ask(c, (*View).Topics) }

// Broker returns the live broker of that id.
func (c *Catalog) Broker(id BrokerID) (Broker, bool) {
	var b Broker
	var ok bool
	c.View(func(v *View) { b, ok = v.Broker(id) })
	return b, ok
}

// Brokers returns the live brokers, sorted by id.
func (c *Catalog) Brokers() []Broker { return ask(c, (*View).Brokers) }

// Draining tells whether a broker, live or not, is to own nothing.
func (c *Catalog) Draining(id BrokerID) bool {
	return ask(c, func(v *View) bool { return v.Draining(id) })
}

// Compactors returns the live compactors, sorted by id.
func (c *Catalog) Compactors() []Member { return ask(c, (*View).Compactors) }

// Queries returns the live query nodes, sorted by id.
func (c *Catalog) Queries() []Member { return ask(c, (*View).Queries) }

// Segments returns the committed segments, sorted by id, the oldest first.
func (c *Catalog) Segments() []*Segment { return ask(c, (*View).Segments) }

// Partition returns all that is known of a partition, at one revision.
func (c *Catalog) Partition(p topic.Partition) PartitionView {
	return ask(c, func(v *View) PartitionView { return v.Partition(p) })
}

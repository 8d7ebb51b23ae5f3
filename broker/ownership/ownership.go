// Package ownership takes the partitions that this broker is to own, and gives
// them back.
//
// A Manager belongs to one session of the broker and starts with nothing. It
// follows the catalog: what this broker is wished to own (the rendezvous hash
// over the live brokers) and nobody holds, it takes by compare-and-swap, in the
// metadata store, under its session; then the log adopts it.
//
// An ownership begins at the larger of the committed next and the end of what
// the broker's own WAL holds of the partition, both seen under one catalog
// revision not older than the session: from then on nobody else can commit.
//
// What it does not do: take from a broker that is gone for good. A partition
// whose owner is another broker is left alone.
package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Producers reads what is committed of a partition's producer state.
type Producers func(ctx context.Context, p topic.Partition) ([]producer.State, error)

// Manager owns partitions for one session.
type Manager struct {
	store     *metastore.Store
	session   *metastore.BrokerSession
	log       *ingest.Log
	producers Producers
	object    func(*metastore.Topic) bool
	slog      *slog.Logger

	recovered map[topic.Partition][]wal.Recovered
	owned     map[topic.Partition]bool
	wishes    wishes
}

// Options are what a Manager is made of.
type Options struct {
	Store     *metastore.Store
	Session   *metastore.BrokerSession
	Log       *ingest.Log
	Recovery  *wal.Recovery
	Producers Producers
	Object    func(*metastore.Topic) bool // durability=object
	Slog      *slog.Logger
}

// New returns a Manager that owns nothing yet.
func New(o Options) *Manager {
	m := &Manager{
		store: o.Store, session: o.Session, log: o.Log, producers: o.Producers, object: o.Object, slog: o.Slog,
		recovered: map[topic.Partition][]wal.Recovered{}, owned: map[topic.Partition]bool{},
	}
	for _, f := range o.Recovery.Frames {
		m.recovered[f.Frame.Partition] = append(m.recovered[f.Frame.Partition], f)
	}
	return m
}

// retry is how long a partition that could not be taken waits for the next try,
// when nothing changes meanwhile.
const retry = time.Second

// The catalog changes with every commit of a segment and of a group's offsets,
// and a look costs what there are partitions: it rests in proportion.
const (
	restFactor = 9 // a tenth of one core at most goes into looking
	restMax    = 50 * time.Millisecond
)

// Run takes what this broker is wished to own until ctx ends. It returns an
// error when the session is over.
func (m *Manager) Run(ctx context.Context) error {
	for {
		changed := m.store.Catalog().Changed()
		begun := time.Now()
		again, err := m.Reconcile(ctx)
		rest := min(restFactor*time.Since(begun), restMax)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, metastore.ErrFenced):
			return err
		case err != nil:
			m.slog.Warn("partitions could not be taken, trying again", "error", err)
			again = true
		}
		var timer <-chan time.Time
		if again {
			timer = time.After(retry)
		}
		select {
		case <-changed:
		case <-timer:
		case <-m.session.Done():
			return fmt.Errorf("session %d: %w", m.session.ID(), metastore.ErrFenced)
		case <-ctx.Done():
			return nil
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return nil
		}
	}
}

// Reconcile looks at the catalog once: it adopts what can be taken, drops what
// was deleted, and tells the owned partitions of changes. again says that
// something was left that no change of the catalog will announce.
func (m *Manager) Reconcile(ctx context.Context) (again bool, err error) {
	wanted, gone := m.look()
	for _, p := range gone {
		m.slog.Info("partition dropped, its topic is deleted", "partition", p)
		m.log.Drop(p)
		delete(m.owned, p)
	}
	m.forgetDeleted()
	if len(wanted) == 0 {
		return false, nil
	}
	takes := make([]metastore.Take, 0, len(wanted))
	for i := range wanted {
		takes = append(takes, metastore.Take{View: wanted[i].view, First: wanted[i].first()})
	}
	owners, err := m.store.Take(ctx, m.session, takes)
	recovered := 0
	for i := range wanted {
		owner, ok := owners[wanted[i].view.Partition]
		if !ok {
			again = true
			continue
		}
		if adoptErr := m.adopt(ctx, &wanted[i], owner); adoptErr != nil {
			err = errors.Join(err, adoptErr)
			continue
		}
		recovered += len(wanted[i].recovered)
	}
	m.slog.Info("partitions taken", "partitions", len(owners), "owned", len(m.owned), "recovered_batches", recovered)
	return again, err
}

// candidate is a partition to be taken, as one catalog revision shows it.
type candidate struct {
	view      metastore.PartitionView
	recovered []wal.Recovered // not committed, part of the log
	committed []wal.Recovered // the write-ahead log may forget them
}

// first is the offset at which the new ownership begins.
func (c *candidate) first() int64 {
	first := c.view.Next()
	if n := len(c.recovered); n > 0 {
		first = max(first, c.recovered[n-1].Header.Next())
	}
	return first
}

// look finds what is to be taken and what is to be dropped, under one revision.
func (m *Manager) look() (wanted []candidate, gone []topic.Partition) {
	self := m.session.Broker()
	m.store.Catalog().View(func(v *metastore.View) {
		candidates := Candidates(v)
		for _, t := range v.Topics() {
			object := m.object(t)
			wished := m.wishes.of(t, candidates)
			for i := range t.Partitions {
				p := topic.Partition{Topic: t.ID, Index: i}
				if m.owned[p] {
					if part := m.log.Partition(p); part != nil {
						part.Configure(v.Partition(p).Manifest.LogStart, object)
					}
					continue
				}
				view := v.Partition(p)
				if takeable(view.Owner, self) && wished[i] == self {
					wanted = append(wanted, candidate{view: view})
				}
			}
		}
		for p := range m.owned {
			if t, ok := v.TopicByID(p.Topic); !ok || p.Index >= t.Partitions {
				gone = append(gone, p)
			}
		}
	})
	for i := range wanted {
		m.sort(&wanted[i])
	}
	return wanted, gone
}

// takeable: nobody owns it, or this broker did in an earlier session. One that
// it owns in this session and does not serve was taken by a try whose outcome
// was lost: it is taken again, with a new epoch.
func takeable(o metastore.Owner, self metastore.BrokerID) bool {
	return o.ModRevision == 0 || o.Broker == metastore.NoBroker || o.Broker == self
}

// sort tells the recovered frames that are part of the log and not committed
// from those that are committed. A frame written under epoch e is part of the
// log if its offset lies below the start of every later epoch: comparing offsets
// alone would bring back what another owner has overtaken.
func (m *Manager) sort(c *candidate) {
	next := c.view.Next()
	for _, f := range m.recovered[c.view.Partition] {
		n := len(c.recovered)
		end, ended := c.view.Owner.EpochEnd(metastore.Epoch(f.Frame.Epoch))
		switch {
		case ended && f.Frame.First >= end:
			m.slog.Error("batch in the write-ahead log was overtaken by another owner, its file is kept",
				"partition", c.view.Partition, "first", f.Frame.First, "epoch", f.Frame.Epoch)
		case f.Frame.First < next:
			c.committed = append(c.committed, f)
		case n > 0 && c.recovered[n-1].Header.Next() > f.Frame.First:
			m.slog.Error("batch stands twice in the write-ahead log, the second is left out",
				"partition", c.view.Partition, "first", f.Frame.First, "epoch", f.Frame.Epoch)
		default:
			c.recovered = append(c.recovered, f)
		}
	}
}

// adopt hands a partition that was taken to the log.
func (m *Manager) adopt(ctx context.Context, c *candidate, owner metastore.Owner) error {
	p := c.view.Partition
	producers, err := m.producers(ctx, p)
	switch {
	case errors.Is(err, format.ErrCorrupt), errors.Is(err, objstore.ErrNotFound):
		// The records in that object are refused; the partition goes on.
		m.slog.Error("producer state is damaged: idempotent producers that go on may write a batch twice", "partition", p, "error", err)
	case err != nil:
		// Taken but not served: the next look finds it owned by this session
		// and leaves it, so give it back first.
		return errors.Join(fmt.Errorf("read the producers of %s: %w", p, err), m.store.Release(ctx, m.session, []topic.Partition{p}))
	}
	expected := c.view.Next()
	for _, f := range c.recovered {
		if f.Frame.First > expected {
			m.slog.Error("records are lost: the write-ahead log is damaged", "partition", p, "first", expected, "next", f.Frame.First)
		}
		expected = f.Header.Next()
	}
	err = m.log.Adopt(ingest.Adoption{
		Partition: p, Owner: owner, Committed: c.view.Next(), LogStart: c.view.Manifest.LogStart,
		Object: m.object(c.view.Topic), Recovered: c.recovered, Producers: producers,
	})
	if err != nil {
		return err
	}
	m.owned[p] = true
	m.log.Release(c.committed)
	delete(m.recovered, p)
	m.slog.Debug("partition taken", "topic", c.view.Topic.Name, "partition", p, "epoch", owner.Epoch, "first", c.first(), "recovered_batches", len(c.recovered))
	return nil
}

// forgetDeleted lets the WAL forget frames of topics that do not exist.
func (m *Manager) forgetDeleted() {
	for p, frames := range m.recovered {
		if t, ok := m.store.Catalog().TopicByID(p.Topic); ok && p.Index < t.Partitions {
			continue
		}
		m.slog.Warn("batches in the write-ahead log belong to a topic that was deleted", "partition", p, "batches", len(frames))
		m.log.Release(frames)
		delete(m.recovered, p)
	}
}

// Release gives everything back. The log must have refused and flushed before:
// a released partition has nothing left that could still be committed.
func (m *Manager) Release(ctx context.Context) error {
	all := make([]topic.Partition, 0, len(m.owned))
	for p := range m.owned {
		all = append(all, p)
	}
	if err := m.store.Release(ctx, m.session, all); err != nil {
		return fmt.Errorf("release %d partitions: %w", len(all), err)
	}
	clear(m.owned)
	return nil
}

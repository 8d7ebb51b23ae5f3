package ownership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/salvage"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// candidate is a partition to be taken, as one catalog revision shows it.
type candidate struct {
	view      metastore.PartitionView
	reason    move
	owner     metastore.Owner  // once it is taken
	recovered []wal.Recovered  // not committed, part of the log
	committed []wal.Recovered  // the write-ahead log may forget them
	orphans   []salvage.Orphan // overtaken by another owner
}

// first is the offset at which the new ownership begins.
func (c *candidate) first() int64 {
	first := c.view.Next()
	if n := len(c.recovered); n > 0 {
		first = max(first, c.recovered[n-1].Header.Next())
	}
	return first
}

// sort tells what the recovered frames of c's partition are: part of the log and
// not committed, committed, or overtaken by another owner. A frame (epoch,
// offset) is committed, or will be by us, iff its offset is below the start of
// every later epoch; comparing offsets alone would bring back what another owner
// has overtaken [epoch-committed].
func (m *Manager) sort(c *candidate) {
	c.recovered, c.committed, c.orphans = nil, nil, nil
	next := c.view.Next()
	for _, f := range m.recovered[c.view.Partition] {
		n := len(c.recovered)
		end, ended := c.view.Owner.EpochEnd(metastore.Epoch(f.Frame.Epoch))
		switch {
		case ended && f.Frame.First >= end:
			c.orphans = append(c.orphans, salvage.Orphan{Recovered: f, Cut: end})
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

// take takes partitions in the metadata store and adopts them. What was taken
// and could not be adopted stays in m.taken, for the next time.
func (m *Manager) take(ctx context.Context, candidates []*candidate) error {
	var takes []metastore.Take
	var asked []*candidate
	adoptable := make([]*candidate, 0, len(candidates))
	for _, c := range candidates {
		if c.owner.ModRevision != 0 {
			adoptable = append(adoptable, c) // taken before
			continue
		}
		delete(m.taken, c.view.Partition)
		m.sort(c)
		asked = append(asked, c)
		takes = append(takes, metastore.Take{View: c.view, First: c.first(), Recovered: len(c.recovered) > 0, Object: m.Object(c.view.Topic)})
	}
	owners, err := m.Store.Take(ctx, m.Session, takes)
	for _, c := range asked {
		if owner, ok := owners[c.view.Partition]; ok {
			c.owner = owner
			m.taken[c.view.Partition] = c
			adoptable = append(adoptable, c)
		}
	}
	before := len(m.owned)
	err = errors.Join(err, m.adopt(ctx, adoptable))
	if n := len(m.owned) - before; n > 0 {
		m.slog.Info("partitions taken", "partitions", n, "owned", len(m.owned))
	}
	return err
}

// readsMax is how many partitions' producer states are read at once.
const readsMax = 16

// adopt hands partitions that were taken to the log, in order, each as soon as
// the state of its producers is read.
func (m *Manager) adopt(ctx context.Context, taken []*candidate) (failed error) {
	type read struct {
		producers []producer.State
		err       error
	}
	reads := make([]chan read, len(taken))
	for i := range reads {
		reads[i] = make(chan read, 1)
	}
	go func() {
		var readers errgroup.Group
		readers.SetLimit(readsMax)
		for i, c := range taken {
			readers.Go(func() error {
				producers, err := m.Producers(ctx, c.view.Partition)
				reads[i] <- read{producers, err}
				return nil
			})
		}
	}()
	for i, c := range taken {
		r, p := <-reads[i], c.view.Partition
		switch {
		case errors.Is(r.err, format.ErrCorrupt), errors.Is(r.err, objstore.ErrNotFound):
			// The records in that object are refused; the partition goes on.
			m.slog.Error("producer state is damaged: idempotent producers that go on may write a batch twice", "partition", p, "error", r.err)
		case errors.Is(r.err, metastore.ErrTopicUnknown):
			delete(m.taken, p)
			continue
		case r.err != nil:
			failed = fmt.Errorf("read the producers of %s: %w", p, r.err)
			continue
		}
		if err := m.serve(c, r.producers); err != nil {
			failed = err
		}
	}
	return failed
}

// serve begins to serve a partition.
func (m *Manager) serve(c *candidate, producers []producer.State) error {
	p := c.view.Partition
	expected := c.view.Next()
	for _, f := range c.recovered {
		if f.Frame.First > expected {
			m.slog.Error("records are lost: the write-ahead log is damaged", "partition", p, "first", expected, "next", f.Frame.First)
		}
		expected = f.Header.Next()
	}
	set := m.settingsOf(c.view.Topic, m.configs)
	err := m.Log.Adopt(ingest.Adoption{
		Partition: p, Owner: c.owner, Committed: c.view.Next(), LogStart: c.view.Manifest.LogStart,
		Object: set.object, Hasty: set.embedded, Recovered: c.recovered, Producers: producers,
	})
	if err != nil {
		return err
	}
	delete(m.taken, p)
	delete(m.left, p)
	delete(m.recovered, p)
	m.owned[p] = c.owner
	m.Log.Release(c.committed)
	m.Salvage(p, c.orphans)
	m.metrics.moves.WithLabelValues(string(c.reason)).Inc()
	if since, ok := m.unowned[p]; ok {
		m.metrics.unownedSeconds.Observe(time.Since(since).Seconds())
		delete(m.unowned, p)
	}
	m.slog.Debug("partition taken", "topic", c.view.Topic.Name, "partition", p, "why", c.reason,
		"epoch", c.owner.Epoch, "first", c.first(), "recovered_batches", len(c.recovered))
	return nil
}

// decide looks at frames of partitions that this broker does not own: what was
// committed is let go, what was overtaken is salvaged, and the rest is kept,
// until somebody has taken the partition.
func (m *Manager) decide(views []metastore.PartitionView) {
	for _, view := range views {
		c := &candidate{view: view}
		m.sort(c)
		m.Log.Release(c.committed)
		if len(c.recovered) > 0 {
			m.recovered[view.Partition] = c.recovered
		} else {
			delete(m.recovered, view.Partition)
		}
		m.Salvage(view.Partition, c.orphans)
	}
}

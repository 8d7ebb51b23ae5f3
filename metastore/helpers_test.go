package metastore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// ttl of leases in tests that do not wait for one to lapse.
const longTTL = time.Minute

// open opens a metadata store over k that is closed with the test.
func open(t *testing.T, k kv.Store) *metastore.Store {
	t.Helper()
	s, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test", Seed: 1})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// openMemory is open over a new in-memory store.
func openMemory(t *testing.T) (*metastore.Store, *memory.Store) {
	t.Helper()
	k := memory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return open(t, k), k
}

func register(t *testing.T, s *metastore.Store, id metastore.BrokerID) *metastore.BrokerSession {
	t.Helper()
	bs, err := s.Register(t.Context(), metastore.Broker{ID: id}, longTTL)
	require.NoError(t, err)
	return bs
}

func createTopic(t *testing.T, s *metastore.Store, name string, partitions int32) metastore.Topic {
	t.Helper()
	created, err := s.CreateTopic(t.Context(), metastore.Topic{Name: name, Partitions: partitions})
	require.NoError(t, err)
	return created
}

// segment is the session's commit number sequence, with one range for each of
// the given ones.
func segment(bs *metastore.BrokerSession, sequence int64, ranges ...metastore.SegmentRange) metastore.Segment {
	seg := metastore.Segment{
		ID:       fmt.Sprintf("S%d-%d", bs.ID(), sequence),
		Object:   fmt.Sprintf("segments/%d-%d", bs.ID(), sequence),
		Broker:   bs.Broker(),
		Session:  bs.ID(),
		Sequence: sequence,
	}
	for _, r := range ranges {
		r.Position, r.Length = seg.Size, 100
		seg.Size += r.Length
		seg.Ranges = append(seg.Ranges, r)
	}
	return seg
}

func span(p topic.Partition, first, next int64) metastore.SegmentRange {
	return metastore.SegmentRange{Partition: p, First: first, Next: next, MaxTimestamp: 1000 + next}
}

// take makes bs the owner of p from the committed next on.
func take(t *testing.T, s *metastore.Store, bs *metastore.BrokerSession, p topic.Partition) metastore.Owner {
	t.Helper()
	view := s.Catalog().Partition(p)
	taken, err := s.Take(t.Context(), bs, []metastore.Take{{View: view, First: view.Next()}})
	require.NoError(t, err)
	require.Contains(t, taken, p)
	return taken[p]
}

// within is a context for what must end soon.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a state of the catalog.
func eventually(t *testing.T, s *metastore.Store, what string, holds func(*metastore.Catalog) bool) {
	t.Helper()
	ctx := within(t, patience)
	for {
		changed := s.Catalog().Changed()
		if holds(s.Catalog()) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.Fail(t, "the catalog never shows it", what)
		}
	}
}

// hold takes the slot of a group for a session.
func hold(t testing.TB, s *metastore.Store, bs *metastore.BrokerSession, group string) *metastore.HeldSlot {
	t.Helper()
	n := metastore.SlotOf(group)
	seen, _ := s.Catalog().Slot(n)
	held, err := s.TakeSlots(t.Context(), bs, map[int]metastore.Slot{n: seen})
	require.NoError(t, err)
	require.Contains(t, held, n)
	return held[n]
}

// holdAll takes every slot for a session.
func holdAll(t testing.TB, s *metastore.Store, bs *metastore.BrokerSession) map[int]*metastore.HeldSlot {
	t.Helper()
	seen := make(map[int]metastore.Slot)
	for n := range metastore.Slots {
		seen[n], _ = s.Catalog().Slot(n)
	}
	held, err := s.TakeSlots(t.Context(), bs, seen)
	require.NoError(t, err)
	require.Len(t, held, metastore.Slots)
	return held
}

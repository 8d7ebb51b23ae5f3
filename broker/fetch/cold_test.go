package fetch

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestWhatRetentionHasJustDeletedIsOutOfRange(t *testing.T) {
	k := memory.New()
	defer func() { require.NoError(t, k.Close()) }()
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test", Seed: 1})
	require.NoError(t, err)
	defer store.Close()
	created, err := store.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 1})
	require.NoError(t, err)
	p := topic.Partition{Topic: created.ID}
	_, err = store.SetLogStart(t.Context(), p, 7)
	require.NoError(t, err)

	r := NewReader(Config{}, nil, nil, store.Catalog(), nil)
	c := &coldRead{
		position: &core.Position{Partition: p}, out: &core.Fetched{Bounds: core.Bounds{LogStart: 3}},
		err: fmt.Errorf("reading: %w", committed.ErrBelowStart),
	}
	require.True(t, r.admit(c, &room{bytesMax: 1, left: 1}), "the client hears of it at once")
	require.ErrorIs(t, c.out.Err, core.ErrOffsetOutOfRange)
	require.EqualValues(t, 7, c.out.LogStart, "the start by which it is refused")
}

func TestColdReadsOfAllRequestsKeepToTheirMemoryAndAllGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bytesMax, each, requests, partitions = 10 << 20, 3 << 20, 50, 20
		var underway, most, reads atomic.Int64
		r := NewReader(Config{ColdBytesMax: bytesMax}, nil, nil, nil, nil)
		r.cold.read = func(_ context.Context, _ topic.Partition, first int64, n, _ int) (committed.Chunk, error) {
			now := underway.Add(int64(n))
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			<-time.After(time.Millisecond)
			underway.Add(-int64(n))
			reads.Add(1)
			return committed.Chunk{First: first, Next: first}, nil
		}
		done := make(chan struct{})
		for range requests {
			go func() {
				var asked []*coldRead
				for i := range partitions {
					asked = append(asked, &coldRead{position: &core.Position{
						Partition: topic.Partition{Index: int32(i)}, BytesMax: each,
					}, out: &core.Fetched{}})
				}
				r.readCold(t.Context(), asked, &room{bytesMax: 50 << 20})
				done <- struct{}{}
			}()
		}
		for range requests {
			<-done
		}
		require.EqualValues(t, requests*partitions, reads.Load())
		require.LessOrEqual(t, most.Load(), int64(bytesMax))
		require.Greater(t, most.Load(), int64(each), "one request's reads go on side by side")
		require.True(t, r.cold.bytes.TryAcquire(bytesMax), "all memory was given back")
	})
}

func TestAColdReadLargerThanAllMemoryGoesAloneAndAnEndedOneHoldsNothing(t *testing.T) {
	r := NewReader(Config{ColdBytesMax: 1 << 20}, nil, nil, nil, nil)
	r.cold.read = func(context.Context, topic.Partition, int64, int, int) (committed.Chunk, error) {
		return committed.Chunk{}, nil
	}
	large := func() []*coldRead {
		return []*coldRead{{position: &core.Position{BytesMax: 50 << 20}, out: &core.Fetched{}}}
	}
	require.False(t, r.readCold(t.Context(), large(), &room{bytesMax: 50 << 20}))
	require.True(t, r.cold.bytes.TryAcquire(1<<20))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	reads := large()
	require.True(t, r.readCold(ended, reads, &room{bytesMax: 50 << 20}))
	require.ErrorIs(t, reads[0].out.Err, context.Canceled)
	r.cold.bytes.Release(1 << 20)
	require.True(t, r.cold.bytes.TryAcquire(1<<20))
}

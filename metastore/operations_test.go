package metastore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// counting counts the requests that reach a kv.Store.
type counting struct {
	kv.Store
	requests   atomic.Int64
	operations atomic.Int64 // of the largest transaction
	bytes      atomic.Int64
}

func (c *counting) reset() {
	c.requests.Store(0)
	c.operations.Store(0)
	c.bytes.Store(0)
}

func (c *counting) Get(ctx context.Context, key string) (kv.Entry, bool, error) {
	c.requests.Add(1)
	return c.Store.Get(ctx, key)
}

func (c *counting) Range(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	c.requests.Add(1)
	return c.Store.Range(ctx, prefix)
}

func (c *counting) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	c.requests.Add(1)
	c.operations.Store(max(c.operations.Load(), int64(txn.Operations())))
	c.bytes.Store(max(c.bytes.Load(), int64(txn.Bytes())))
	return c.Store.Txn(ctx, txn)
}

func TestFlushIsOneRequestWhateverTheNumberOfPartitions(t *testing.T) {
	c := &counting{Store: newMemory(t)}
	s := open(t, c)
	bs := register(t, s, 1)
	id := createTopic(t, s, "orders", 2000).ID
	now := time.Now().UnixMilli()
	for sequence, partitions := range []int32{1, 2000} {
		seg := segment(bs, int64(sequence+1))
		for i := range partitions {
			r := span(topic.Partition{Topic: id, Index: i}, 1_000_000+int64(sequence*50), 1_000_000+int64(sequence*50)+50)
			r.MaxTimestamp = now - int64(i)
			r.Position, r.Length = seg.Size, 40_000
			seg.Size += r.Length
			seg.Ranges = append(seg.Ranges, r)
		}
		c.reset()
		require.NoError(t, s.Commit(t.Context(), bs, seg))
		require.EqualValues(t, 1, c.requests.Load(), "%d partitions", partitions)
		require.LessOrEqual(t, c.operations.Load(), int64(5))
		require.LessOrEqual(t, c.bytes.Load(), 1000+20*int64(partitions))
		t.Logf("%d partitions: %d operations, %d bytes", partitions, c.operations.Load(), c.bytes.Load())
	}
}

func TestTransactionsKeepToTheirBounds(t *testing.T) {
	c := &counting{Store: newMemory(t)}
	s := open(t, c)
	bs := register(t, s, 1)
	const n = 1000
	id := createTopic(t, s, "orders", n).ID
	takes := make([]metastore.Take, n)
	swaps := make([]metastore.ManifestSwap, 64)
	offsets := make(map[topic.Partition]metastore.OffsetCommit)
	for i := range int32(n) {
		p := topic.Partition{Topic: id, Index: i}
		takes[i].View = s.Catalog().Partition(p)
		if int(i) < len(swaps) {
			swaps[i] = swapTo(s, p, "m/1", 0)
		}
		offsets[p] = metastore.OffsetCommit{Offset: 1}
	}

	c.reset()
	_, err := s.Take(t.Context(), bs, takes)
	require.NoError(t, err)
	require.LessOrEqual(t, c.requests.Load(), int64(n/98+1), "98 partitions of one topic a transaction")
	c.reset()
	require.NoError(t, s.SwapManifests(t.Context(), swaps, nil))
	require.EqualValues(t, 1, c.requests.Load())
	held := hold(t, s, bs, "g")
	c.reset()
	require.NoError(t, s.CommitOffsets(t.Context(), held, "g", offsets))
	require.EqualValues(t, 2, c.requests.Load(), "the first commit of a group reads it")
	c.reset()
	require.NoError(t, s.CommitOffsets(t.Context(), held, "g", offsets))
	require.EqualValues(t, 1, c.requests.Load(), "later ones know what they wrote")
}

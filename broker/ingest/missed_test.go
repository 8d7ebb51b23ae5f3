package ingest_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
)

// numbered appends one batch of an idempotent producer and waits for it.
func (w *world) numbered(partition int32, id int64, sequence int32, value []byte) error {
	w.t.Helper()
	return w.send(partition, id, sequence, value, func([]byte, *core.AppendOptions) {})
}

// send is numbered for a batch and options that are changed before.
func (w *world) send(partition int32, id int64, sequence int32, value []byte, change func(raw []byte, o *core.AppendOptions)) error {
	w.t.Helper()
	var b batch.Builder
	b.Reset(batch.Options{Producer: &batch.Producer{ID: id, Sequence: sequence}})
	b.Append(1000, nil, value)
	raw, err := b.Build(nil)
	require.NoError(w.t, err)
	o := core.AppendOptions{Acks: 1, MessageBytesMax: 1 << 20, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64}
	change(raw, &o)
	p, err := w.log.Append(w.t.Context(), topic.Partition{Topic: w.topic, Index: partition}, raw, o)
	if err != nil {
		return err
	}
	_, err = p.Wait(w.t.Context())
	return err
}

// A producer sends several batches at once. If its first one finds no room, or the
// partition about to be given away, those behind it must not be appended, though
// an unknown producer may begin anywhere: the first, when it comes again, would be
// taken for an old one that is there already, and be lost.
func TestWhatComesBehindARefusedFirstBatchIsNotAppended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{WALBytesMax: 10_000, SegmentAge: 10 * time.Millisecond}, false)
		defer w.close()
		inOrder := func(id int64) {
			t.Helper()
			before := w.bounds(0).HighWatermark
			require.ErrorIs(t, w.numbered(0, id, 1, nil), core.ErrOutOfOrderSequence)
			require.ErrorIs(t, w.numbered(0, id, 2, nil), core.ErrOutOfOrderSequence)
			require.NoError(t, w.numbered(1, id, 7, nil)) // another partition has its own numbers
			for sequence := range int32(3) {
				require.NoError(t, w.numbered(0, id, sequence, nil))
			}
			require.Equal(t, before+3, w.bounds(0).HighWatermark)
		}
		w.plan("put * fail-before p=1")
		for range 9 {
			w.must(0, string(kilobyte), 1, false)
		}
		require.ErrorIs(t, w.numbered(0, 1, 0, kilobyte), core.ErrOverBudget)
		w.plan("")
		time.Sleep(5 * time.Second) // the longest pause of a flush that failed
		inOrder(1)

		w.partition(0).Pause()
		require.ErrorIs(t, w.numbered(0, 2, 0, nil), core.ErrNotOwner)
		require.ErrorIs(t, w.numbered(0, 2, 1, nil), core.ErrNotOwner)
		w.partition(0).Resume()
		inOrder(2)

		// Who gave the first one up is not held up by it for ever.
		w.partition(0).Pause()
		require.ErrorIs(t, w.numbered(0, 3, 0, nil), core.ErrNotOwner)
		w.partition(0).Resume()
		require.ErrorIs(t, w.numbered(0, 3, 1, nil), core.ErrOutOfOrderSequence)
		time.Sleep(time.Minute)
		require.NoError(t, w.numbered(0, 3, 1, nil))
		require.ErrorIs(t, w.numbered(0, 3, 0, nil), core.ErrOutOfOrderSequence) // and is not told that it is there
	})
}

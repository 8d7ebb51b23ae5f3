package ingest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/producer"
)

// salvage is numbered for a batch that comes from the write-ahead log of another broker.
func (w *world) salvage(id int64, sequence int32) error {
	return w.salvageSeen(core.Unseen, id, sequence)
}

// salvageSeen is salvage by a broker that has looked at the log up to an offset.
func (w *world) salvageSeen(seen, id int64, sequence int32) error {
	w.t.Helper()
	return w.send(0, id, sequence, nil, func(raw []byte, o *core.AppendOptions) {
		batch.PatchOffset(raw, seen+1, -1)
		o.Salvage = true
	})
}

func TestWhatIsSalvagedWaitsForItsProducer(t *testing.T) {
	const after = 2 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAge: time.Hour}, false)
		defer w.close()
		require.NoError(t, w.numbered(0, 1, 0, nil))
		require.ErrorIs(t, w.salvage(1, 1), core.ErrSalvageLater, "the broker has just become the owner")
		require.NoError(t, w.salvage(producer.SalvageID(1), 0), "it has no producer that could send it again")
		require.NoError(t, w.salvage(producer.SalvageBatchID(1, 0, 7), 0), "it was found to be missing")
		time.Sleep(after)
		require.NoError(t, w.salvage(1, 1))

		require.ErrorIs(t, w.salvage(1, 3), core.ErrOutOfOrderSequence)
		require.NoError(t, w.salvage(1, 2), "what is salvaged is no producer")
		require.ErrorIs(t, w.numbered(0, 1, 4, nil), core.ErrOutOfOrderSequence)
		require.ErrorIs(t, w.salvage(1, 3), core.ErrSalvageLater)
		require.NoError(t, w.salvage(2, 0), "another producer was told of nothing")
		time.Sleep(after - time.Millisecond)
		require.ErrorIs(t, w.salvage(1, 3), core.ErrSalvageLater)
		require.ErrorIs(t, w.numbered(0, 1, 5, nil), core.ErrOutOfOrderSequence)
		time.Sleep(after - time.Millisecond)
		require.ErrorIs(t, w.salvage(1, 3), core.ErrSalvageLater, "it was told again")
		time.Sleep(time.Millisecond)
		require.NoError(t, w.salvage(1, 3))

		// Who is told all the time does not keep it waiting for ever.
		began := time.Now()
		for time.Since(began) < 2*after {
			require.ErrorIs(t, w.numbered(0, 1, 9, nil), core.ErrOutOfOrderSequence)
			time.Sleep(time.Minute)
		}
		require.NoError(t, w.salvage(1, 4))
		time.Sleep(4 * after)
		require.ErrorIs(t, w.numbered(0, 1, 9, nil), core.ErrOutOfOrderSequence)
		require.ErrorIs(t, w.salvage(1, 5), core.ErrSalvageLater, "that was long ago")
	})
}

// Who is told of gaps cannot fill the memory.
func TestSalvageWaitsForAllWhenTooManyProducersAreTold(t *testing.T) {
	const after, many = 2 * time.Minute, 10_000
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAge: time.Hour}, false)
		defer w.close()
		time.Sleep(after)
		for id := range int64(many + 1) {
			require.NoError(t, w.numbered(0, id, 0, nil))
			require.ErrorIs(t, w.numbered(0, id, 2, nil), core.ErrOutOfOrderSequence)
		}
		require.ErrorIs(t, w.salvage(0, 1), core.ErrSalvageLater)
		require.ErrorIs(t, w.salvage(many+1, 0), core.ErrSalvageLater)
		time.Sleep(after)
		require.NoError(t, w.salvage(0, 1))
		require.NoError(t, w.salvage(many+1, 0))
	})
}

// Nor can they hold up salvage for ever, however many they are.
func TestSalvageDoesNotWaitForEverForTooManyProducers(t *testing.T) {
	const after, many = 2 * time.Minute, 10_000
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAge: 24 * time.Hour, SalvageAfter: after}, false)
		defer w.close()
		for id := range int64(many + 2) {
			require.NoError(t, w.numbered(0, id, 0, nil))
		}
		flood := func() {
			for id := range int64(many + 1) {
				require.ErrorIs(t, w.numbered(0, id, 2, nil), core.ErrOutOfOrderSequence)
			}
		}
		time.Sleep(4 * after)
		flood()
		require.ErrorIs(t, w.salvage(many+1, 1), core.ErrSalvageLater)
		for range 4 {
			time.Sleep(after - time.Second)
			flood()
		}
		require.NoError(t, w.salvage(many+1, 1))
	})
}

func TestSalvageNeedNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAge: time.Hour, SalvageAfter: -1}, false)
		defer w.close()
		require.NoError(t, w.numbered(0, 1, 0, nil))
		require.ErrorIs(t, w.numbered(0, 1, 2, nil), core.ErrOutOfOrderSequence)
		require.NoError(t, w.salvage(1, 1))
	})
}

// What two brokers have of one producer under two epochs may be the same.
func TestWhoSalvagesHasToHaveSeenWhatAnotherHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAge: time.Hour, SalvageAfter: -1}, false)
		defer w.close()
		require.NoError(t, w.numbered(0, 1, 0, nil))
		require.NoError(t, w.salvageSeen(1, 2, 0))
		require.ErrorIs(t, w.salvageSeen(1, 3, 0), core.ErrSalvageStale)
		require.NoError(t, w.numbered(0, 1, 1, nil))
		require.NoError(t, w.salvageSeen(2, 3, 0), "what producers send is not salvaged")
		require.NoError(t, w.salvageSeen(core.Unseen, 3, 1))
		require.ErrorIs(t, w.salvageSeen(4, producer.SalvageBatchID(3, 0, 5), 0), core.ErrSalvageStale)
		require.NoError(t, w.salvageSeen(5, producer.SalvageBatchID(3, 0, 5), 0))
		require.ErrorIs(t, w.salvageSeen(core.Unlooked, 4, 0), core.ErrSalvageStale, "it is time, and it was not looked for")
	})
}

// Who salvages lets go of a batch that the owner has. It may be on no disk yet.
func TestWhatWasThereIsAnsweredWhenItIsDurable(t *testing.T) {
	const slow = time.Second
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{SegmentAge: time.Hour, SalvageAfter: -1}, false)
		defer w.close()
		w.fails(func(site disk.Site, _ string, _ int) *disk.Fault {
			if site == disk.SiteDatasync {
				return &disk.Fault{Delay: slow}
			}
			return nil
		})
		var sent errgroup.Group
		for sequence := range int32(7) { // more than are remembered
			sent.Go(func() error { return w.numbered(0, 1, sequence, nil) })
			synctest.Wait()
		}
		begun := time.Now()
		require.NoError(t, w.salvage(1, 0))
		require.GreaterOrEqual(t, time.Since(begun), slow)
		require.NoError(t, sent.Wait())
		begun = time.Now()
		require.NoError(t, w.salvage(1, 0))
		require.Zero(t, time.Since(begun))
	})
}

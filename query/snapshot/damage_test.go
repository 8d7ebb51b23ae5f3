package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
)

// sourcesOf a metadata store in memory, with one topic.
func sourcesOf(t *testing.T) (*Sources, *metastore.Store, *metastore.Topic) {
	k := memory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	made, err := store.CreateTopic(t.Context(), metastore.Topic{Name: "orders", Partitions: 1})
	require.NoError(t, err)
	require.NoError(t, store.CatchUp(t.Context()))
	return &Sources{
		Catalog: store.Catalog(), CatchUp: store.CatchUp, ReportDamage: store.ReportDamage, Log: slog.New(slog.DiscardHandler),
	}, store, &made
}

func TestAFileThatMovedOnIsNotReported(t *testing.T) {
	s, store, made := sourcesOf(t)
	p := topic.Partition{Topic: made.ID}
	object := objstore.ParquetName(p, ulid.Make())
	gone := OfFile(object, objstore.ErrNotFound)
	var m missed
	require.False(t, m.again(t.Context(), s, errors.New("another")))
	require.False(t, m.again(t.Context(), s, gone), "the manifest may have moved on")
	require.True(t, m.again(t.Context(), s, gone))
	s.CatchUp = func(context.Context) error { return errors.New("etcd is away") }
	m = missed{}
	for range 3 {
		require.False(t, m.again(t.Context(), s, gone), "the name may be an old one")
	}
	require.Empty(t, s.lost("no name"))
	require.Empty(t, s.lost(object))
	require.Empty(t, store.Catalog().Partition(p).Damaged)
}

func TestAFileThatStaysAwayIsReportedAndItsErrorSaysWhatBecomesOfIt(t *testing.T) {
	s, store, made := sourcesOf(t)
	p := topic.Partition{Topic: made.ID}
	object := objstore.ParquetName(p, ulid.Make())
	bind := func(err error) (attempts int, damaged *DamagedError) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := s.Bind(ctx, "orders", func(attempt int) error {
			attempts = attempt
			return OfFile(object, err)
		})
		require.ErrorAs(t, got, &damaged)
		return attempts, damaged
	}
	attempts, damaged := bind(objstore.ErrNotFound)
	require.Equal(t, 2, attempts)
	require.True(t, damaged.Missing && damaged.Reported)
	require.Contains(t, damaged.Error(), "being made again")
	reports := store.Catalog().Partition(p).Damaged
	require.Len(t, reports, 1)
	require.Equal(t, object, reports[0].Object)

	require.NoError(t, store.LoseDamage(t.Context(), reports[0], "the log is gone", time.Now()))
	attempts, damaged = bind(format.Corrupt(7, "a flipped bit"))
	require.Equal(t, 1, attempts)
	require.False(t, damaged.Missing || damaged.Reported)
	require.Contains(t, damaged.Error(), "the log is gone")
	require.ErrorIs(t, damaged, format.ErrCorrupt)
}

func TestBindingGoesOnAsLongAsItsContext(t *testing.T) {
	s, _, _ := sourcesOf(t)
	attempts := 0
	require.NoError(t, s.Bind(t.Context(), "orders", func(attempt int) error {
		if attempts = attempt; attempt < 5 {
			return ErrStale
		}
		return nil
	}))
	require.Equal(t, 5, attempts)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Bind(ctx, "orders", func(int) error { cancel(); return ErrStale })
	require.ErrorIs(t, err, ErrStale)
	require.ErrorIs(t, err, context.Canceled)
	other := errors.New("another")
	require.ErrorIs(t, s.Bind(t.Context(), "orders", func(int) error { return other }), other)
}

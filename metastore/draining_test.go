package metastore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestDrainingOutlivesTheBrokersSessions(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 2)
	require.False(t, s.Catalog().Draining(2))
	require.NoError(t, s.SetDraining(t.Context(), 2, true))
	require.True(t, s.Catalog().Draining(2))
	require.False(t, s.Catalog().Draining(1))
	require.NoError(t, bs.Close(t.Context()))
	register(t, s, 2)
	require.True(t, s.Catalog().Draining(2), "a restart clears it")
	require.NoError(t, s.SetDraining(t.Context(), 2, false))
	require.False(t, s.Catalog().Draining(2))
	require.ErrorIs(t, s.SetDraining(t.Context(), -1, true), metastore.ErrInvalid)
}

func TestALateDrainDoesNotUndoItsCancel(t *testing.T) {
	k := memory.New()
	defer k.Close()
	plan, err := faults.ParsePlan("txn /draining/ late=50ms nth=2") // the first reads
	require.NoError(t, err)
	f := faults.New(k, plan)
	defer f.Close()
	s := open(t, f)
	require.NoError(t, s.SetDraining(t.Context(), 1, true))
	require.Equal(t, int64(1), f.Struck()[0], "nothing was late")
	require.NoError(t, s.SetDraining(t.Context(), 1, false))
	f.Settle()
	again := open(t, k)
	require.False(t, again.Catalog().Draining(1))
}

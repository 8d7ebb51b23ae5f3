package metastore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
)

func TestAnIcebergTableIsSwappedByOneOfTwoAndGoesWithItsTopic(t *testing.T) {
	s, _ := openMemory(t)
	tp := createTopic(t, s, "orders", 1)
	of := func() (table metastore.IcebergTable, ok bool) {
		s.Catalog().View(func(v *metastore.View) { table, ok = v.Iceberg(tp.ID) })
		return table, ok
	}
	one := metastore.IcebergTable{Object: "one", Version: 1, Revision: 3}
	require.NoError(t, s.SwapIceberg(t.Context(), tp.ID, metastore.IcebergTable{}, one, []metastore.Deletion{{Object: "old"}}))
	marks, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, marks, 1)
	require.ErrorIs(t, s.SwapIceberg(t.Context(), tp.ID, metastore.IcebergTable{}, metastore.IcebergTable{Object: "other", Version: 1}, nil), metastore.ErrConflict)
	seen, ok := of()
	require.True(t, ok)
	require.Equal(t, "one", seen.Object)
	back := metastore.IcebergTable{Object: "two", Version: 2, Revision: 2}
	require.ErrorIs(t, s.SwapIceberg(t.Context(), tp.ID, seen, back, nil), metastore.ErrInvalid)
	back.Revision = 3
	require.NoError(t, s.SwapIceberg(t.Context(), tp.ID, seen, back, nil))
	require.ErrorIs(t, s.DropIceberg(t.Context(), tp.ID, seen), metastore.ErrConflict)

	require.NoError(t, s.DeleteTopic(t.Context(), "orders"))
	_, ok = of()
	require.False(t, ok)
	require.ErrorIs(t, s.SwapIceberg(t.Context(), tp.ID, metastore.IcebergTable{}, one, nil), metastore.ErrConflict)
}

package metastore_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

func TestAVectorIndexIsRebuiltAndDroppedAndGoesWithItsTopic(t *testing.T) {
	s, _ := openMemory(t)
	tp := createTopic(t, s, "notes", 3)
	of := func() (x metastore.VectorIndex) {
		s.Catalog().View(func(v *metastore.View) { x = v.VectorIndex(tp.ID) })
		return x
	}
	require.Equal(t, metastore.VectorIndex{}, of())
	require.NoError(t, s.DropVectors(t.Context(), tp.ID))
	require.True(t, of().Dropped)
	require.NoError(t, s.RebuildVectors(t.Context(), tp.ID, 1))
	require.False(t, of().Dropped)
	require.Equal(t, []int64{0, 1, 0}, []int64{of().Of(0), of().Of(1), of().Of(2)})
	require.NoError(t, s.RebuildVectors(t.Context(), tp.ID))
	require.NoError(t, s.DropVectors(t.Context(), tp.ID))
	require.NoError(t, s.ReviveVectors(t.Context(), tp.ID))
	require.False(t, of().Dropped)
	require.Equal(t, []int64{1, 2, 1}, []int64{of().Of(0), of().Of(1), of().Of(2)})

	require.ErrorIs(t, s.RebuildVectors(t.Context(), topic.NewID()), metastore.ErrTopicUnknown)
	require.NoError(t, s.DeleteTopic(t.Context(), "notes"))
	require.NoError(t, s.SweepTopics(t.Context()))
	require.Equal(t, metastore.VectorIndex{}, of())
}

// However many ask at once, each request counts.
func TestRebuildsOfAVectorIndexAreCounted(t *testing.T) {
	s, _ := openMemory(t)
	tp := createTopic(t, s, "notes", 1)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := s.RebuildVectors(t.Context(), tp.ID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s.Catalog().View(func(v *metastore.View) { require.EqualValues(t, 20, v.VectorIndex(tp.ID).Of(0)) })
}

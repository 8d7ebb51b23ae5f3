package metastore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// swapTo is the swap of p's manifest, as the catalog shows it, for one in object
// with its log mark at mark.
func swapTo(s *metastore.Store, p topic.Partition, object string, mark int64) metastore.ManifestSwap {
	seen := s.Catalog().Partition(p).Manifest
	next := seen
	next.Object, next.Length, next.Marks.Log = object, 10, mark
	next.Version++
	return metastore.ManifestSwap{Partition: p, Seen: seen, New: next}
}

func TestSwapOf64PartitionsIsOneTransaction(t *testing.T) {
	s, _ := openMemory(t)
	tp := createTopic(t, s, "orders", 64)
	var swaps []metastore.ManifestSwap
	for i := range int32(64) {
		swaps = append(swaps, swapTo(s, topic.Partition{Topic: tp.ID, Index: i}, "m/1", 5))
	}
	var deletions []metastore.Deletion
	for i := range 30 {
		deletions = append(deletions, metastore.Deletion{Object: fmt.Sprintf("old/%d", i), NotBefore: time.Unix(1, 0).UTC()})
	}
	before := s.Catalog().Revision()
	require.NoError(t, s.SwapManifests(t.Context(), swaps, deletions))
	require.Equal(t, before+1, s.Catalog().Revision())
	got, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, got, len(deletions))
	require.EqualValues(t, 5, s.Catalog().Partition(swaps[63].Partition).Next())

	require.NoError(t, s.ForgetDeletions(t.Context(), got[:29]...))
	left, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Equal(t, got[29:], left)
}

func TestSwapOfMoreThanFitsIsSeveralTransactions(t *testing.T) {
	s, _ := openMemory(t)
	var swaps []metastore.ManifestSwap
	for i := range 150 {
		tp := createTopic(t, s, fmt.Sprintf("t%d", i), 1)
		swaps = append(swaps, swapTo(s, topic.Partition{Topic: tp.ID}, fmt.Sprintf("m/%d", i), 5))
	}
	var deletions []metastore.Deletion
	for i := range 300 {
		deletions = append(deletions, metastore.Deletion{Object: fmt.Sprintf("old/%d", i)})
	}
	require.NoError(t, s.SwapManifests(t.Context(), swaps, deletions))
	for _, w := range swaps {
		require.Equal(t, w.New.Object, s.Catalog().Partition(w.Partition).Manifest.Object)
	}
	got, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, got, len(deletions))
}

func TestSwapConflictNamesItsPartitionsAndHasNoEffect(t *testing.T) {
	s, _ := openMemory(t)
	tp := createTopic(t, s, "orders", 3)
	var swaps []metastore.ManifestSwap
	for i := range int32(3) {
		swaps = append(swaps, swapTo(s, topic.Partition{Topic: tp.ID, Index: i}, "mine", 5))
	}
	theirs := swapTo(s, swaps[1].Partition, "theirs", 7)
	require.NoError(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{theirs}, nil))

	err := s.SwapManifests(t.Context(), swaps, []metastore.Deletion{{Object: "old"}})
	require.ErrorIs(t, err, metastore.ErrConflict)
	var conflict *metastore.ConflictError
	require.True(t, errors.As(err, &conflict))
	require.Equal(t, []topic.Partition{swaps[1].Partition}, conflict.Partitions)
	require.Zero(t, s.Catalog().Partition(swaps[0].Partition).Manifest)
	deletions, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Empty(t, deletions, "nothing is marked that a manifest may name")
}

func TestLogStartRaisedMeanwhileIsKept(t *testing.T) {
	s, _ := openMemory(t)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	first := swapTo(s, p, "m/1", 10)
	_, err := s.SetLogStart(t.Context(), p, 4)
	require.NoError(t, err)
	require.NoError(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{first}, nil))
	ref := s.Catalog().Partition(p).Manifest
	require.EqualValues(t, 4, ref.LogStart)
	require.Equal(t, "m/1", ref.Object)
	require.EqualValues(t, 1, ref.Version)

	ref, err = s.SetLogStart(t.Context(), p, 2)
	require.NoError(t, err)
	require.EqualValues(t, 4, ref.LogStart, "it is never lowered")
	ref, err = s.SetLogStart(t.Context(), p, 30)
	require.NoError(t, err)
	require.Equal(t, ref, s.Catalog().Partition(p).Manifest)
	require.EqualValues(t, 30, s.Catalog().Partition(p).Next())
}

func TestManifestOfADeletedTopicIsAConflict(t *testing.T) {
	s, _ := openMemory(t)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	swap := swapTo(s, p, "m/1", 10)
	require.NoError(t, s.DeleteTopic(t.Context(), "orders"))
	require.ErrorIs(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{swap}, nil), metastore.ErrConflict)
	require.Zero(t, s.Catalog().Partition(p).Manifest)
}

func TestSwapThatGoesBackIsRefused(t *testing.T) {
	s, _ := openMemory(t)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	first := swapTo(s, p, "m/1", 10)
	first.New.LogStart = 3
	require.NoError(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{first}, nil))
	for name, spoil := range map[string]func(*metastore.ManifestRef){
		"no object":  func(r *metastore.ManifestRef) { r.Object = "" },
		"no length":  func(r *metastore.ManifestRef) { r.Length = 0 },
		"version":    func(r *metastore.ManifestRef) { r.Version-- },
		"log start":  func(r *metastore.ManifestRef) { r.LogStart = 2 },
		"mark":       func(r *metastore.ManifestRef) { r.Marks.Log = 9 },
		"skipped":    func(r *metastore.ManifestRef) { r.Version++ },
		"no section": func(r *metastore.ManifestRef) { r.Position = -1 },
	} {
		swap := swapTo(s, p, "m/2", 12)
		spoil(&swap.New)
		require.ErrorIs(t, s.SwapManifests(t.Context(), []metastore.ManifestSwap{swap}, nil), metastore.ErrInvalid, name)
	}
}

func TestDropSegmentMarksItsObjectOnce(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	seg := segment(bs, 1, span(p, 0, 10))
	require.NoError(t, s.Commit(t.Context(), bs, seg))
	require.NoError(t, s.Commit(t.Context(), bs, segment(bs, 2, span(p, 10, 20))))
	require.NoError(t, other.Catalog().WaitRevision(t.Context(), s.Catalog().Revision()))

	require.ErrorIs(t, s.DropSegment(t.Context(), seg.ID, metastore.Deletion{Object: "another"}), metastore.ErrInvalid)
	when := time.Unix(1_800_000_000, 0).UTC()
	require.NoError(t, s.DropSegment(t.Context(), seg.ID, metastore.Deletion{Object: seg.Object, NotBefore: when}))
	require.NoError(t, other.DropSegment(t.Context(), seg.ID, metastore.Deletion{Object: seg.Object, NotBefore: when.Add(time.Hour)}))
	require.NoError(t, s.DropSegment(t.Context(), "never", metastore.Deletion{Object: "x"}))
	deletions, err := s.Deletions(t.Context())
	require.NoError(t, err)
	require.Len(t, deletions, 1)
	require.Equal(t, when, deletions[0].NotBefore)
	view := s.Catalog().Partition(p)
	require.Len(t, view.Ranges, 1)
	require.EqualValues(t, 20, view.Next())
}

package metastore_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

type offsets = map[topic.Partition]metastore.OffsetCommit

func TestOffsetsAreReadBackAsCommitted(t *testing.T) {
	s, k := openMemory(t)
	a, b := topic.NewID(), topic.NewID()
	first := offsets{
		{Topic: a, Index: 0}:   {Offset: 1, LeaderEpoch: -1, Metadata: "m", CommittedAt: 5},
		{Topic: a, Index: 255}: {Offset: 2},
		{Topic: a, Index: 256}: {Offset: 3},
		{Topic: b, Index: 7}:   {Offset: 4},
	}
	// Names that would meet each other, or escape, if they were not escaped.
	groups := []string{"g", "g/", "g%2F", "", "../g", "ä ö"}
	bs := register(t, s, 1)
	for i, g := range groups {
		held := hold(t, s, bs, g)
		require.NoError(t, s.CommitOffsets(t.Context(), held, g, first))
		require.NoError(t, s.CommitOffsets(t.Context(), held, g, offsets{{Topic: b, Index: 7}: {Offset: int64(100 + i)}}))
	}
	for i, g := range groups {
		for _, reader := range []*metastore.Store{s, open(t, k)} {
			got, err := reader.FetchOffsets(t.Context(), g)
			require.NoError(t, err)
			require.Len(t, got, 4)
			require.Equal(t, first[topic.Partition{Topic: a}], got[topic.Partition{Topic: a}])
			require.EqualValues(t, 100+i, got[topic.Partition{Topic: b, Index: 7}].Offset)
		}
	}
	var listed []string
	for slot := range metastore.Slots {
		of, err := s.OffsetGroups(t.Context(), slot)
		require.NoError(t, err)
		listed = append(listed, of...)
	}
	require.ElementsMatch(t, groups, listed)
	got, err := s.FetchOffsets(t.Context(), "nobody")
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestDeletedOffsetsAreGone(t *testing.T) {
	s, k := openMemory(t)
	id := topic.NewID()
	bs := register(t, s, 1)
	g, h := hold(t, s, bs, "g"), hold(t, s, bs, "h")
	p, q, r := topic.Partition{Topic: id}, topic.Partition{Topic: id, Index: 1}, topic.Partition{Topic: id, Index: 300}
	require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{p: {Offset: 1}, q: {Offset: 2}, r: {Offset: 3}}))
	require.NoError(t, s.CommitOffsets(t.Context(), h, "h", offsets{p: {Offset: 9}}))
	require.NoError(t, s.DeleteGroupOffsets(t.Context(), g, "g", p, r))
	got, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Equal(t, offsets{q: {Offset: 2}}, got)

	require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{r: {Offset: 4}}), "after its block was deleted")
	require.NoError(t, s.DeleteGroupOffsets(t.Context(), g, "g"))
	require.NoError(t, s.DeleteGroupOffsets(t.Context(), g, "g"), "again")
	left, _, err := k.Range(t.Context(), "/chronik-groups/test/offsets/")
	require.NoError(t, err)
	require.Len(t, left, 1, "the other group's")
}

func TestTwoWritersOfAGroupLoseNoOffset(t *testing.T) {
	s, k := openMemory(t)
	stores := []*metastore.Store{s, open(t, k)}
	g := hold(t, s, register(t, s, 1), "g")
	id := topic.NewID()
	var wg sync.WaitGroup
	for i := range int32(40) {
		wg.Go(func() {
			err := stores[i%2].CommitOffsets(t.Context(), g, "g", offsets{{Topic: id, Index: i}: {Offset: int64(i)}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Len(t, got, 40)
}

func TestCommitOfMoreThanATransactionIsSeveral(t *testing.T) {
	s, _ := openMemory(t)
	g := hold(t, s, register(t, s, 1), "g")
	id := topic.NewID()
	large := make(offsets)
	for i := range int32(3000) {
		large[topic.Partition{Topic: id, Index: i}] = metastore.OffsetCommit{Offset: int64(i), Metadata: strings.Repeat("m", 1000)}
	}
	for i := range 150 {
		large[topic.Partition{Topic: topic.NewID()}] = metastore.OffsetCommit{Offset: int64(i)}
	}
	require.NoError(t, s.CommitOffsets(t.Context(), g, "g", large))
	got, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Equal(t, large, got)

	for p, c := range large {
		c.Metadata = strings.Repeat("m", 9000)
		large[p] = c
	}
	require.ErrorIs(t, s.CommitOffsets(t.Context(), g, "g", large), kv.ErrTooLarge)
	require.NoError(t, s.CommitOffsets(t.Context(), g, "g", nil))
}

func TestCacheOfManyGroupsIsBoundedAndRight(t *testing.T) {
	s, _ := openMemory(t)
	p := topic.Partition{Topic: topic.NewID()}
	held := holdAll(t, s, register(t, s, 1))
	for round := range int64(2) {
		for i := range 5000 {
			name := fmt.Sprint(i)
			require.NoError(t, s.CommitOffsets(t.Context(), held[metastore.SlotOf(name)], name, offsets{p: {Offset: round}}))
		}
	}
	got, err := s.FetchOffsets(t.Context(), "0")
	require.NoError(t, err)
	require.EqualValues(t, 1, got[p].Offset)
}

func TestOffsetsOfALostSlotAreRefused(t *testing.T) {
	s, k := openMemory(t)
	p := topic.Partition{Topic: topic.NewID()}
	old := hold(t, s, register(t, s, 1), "g")
	require.NoError(t, s.CommitOffsets(t.Context(), old, "g", offsets{p: {Offset: 1}}))
	other := open(t, k)
	now := hold(t, other, register(t, other, 1), "g")
	require.ErrorIs(t, s.CommitOffsets(t.Context(), old, "g", offsets{p: {Offset: 2}}), metastore.ErrSlotLost)
	require.ErrorIs(t, s.DeleteGroupOffsets(t.Context(), old, "g"), metastore.ErrSlotLost)
	require.NoError(t, other.CommitOffsets(t.Context(), now, "g", offsets{p: {Offset: 3}}))
	got, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Equal(t, offsets{p: {Offset: 3}}, got)
	require.ErrorIs(t, other.CommitOffsets(t.Context(), now, "of another slot", offsets{p: {Offset: 3}}), metastore.ErrInvalid)
}

func TestAnOffsetThatIsCommittedAnewDoesNotExpire(t *testing.T) {
	s, _ := openMemory(t)
	g := hold(t, s, register(t, s, 1), "g")
	id := topic.NewID()
	p, q := topic.Partition{Topic: id}, topic.Partition{Topic: id, Index: 1}
	require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{p: {Offset: 1, CommittedAt: 1}, q: {Offset: 2, CommittedAt: 1}}))
	seen, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{q: {Offset: 2, CommittedAt: 9}}))
	require.NoError(t, s.ExpireOffsets(t.Context(), g, "g", seen))
	got, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Equal(t, offsets{q: {Offset: 2, CommittedAt: 9}}, got)
}

package metastore_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

func TestTakeOfManyPartitionsIsBounded(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	const n = 500
	tp := createTopic(t, s, "orders", n)
	var takes []metastore.Take
	var all []topic.Partition
	for i := range int32(n) {
		p := topic.Partition{Topic: tp.ID, Index: i}
		takes = append(takes, metastore.Take{View: s.Catalog().Partition(p)})
		all = append(all, p)
	}
	taken, err := s.Take(t.Context(), bs, takes)
	require.NoError(t, err)
	require.Len(t, taken, n)
	for p, owner := range taken {
		require.Equal(t, owner, s.Catalog().Partition(p).Owner, "the catalog shows it at once")
	}
	require.NoError(t, s.Release(t.Context(), bs, all))
	for _, p := range all {
		view := s.Catalog().Partition(p)
		require.Equal(t, metastore.NoBroker, view.Owner.Broker)
		require.False(t, view.OwnerAlive)
		require.Zero(t, view.Owner.Epoch, "the last epoch stays known")
	}
	require.NoError(t, s.Release(t.Context(), bs, all), "what is not owned is left alone")
}

func TestTakeRefusesWhatItsViewForbids(t *testing.T) {
	s, k := openMemory(t)
	tp := createTopic(t, s, "orders", 1)
	p := topic.Partition{Topic: tp.ID}
	early := s.Catalog().Partition(p)
	one := register(t, s, 1)
	two := register(t, open(t, k), 2)
	eventually(t, s, "the second broker", func(c *metastore.Catalog) bool { _, ok := c.Broker(2); return ok })

	_, err := s.Take(t.Context(), one, []metastore.Take{{View: early}})
	require.ErrorIs(t, err, metastore.ErrInvalid, "older than the session")
	take(t, s, one, p)
	require.NoError(t, s.Commit(t.Context(), one, segment(one, 1, span(p, 0, 10))))
	_, err = s.Take(t.Context(), two, []metastore.Take{{View: s.Catalog().Partition(p), First: 10}})
	require.ErrorIs(t, err, metastore.ErrInvalid, "its owner lives")
	_, err = s.Take(t.Context(), one, []metastore.Take{{View: s.Catalog().Partition(p), First: 9}})
	require.ErrorIs(t, err, metastore.ErrInvalid, "committed offsets are not given again")

	again, err := s.Take(t.Context(), one, []metastore.Take{{View: s.Catalog().Partition(p), First: 20}})
	require.NoError(t, err, "an owner may begin a new epoch")
	require.Equal(t, metastore.Epoch(1), again[p].Epoch)
}

func TestTakersOfOneViewHaveOneWinner(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	tp := createTopic(t, s, "orders", 3)
	one, two := register(t, s, 1), register(t, other, 2)
	require.NoError(t, s.Catalog().WaitRevision(t.Context(), int64(two.ID())))
	var takes []metastore.Take
	for i := range int32(3) {
		takes = append(takes, metastore.Take{View: s.Catalog().Partition(topic.Partition{Topic: tp.ID, Index: i})})
	}
	first, err := s.Take(t.Context(), one, takes[:2])
	require.NoError(t, err)
	require.Len(t, first, 2)
	second, err := other.Take(t.Context(), two, takes)
	require.NoError(t, err)
	require.Len(t, second, 1, "the two that are gone do not keep it from the third")
	require.Contains(t, second, takes[2].View.Partition)
}

func TestDeletedTopicIsNotTaken(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	gone, stays := createTopic(t, s, "gone", 1), createTopic(t, s, "stays", 1)
	views := []metastore.Take{
		{View: s.Catalog().Partition(topic.Partition{Topic: gone.ID})},
		{View: s.Catalog().Partition(topic.Partition{Topic: stays.ID})},
	}
	require.NoError(t, s.DeleteTopic(t.Context(), "gone"))
	taken, err := s.Take(t.Context(), bs, views)
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Zero(t, s.Catalog().Partition(views[0].View.Partition).Owner)
}

func TestFencedSessionTakesAndReleasesNothing(t *testing.T) {
	s, k := openMemory(t)
	tp := createTopic(t, s, "orders", 2)
	p, q := topic.Partition{Topic: tp.ID}, topic.Partition{Topic: tp.ID, Index: 1}
	old := register(t, s, 1)
	take(t, s, old, p)
	view := s.Catalog().Partition(q)
	young := register(t, open(t, k), 1)

	_, err := s.Take(t.Context(), old, []metastore.Take{{View: view}})
	require.ErrorIs(t, err, metastore.ErrFenced)
	err = s.Release(t.Context(), old, []topic.Partition{p})
	require.ErrorIs(t, err, metastore.ErrFenced)
	require.NoError(t, s.Catalog().WaitRevision(t.Context(), int64(young.ID())))
	require.Equal(t, old.ID(), s.Catalog().Partition(p).Owner.Session)
	require.False(t, s.Catalog().Partition(p).OwnerAlive)
}

// TestEpochEndsAreThoseOfAllTakes compares the stored starts, of which those
// that are cut off are left out, with the whole list.
func TestEpochEndsAreThoseOfAllTakes(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	rnd := rand.New(rand.NewPCG(1, 2))
	var all metastore.Owner // Starts only
	for e := range metastore.Epoch(200) {
		first := rnd.Int64N(50)
		taken, err := s.Take(t.Context(), bs, []metastore.Take{{View: s.Catalog().Partition(p), First: first}})
		require.NoError(t, err)
		all.Starts = append(all.Starts, metastore.EpochStart{Epoch: e, First: first})
		for old := range e + 1 {
			want, wantEnded := all.EpochEnd(old)
			got, gotEnded := taken[p].EpochEnd(old)
			require.Equal(t, want, got)
			require.Equal(t, wantEnded, gotEnded)
		}
		require.Less(t, len(taken[p].Starts), 51)
	}
}

// TestStartsOfDeletedOffsetsAreLetGo moves a partition a thousand times, with
// records in each epoch, while retention follows.
func TestStartsOfDeletedOffsetsAreLetGo(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	const moves, kept = 1000, 20
	var all metastore.Owner
	for e := range int64(moves) {
		taken, err := s.Take(t.Context(), bs, []metastore.Take{{View: s.Catalog().Partition(p), First: 10 * e}})
		require.NoError(t, err)
		require.Less(t, len(taken[p].Starts), 70)
		all.Starts = append(all.Starts, metastore.EpochStart{Epoch: metastore.Epoch(e), First: 10 * e})
		if e >= kept {
			start := 10 * (e - kept)
			_, err = s.SetLogStart(t.Context(), p, start)
			require.NoError(t, err)
			for old := metastore.Epoch(e) - kept; old < metastore.Epoch(e); old++ {
				want, _ := all.EpochEnd(old)
				got, ended := taken[p].EpochEnd(old)
				require.True(t, ended)
				require.Equal(t, want, got)
			}
			end, ended := taken[p].EpochEnd(0)
			require.True(t, ended)
			require.LessOrEqual(t, end, start+10)
		}
	}
}

func TestAnOwnerKnowsWhetherAllThatItAcknowledgedIsInTheBucket(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	created := createTopic(t, s, "orders", 1)
	p := topic.Partition{Topic: created.ID}
	kept := func() bool { return s.Catalog().Partition(p).AckedInBucket() }
	set := func(key, value string) {
		t.Helper()
		_, err := s.UpdateTopic(t.Context(), "orders", func(t *metastore.Topic) error {
			t.Config[key] = value
			return nil
		})
		require.NoError(t, err)
	}
	under := func(object, recovered bool) {
		t.Helper()
		view := s.Catalog().Partition(p)
		_, err := s.Take(t.Context(), bs, []metastore.Take{{View: view, First: view.Next(), Recovered: recovered, Object: object}})
		require.NoError(t, err)
	}
	again := func(recovered bool) { t.Helper(); under(true, recovered) }
	under(false, false)
	require.False(t, kept(), "the broker's default is wal")
	again(true)
	require.False(t, kept(), "it is object now, but what it brings was acknowledged before")
	again(false)
	require.True(t, kept())
	set("retention.ms", "1")
	require.True(t, kept(), "another setting does not matter")
	set("durability", "object")
	require.False(t, kept(), "it was altered while owned")
	set("durability", "wal")
	require.False(t, kept(), "there and back again")
	again(true)
	require.False(t, kept(), "the new owner brings what was acknowledged before")
	again(false)
	require.True(t, kept())
	again(true)
	require.True(t, kept(), "what it brings was acknowledged under the same")
}

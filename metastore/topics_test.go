package metastore_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

func TestTopicNameHasOneWinner(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	var winners atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := []*metastore.Store{s, other}[i%2].CreateTopic(t.Context(), metastore.Topic{Name: "orders", Partitions: 1})
			switch {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, metastore.ErrTopicExists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, winners.Load())
}

func TestTopicIsKnownByNameAndID(t *testing.T) {
	s, k := openMemory(t)
	created := createTopic(t, s, "orders", 3)
	createTopic(t, s, "alerts", 1)
	for _, c := range []*metastore.Catalog{s.Catalog(), open(t, k).Catalog()} {
		byName, ok := c.Topic("orders")
		require.True(t, ok)
		byID, ok := c.TopicByID(created.ID)
		require.True(t, ok)
		require.Equal(t, byName, byID)
		require.Equal(t, created, *byName)
		require.Equal(t, "alerts", c.Topics()[0].Name)
		require.NotNil(t, c.Partition(topic.Partition{Topic: created.ID, Index: 2}).Topic)
		require.Nil(t, c.Partition(topic.Partition{Topic: created.ID, Index: 3}).Topic, "it has three partitions")
	}
}

func TestCreateTopicRefusesWhatMakesNoSense(t *testing.T) {
	s, _ := openMemory(t)
	_, err := s.CreateTopic(t.Context(), metastore.Topic{Name: "a/b", Partitions: 1})
	require.ErrorIs(t, err, topic.ErrInvalidName)
	for _, n := range []int32{0, -1, metastore.PartitionsMax + 1} {
		_, err = s.CreateTopic(t.Context(), metastore.Topic{Name: "a", Partitions: n})
		require.ErrorIs(t, err, metastore.ErrInvalid)
	}
}

// A creation that was sent twice because an answer was lost may still arrive
// when the topic has been deleted.
func TestALateCreationDoesNotBringADeletedTopicBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		for range 2 { // the first with no deletion before, the second after one
			use("txn /topics/ late=1h nth=1")
			created := createTopic(t, s, "orders", 1)
			use("")
			require.NoError(t, s.DeleteTopicID(t.Context(), created.ID))
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			require.Empty(t, s.Catalog().Topics())
		}
	})
}

func TestDeletionsByOthersDoNotKeepTopicsFromBeingCreated(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			name := fmt.Sprint("t", i)
			store := []*metastore.Store{s, other}[i%2]
			for range 5 {
				created, err := store.CreateTopic(t.Context(), metastore.Topic{Name: name, Partitions: 1})
				if err == nil {
					err = store.DeleteTopicID(t.Context(), created.ID)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Empty(t, open(t, k).Catalog().Topics())
}

func TestUpdateTopicLosesNoUpdate(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	createTopic(t, s, "orders", 1)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := []*metastore.Store{s, other}[i%2].UpdateTopic(t.Context(), "orders", func(tp *metastore.Topic) error {
				tp.Config[fmt.Sprint(i)] = "x"
				tp.Partitions++
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	updated, err := s.UpdateTopic(t.Context(), "orders", func(*metastore.Topic) error { return nil })
	require.NoError(t, err)
	require.Len(t, updated.Config, 20)
	require.EqualValues(t, 21, updated.Partitions)
	shown, _ := s.Catalog().Topic("orders")
	require.Equal(t, updated, *shown, "a change that changes nothing is not written")
}

func TestUpdateTopicKeepsWhatMustStay(t *testing.T) {
	s, _ := openMemory(t)
	createTopic(t, s, "orders", 2)
	own := errors.New("not today")
	for name, c := range map[string]struct {
		change func(*metastore.Topic) error
		want   error
	}{
		"fewer partitions": {func(tp *metastore.Topic) error { tp.Partitions--; return nil }, metastore.ErrInvalid},
		"another id":       {func(tp *metastore.Topic) error { tp.ID = topic.NewID(); return nil }, metastore.ErrInvalid},
		"another name":     {func(tp *metastore.Topic) error { tp.Name = "b"; return nil }, metastore.ErrInvalid},
		"its own error":    {func(*metastore.Topic) error { return own }, own},
	} {
		_, err := s.UpdateTopic(t.Context(), "orders", c.change)
		require.ErrorIs(t, err, c.want, name)
	}
	_, err := s.UpdateTopic(t.Context(), "nothing", func(*metastore.Topic) error { return nil })
	require.ErrorIs(t, err, metastore.ErrTopicUnknown)
}

func TestDeletedTopicLeavesNothingBehind(t *testing.T) {
	s, k := openMemory(t)
	bs := register(t, s, 1)
	const n = 120 // more than one transaction deletes
	old := createTopic(t, s, "orders", n)
	var takes []metastore.Take
	for i := range int32(n) {
		p := topic.Partition{Topic: old.ID, Index: i}
		takes = append(takes, metastore.Take{View: s.Catalog().Partition(p)})
		_, err := s.SetLogStart(t.Context(), p, 5)
		require.NoError(t, err)
		takes[i].View = s.Catalog().Partition(p)
		takes[i].First = 5
	}
	_, err := s.Take(t.Context(), bs, takes)
	require.NoError(t, err)
	p := takes[0].View.Partition
	require.NoError(t, s.Commit(t.Context(), bs, segment(bs, 1, span(p, 5, 9))))
	require.NoError(t, s.CommitOffsets(t.Context(), hold(t, s, bs, "g"), "g", map[topic.Partition]metastore.OffsetCommit{p: {Offset: 6}}))

	require.NoError(t, s.DeleteTopic(t.Context(), "orders"))
	require.ErrorIs(t, s.DeleteTopic(t.Context(), "orders"), metastore.ErrTopicUnknown)
	require.ErrorIs(t, s.DeleteTopicID(t.Context(), old.ID), metastore.ErrTopicUnknown)
	view := s.Catalog().Partition(p)
	require.Nil(t, view.Topic)
	require.Zero(t, view.Owner)
	require.Zero(t, view.Manifest)
	require.Len(t, view.Ranges, 1, "segments are the compactor's to drop")

	_, err = s.SetLogStart(t.Context(), p, 6)
	require.ErrorIs(t, err, metastore.ErrTopicUnknown)
	require.NoError(t, s.SweepTopics(t.Context()))
	offsets, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Empty(t, offsets)
	for _, dir := range []string{"/chronik/test/topics/", "/chronik/test/topic-ids/", "/chronik/test/owners/", "/chronik/test/manifests/", "/chronik-groups/test/offsets/"} {
		left, _, err := k.Range(t.Context(), dir)
		require.NoError(t, err)
		require.Empty(t, left, dir)
	}

	young := createTopic(t, s, "orders", 1)
	require.NotEqual(t, old.ID, young.ID)
	require.Zero(t, s.Catalog().Partition(topic.Partition{Topic: young.ID}).Next())
}

func TestSweepTopicsLeavesTheLivingAlone(t *testing.T) {
	s, _ := openMemory(t)
	bs := register(t, s, 1)
	p := topic.Partition{Topic: createTopic(t, s, "orders", 1).ID}
	owner := take(t, s, bs, p)
	require.NoError(t, s.CommitOffsets(t.Context(), hold(t, s, bs, "g"), "g", map[topic.Partition]metastore.OffsetCommit{p: {Offset: 6}}))
	require.NoError(t, s.SweepTopics(t.Context()))
	require.Equal(t, owner, s.Catalog().Partition(p).Owner)
	offsets, err := s.FetchOffsets(t.Context(), "g")
	require.NoError(t, err)
	require.Len(t, offsets, 1)
}

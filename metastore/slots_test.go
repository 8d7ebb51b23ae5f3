package metastore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

func TestASlotHasOneOwnerAtATime(t *testing.T) {
	s, k := openMemory(t)
	other := open(t, k)
	a, b := register(t, s, 1), register(t, other, 2)
	eventually(t, s, "both brokers", func(c *metastore.Catalog) bool { return len(c.Brokers()) == 2 })
	unowned, alive := s.Catalog().Slot(3)
	require.False(t, alive)
	require.Zero(t, unowned)

	mine, err := s.TakeSlots(t.Context(), a, map[int]metastore.Slot{3: unowned, 4: {}})
	require.NoError(t, err)
	require.Len(t, mine, 2)
	require.EqualValues(t, 1, mine[3].Epoch())
	eventually(t, other, "the slot is owned", func(c *metastore.Catalog) bool { _, alive := c.Slot(3); return alive })
	seen, _ := other.Catalog().Slot(3)
	require.Equal(t, mine[3].Revision(), seen.ModRevision)
	_, err = other.TakeSlots(t.Context(), b, map[int]metastore.Slot{3: seen})
	require.ErrorIs(t, err, metastore.ErrInvalid, "its owner lives")

	// Who has not seen the owner does not become one, but of the others.
	theirs, err := other.TakeSlots(t.Context(), b, map[int]metastore.Slot{3: unowned, 5: {}})
	require.NoError(t, err)
	require.NotContains(t, theirs, 3)
	require.Contains(t, theirs, 5)

	require.NoError(t, s.ReleaseSlots(t.Context(), a, []int{3, 4, 5}))
	slot, alive := s.Catalog().Slot(3)
	require.False(t, alive)
	require.Equal(t, metastore.NoBroker, slot.Broker)
	slot, alive = s.Catalog().Slot(5)
	require.True(t, alive)
	require.EqualValues(t, 2, slot.Broker, "what is another's is not released")
	eventually(t, other, "the release", func(c *metastore.Catalog) bool { _, alive := c.Slot(3); return !alive })
	require.EqualValues(t, 2, hold(t, other, b, groupOf(3)).Epoch())

	// The slots of a session that is over are there to be taken.
	require.NoError(t, b.Close(t.Context()))
	eventually(t, s, "the broker is gone", func(c *metastore.Catalog) bool { return len(c.Brokers()) == 1 })
	require.EqualValues(t, 3, hold(t, s, a, groupOf(3)).Epoch())
	_, err = other.TakeSlots(t.Context(), b, map[int]metastore.Slot{6: {}})
	require.ErrorIs(t, err, metastore.ErrFenced)
	reopened, _ := open(t, k).Catalog().Slot(3)
	require.EqualValues(t, 3, reopened.Epoch, "as others load it")
}

// groupOf is the name of a group in a slot.
func groupOf(slot int) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("g", i); metastore.SlotOf(name) == slot {
			return name
		}
	}
}

func TestGroupsAreSpreadOverAllSlotsAndStayThere(t *testing.T) {
	var groups [metastore.Slots]int
	for i := range 64 * metastore.Slots {
		groups[metastore.SlotOf(fmt.Sprint("consumer-", i))]++
	}
	for n, count := range groups {
		require.InDelta(t, 64, count, 40, "slot %d", n)
	}
	// The slot is part of keys at rest.
	require.Equal(t, []int{25, 10, 50, 41}, []int{metastore.SlotOf(""), metastore.SlotOf("g"), metastore.SlotOf("orders"), metastore.SlotOf("ä/ö")})
}

// A release whose outcome is not known may still come: who goes on has taken
// again, with a new epoch, and the release comes to nothing.
func TestALateReleaseOfASlotDoesNotUndoATake(t *testing.T) { // [doubted-release-retakes]
	synctest.Test(t, func(t *testing.T) {
		s, use := flaky(t, newMemory(t))
		bs := register(t, s, 1)
		first := hold(t, s, bs, "g")
		use("txn /slots/ late=30s p=1")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.ErrorIs(t, s.ReleaseSlots(ctx, bs, []int{first.Slot()}), kv.ErrUnknownOutcome)
		use("")
		again := hold(t, s, bs, "g")
		require.EqualValues(t, 2, again.Epoch())
		time.Sleep(time.Minute) // virtual
		synctest.Wait()
		slot, alive := s.Catalog().Slot(first.Slot())
		require.True(t, alive)
		require.Equal(t, again.Revision(), slot.ModRevision)
		require.ErrorIs(t, s.CommitOffsets(t.Context(), first, "g", offsets{{}: {Offset: 1}}), metastore.ErrSlotLost)
		require.NoError(t, s.CommitOffsets(t.Context(), again, "g", offsets{{}: {Offset: 1}}))
		require.NoError(t, bs.Close(t.Context()))
	})
}

// without drops from transactions those conditions that a bug would forget.
type without struct {
	kv.Store
	dropped func(kv.Compare) bool
}

func (w without) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	var kept []kv.Compare
	for _, c := range txn.If {
		if !w.dropped(c) {
			kept = append(kept, c)
		}
	}
	txn.If = kept
	return w.Store.Txn(ctx, txn)
}

// An acknowledged offset stays when a try of an older commit comes late: of the
// same coordinator because the block's revision is compared, of one before it
// because the slot's is. Without the condition it goes back.
func TestAnAcknowledgedOffsetDoesNotGoBack(t *testing.T) { // [key-compare] [slot-compare]
	keyCompare := func(c kv.Compare) bool { return strings.HasPrefix(c.Key, "/chronik-groups/") }
	ownerCompare := func(c kv.Compare) bool { return strings.Contains(c.Key, "/slots/") }
	for _, c := range []struct {
		name    string
		dropped func(kv.Compare) bool
		moves   bool // another broker coordinates before the late try comes
		left    int64
	}{
		{"under both compares", func(kv.Compare) bool { return false }, false, 7},
		{"under both compares, moved", func(kv.Compare) bool { return false }, true, 7},
		{"without key-compare", keyCompare, false, 5},
		{"without key-compare, moved", keyCompare, true, 7},
		{"without any", func(c kv.Compare) bool { return keyCompare(c) || ownerCompare(c) }, true, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newMemory(t)
				s, use := flaky(t, without{k, c.dropped})
				p := topic.Partition{Topic: topic.NewID()}
				session := register(t, s, 1)
				g := hold(t, s, session, "g")
				require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{p: {Offset: 3}}))
				use("txn /offsets/ late=30s nth=1")
				require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{p: {Offset: 5}}), "the second try is applied")
				use("")
				if c.moves {
					require.NoError(t, session.Close(t.Context()))
					s = open(t, k)
					g = hold(t, s, register(t, s, 2), "g")
				}
				require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{p: {Offset: 7}}))
				time.Sleep(time.Minute) // virtual: the first try comes
				got, err := s.FetchOffsets(t.Context(), "g")
				require.NoError(t, err)
				require.Equal(t, c.left, got[p].Offset)
			})
		})
	}
}

// The first commit of a block is put where there is nothing, which holds again
// once the block is deleted: a lost try of it must not bring the offsets back.
func TestALateTwinBringsNoDeletedOffsetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newMemory(t)
		s, use := flaky(t, k)
		bs := register(t, s, 1)
		g := hold(t, s, bs, "g")
		p := topic.Partition{Topic: createTopic(t, s, "t", 1).ID}
		use("txn /offsets/ late=30s nth=1")
		require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{p: {Offset: 5}}))
		use("")
		require.NoError(t, s.DeleteGroupOffsets(t.Context(), g, "g"))
		check := func(keys int, why string) {
			t.Helper()
			got, err := s.FetchOffsets(t.Context(), "g")
			require.NoError(t, err)
			require.Empty(t, got)
			listed, err := s.OffsetGroups(t.Context(), g.Slot())
			require.NoError(t, err)
			require.Empty(t, listed)
			left, _, err := k.Range(t.Context(), "/chronik-groups/")
			require.NoError(t, err)
			require.Len(t, left, keys, why)
		}
		check(1, "an empty block stays")
		time.Sleep(time.Minute) // virtual: the first try comes
		require.NoError(t, s.SweepOffsets(t.Context(), g))
		check(1, "as long as the slot is owned as it was")
		require.NoError(t, s.CommitOffsets(t.Context(), g, "g", offsets{p: {Offset: 6}}))
		require.NoError(t, s.DeleteGroupOffsets(t.Context(), g, "g", p))
		check(1, "again")
		require.NoError(t, s.ReleaseSlots(t.Context(), bs, []int{g.Slot()}))
		again := hold(t, s, bs, "g")
		require.NoError(t, s.SweepOffsets(t.Context(), again))
		check(0, "of another ownership nothing comes any more")
		require.NoError(t, bs.Close(t.Context()))
	})
}

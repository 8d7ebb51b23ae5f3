package metastore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

// openGroups returns a store and, with a session of its own, the slot of a group,
// which it takes from whoever has it.
func openGroups(t testing.TB, k kv.Store, id BrokerID, group string) (*Store, *HeldSlot) {
	s, err := Open(t.Context(), k, Options{Cluster: "test", Seed: uint64(id) + 1})
	require.NoError(t, err)
	bs, err := s.Register(t.Context(), Broker{ID: id}, time.Hour)
	require.NoError(t, err)
	n := SlotOf(group)
	slot, _ := s.catalog.Slot(n)
	slot.Session = 0
	held, err := s.TakeSlots(t.Context(), bs, map[int]Slot{n: slot})
	require.NoError(t, err)
	return s, held[n]
}

func sameState(t *testing.T, want, got GroupState, msg string) {
	t.Helper()
	require.Equal(t, string(want.Head), string(got.Head), msg)
	if len(want.Head) > 0 {
		require.True(t, maps.EqualFunc(want.Rows, got.Rows, bytes.Equal), "%s: %d rows, wanted %d", msg, len(got.Rows), len(want.Rows))
	}
}

// A group's state, of any size, is after every crash what was acknowledged last,
// or what was being written; whole, and never a mix.
func TestAGroupIsWholeAfterEveryCrash(t *testing.T) {
	var struck int64
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			k := memory.New()
			defer k.Close()
			var acked GroupState
			var doubtful []GroupState // written after it, outcome not known
			for life := range 15 {
				flaky := faults.New(k, faults.Plan{})
				s, bs := openGroups(t, flaky, 1, "g/ü")
				r, err := s.LoadGroup(t.Context(), bs, "g/ü")
				require.NoError(t, err)
				found := r.State()
				at := slices.IndexFunc(append(doubtful, acked), func(state GroupState) bool {
					return bytes.Equal(state.Head, found.Head)
				})
				require.GreaterOrEqual(t, at, 0, "seed %d, life %d: neither what was acknowledged nor what came after", seed, life)
				sameState(t, append(doubtful, acked)[at], found, fmt.Sprintf("seed %d, life %d", seed, life))
				acked, doubtful = found, nil
				plan, err := faults.ParsePlan("txn * fail-after p=0.15; txn * lose p=0.1; txn * fail-before p=0.1; txn * late=20s p=0.05")
				require.NoError(t, err)
				plan.Seed = rnd.Uint64()
				flaky.Use(plan)
				ctx, crash := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(120))*time.Second)
				for n := 0; ; n++ {
					next := GroupState{Head: fmt.Appendf(nil, "%d.%d", life, n), Rows: maps.Clone(acked.Rows)}
					change(rnd, &next)
					if err = r.Write(ctx, next); err != nil {
						doubtful = append(doubtful, next)
						break
					}
					acked = next
					time.Sleep(time.Duration(rnd.IntN(5000)) * time.Millisecond)
					sameState(t, next, r.State(), "as written")
				}
				require.True(t, ctx.Err() != nil, "only the crash ends it: %v", err)
				crash()
				for _, n := range flaky.Struck() {
					struck += n
				}
				flaky.Use(faults.Plan{})
				require.NoError(t, bs.session.Close(t.Context()))
				s.Close()
				// What is late comes before or after the next life begins.
				if rnd.IntN(2) == 0 {
					flaky.Settle()
				} else {
					defer flaky.Settle()
				}
			}
		})
	}
	require.Positive(t, struck)
}

// change makes a random change: few rows, many rows, large rows, none, or the end.
func change(rnd *rand.Rand, s *GroupState) {
	if s.Rows == nil {
		s.Rows = make(map[string][]byte)
	}
	put := func(size int) {
		s.Rows[fmt.Sprint("member-", rnd.IntN(3000))] = []byte(strings.Repeat(fmt.Sprint(rnd.IntN(10)), size))
	}
	switch rnd.IntN(8) {
	case 0:
		for range rnd.IntN(3000) {
			put(rnd.IntN(600))
		}
	case 1:
		put(rnd.IntN(300_000))
	case 2:
		clear(s.Rows)
	case 3:
		*s = GroupState{}
	default:
		for range 1 + rnd.IntN(3) {
			put(rnd.IntN(1000))
		}
	}
}

func TestAGroupIsWrittenByOneAtATime(t *testing.T) {
	k := memory.New()
	defer k.Close()
	s, held := openGroups(t, k, 1, "g")
	defer s.Close()
	ours, err := s.LoadGroup(t.Context(), held, "g")
	require.NoError(t, err)
	theirs, err := s.LoadGroup(t.Context(), held, "g")
	require.NoError(t, err)
	require.NoError(t, ours.Write(t.Context(), GroupState{Head: []byte("1")}))
	require.ErrorIs(t, theirs.Write(t.Context(), GroupState{Head: []byte("2")}), ErrConflict)
	theirs, err = s.LoadGroup(t.Context(), held, "g")
	require.NoError(t, err)
	require.Equal(t, "1", string(theirs.State().Head))
	require.NoError(t, theirs.Write(t.Context(), GroupState{Head: []byte("2")}))
	require.ErrorIs(t, ours.Write(t.Context(), GroupState{}), ErrConflict)

	// Another ownership of the slot fences the old one.
	again, next := openGroups(t, k, 2, "g")
	defer again.Close()
	require.ErrorIs(t, theirs.Write(t.Context(), GroupState{Head: []byte("3")}), ErrSlotLost)
	heads, err := again.GroupHeads(t.Context(), SlotOf("g"))
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"g": []byte("2")}, heads)
	last, err := again.LoadGroup(t.Context(), next, "g")
	require.NoError(t, err)
	require.NoError(t, last.Write(t.Context(), GroupState{}))
	left, _, err := k.Range(t.Context(), "/chronik-groups/")
	require.NoError(t, err)
	require.Empty(t, left, "a deleted group leaves nothing")
	_, err = again.LoadGroup(t.Context(), next, "of another slot")
	require.ErrorIs(t, err, ErrInvalid)
}

// The put that makes a group may come again after the group was deleted, if its
// answer was lost: the head stays as long as the ownership of the slot that sent it.
func TestALateTwinBringsNoDeletedGroupBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := memory.New()
		defer k.Close()
		flaky := faults.New(k, faults.Plan{})
		s, bs := openGroups(t, flaky, 1, "g")
		defer s.Close()
		plan, err := faults.ParsePlan("txn * late=1m nth=1")
		require.NoError(t, err)
		r, err := s.LoadGroup(t.Context(), bs, "g")
		require.NoError(t, err)
		flaky.Use(plan)
		require.NoError(t, r.Write(t.Context(), GroupState{Head: []byte("old")}))
		require.Equal(t, []int64{1}, flaky.Struck())
		require.NoError(t, r.Write(t.Context(), GroupState{}))
		flaky.Settle()
		heads, err := s.GroupHeads(t.Context(), SlotOf("g"))
		require.NoError(t, err)
		require.Empty(t, heads)
		require.NoError(t, s.SweepGroups(t.Context(), bs))
		left, _, err := k.Range(t.Context(), "/chronik-groups/")
		require.NoError(t, err)
		require.Len(t, left, 1, "the slot is still owned")
		require.NoError(t, bs.session.Close(t.Context()))
		again, bs := openGroups(t, k, 1, "g")
		defer again.Close()
		require.NoError(t, again.SweepGroups(t.Context(), bs))
		left, _, err = k.Range(t.Context(), "/chronik-groups/")
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// A group of 10,000 members is stored, and a change of one writes little.
func TestAChangeOfALargeGroupWritesLittle(t *testing.T) {
	k := &counting{Store: memory.New()}
	defer k.Close()
	s, bs := openGroups(t, k, 1, "g")
	defer s.Close()
	r, err := s.LoadGroup(t.Context(), bs, "g")
	require.NoError(t, err)
	state := GroupState{Head: []byte("h"), Rows: make(map[string][]byte)}
	for i := range 10_000 {
		state.Rows[fmt.Sprintf("consumer-%d-5cc1a2a4-8ee1-4d1b-9f2a", i)] = bytes.Repeat([]byte{byte(i)}, 300)
	}
	require.NoError(t, r.Write(t.Context(), state))
	state.Rows = maps.Clone(state.Rows)
	state.Rows["consumer-5-5cc1a2a4-8ee1-4d1b-9f2a"] = []byte("another")
	k.bytes, k.txns = 0, 0
	require.NoError(t, r.Write(t.Context(), state))
	require.Equal(t, 1, k.txns)
	require.Less(t, k.bytes, 32<<10)
	k.txns = 0
	require.NoError(t, r.Write(t.Context(), state))
	require.Zero(t, k.txns, "nothing has changed")
	require.NoError(t, bs.session.Close(t.Context()))
	again, session := openGroups(t, k, 1, "g")
	defer again.Close()
	r, err = again.LoadGroup(t.Context(), session, "g")
	require.NoError(t, err)
	sameState(t, state, r.State(), "read back")
}

type counting struct {
	kv.Store
	txns, bytes int
}

func (c *counting) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	c.txns++
	c.bytes += txn.Bytes()
	return c.Store.Txn(ctx, txn)
}

func TestADamagedGroupIsNamed(t *testing.T) {
	k := memory.New()
	defer k.Close()
	s, bs := openGroups(t, k, 1, "g")
	defer s.Close()
	r, err := s.LoadGroup(t.Context(), bs, "g")
	require.NoError(t, err)
	require.NoError(t, r.Write(t.Context(), GroupState{Head: []byte("h"), Rows: map[string][]byte{"m": []byte("row"), "n": []byte("row")}}))
	entries, _, err := k.Range(t.Context(), "/chronik-groups/")
	require.NoError(t, err)
	require.Len(t, entries, 2)
	for _, e := range entries {
		for i := range e.Value {
			damaged := bytes.Clone(e.Value)
			damaged[i] ^= 4
			_, err := k.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put(e.Key, damaged)}})
			require.NoError(t, err)
			_, err = s.LoadGroup(t.Context(), bs, "g")
			require.ErrorIs(t, err, format.ErrCorrupt)
			require.ErrorContains(t, err, e.Key)
		}
		_, err = k.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Delete(e.Key)}})
		require.NoError(t, err)
		if strings.Contains(e.Key, "chunks") {
			_, err = s.LoadGroup(t.Context(), bs, "g")
			require.ErrorIs(t, err, format.ErrCorrupt, "a chunk is missing")
		}
		_, err = k.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put(e.Key, e.Value)}})
		require.NoError(t, err)
	}
}

// golden is one group whose values are kept under testdata.
func goldenGroup() (head []byte, chunks [][]byte) {
	pieces := cutRows(map[string][]byte{"consumer-1": []byte("row one"), "consumer-2": {}, "long": bytes.Repeat([]byte("x"), groupPieceBytes+3)})
	head = encodeGroupHead(groupHead{copy: 3, writing: 0, chunks: 2, pieces: len(pieces), twin: 17, stamp: "0123456789abcdef", data: []byte("of the coordinator")})
	return head, encodeChunks(pieces, 2)
}

func TestGroupValuesAreThoseOfVersion1(t *testing.T) {
	head, chunks := goldenGroup()
	for i, value := range append([][]byte{head}, chunks...) {
		path := filepath.Join("testdata", fmt.Sprintf("group-v1-%d.bin", i))
		want, err := os.ReadFile(path)
		if *update && os.IsNotExist(err) {
			want, err = value, os.WriteFile(path, value, 0o644)
		}
		require.NoError(t, err)
		require.Equal(t, want, value, path)
	}
}

// Whatever the bytes, they are read or refused as damage or as of another
// version; what is read is written the same.
func FuzzGroupValue(f *testing.F) {
	head, chunks := goldenGroup()
	for _, seed := range append([][]byte{head}, chunks...) {
		f.Add(seed[:len(seed)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value := appendCRC(bytes.Clone(body))
		refused := func(err error) bool {
			require.True(t, err == nil || errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrVersion), "%v", err)
			return err != nil
		}
		if h, err := decodeGroupHead("k", value); !refused(err) {
			again, err := decodeGroupHead("k", encodeGroupHead(h))
			require.NoError(t, err)
			require.Equal(t, h, again)
		}
		pieces, err := decodeChunk("k", value)
		if refused(err) {
			return
		}
		rows, err := joinRows("k", pieces, len(pieces))
		if refused(err) {
			return
		}
		for _, p := range cutRows(rows) {
			require.LessOrEqual(t, len(p.data), groupPieceBytes)
		}
	})
}

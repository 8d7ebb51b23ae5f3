package fusion_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/fusion"
)

func key(partition int32, offset int64) fusion.Key {
	return fusion.Key{Topic: "t", Partition: partition, Offset: offset}
}

func list(weight float64, scores ...any) fusion.List {
	l := fusion.List{Weight: weight}
	for i := 0; i < len(scores); i += 2 {
		l.Candidates = append(l.Candidates, fusion.Candidate{Key: key(0, int64(scores[i].(int))), Score: scores[i+1].(float64)})
	}
	return l
}

func offsets(merged []fusion.Merged) (all []int64) {
	for _, m := range merged {
		all = append(all, m.Offset)
	}
	return all
}

func TestReciprocalRankSumsWeightsByRankAndMindsNoScore(t *testing.T) {
	got := fusion.ReciprocalRank(60, []fusion.List{
		list(0.5, 1, 9.0, 2, 8.0, 3, -7.0),
		list(0.5, 3, 0.1, 4, 0.05),
	})
	require.Equal(t, []int64{3, 1, 2, 4}, offsets(got)) // 2 and 4 have rank 2 of one list each
	require.InDelta(t, 0.5/63+0.5/61, got[0].Score, 1e-15)
	require.InDelta(t, 0.5/61, got[1].Score, 1e-15)
	require.Equal(t, []fusion.Place{{Rank: 3, Score: -7}, {Rank: 1, Score: 0.1}}, got[0].Places)
	require.Equal(t, []fusion.Place{{Rank: 1, Score: 9}, {}}, got[1].Places)

	heavy := fusion.ReciprocalRank(60, []fusion.List{list(0.1, 1, 1.0), list(0.9, 2, 1.0)})
	require.Equal(t, []int64{2, 1}, offsets(heavy))
	// Without a constant the first places count for more than being in both lists.
	require.Equal(t, []int64{1, 2, 3}, offsets(fusion.ReciprocalRank(0, []fusion.List{
		list(1, 1, 1.0, 3, 1.0, 4, 1.0, 2, 1.0), list(1, 2, 1.0, 5, 1.0, 6, 1.0, 1, 1.0, 3, 1.0),
	}))[:3])
}

func TestMinMaxBringsScoresOfAnyRangeTogether(t *testing.T) {
	got := fusion.MinMax([]fusion.List{
		list(0.75, 1, 30.0, 2, 20.0, 3, 10.0),
		list(0.25, 3, 0.9, 2, 0.8),
	})
	require.Equal(t, []int64{1, 2, 3}, offsets(got))
	require.InDelta(t, 0.75, got[0].Score, 1e-15)
	require.InDelta(t, 0.75*0.5, got[1].Score, 1e-15)
	require.InDelta(t, 0.25, got[2].Score, 1e-15)

	equal := fusion.MinMax([]fusion.List{list(1, 5, 2.0, 4, 2.0), list(1)})
	require.Equal(t, []int64{4, 5}, offsets(equal))
	require.Equal(t, 1.0, equal[0].Score)
	require.Empty(t, fusion.MinMax(nil))
}

func TestTiesAreInTheOrderOfTheirRecords(t *testing.T) {
	want := []fusion.Key{
		{Topic: "a", Partition: 9, Offset: 9}, {Topic: "b", Partition: 0, Offset: 7}, {Topic: "b", Partition: 1, Offset: 2},
		{Topic: "b", Partition: 1, Offset: 10}, {Topic: "b", Partition: 10, Offset: 0},
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var lists []fusion.List
		for _, i := range random.Perm(len(want)) { // each is the first of a list of its own
			lists = append(lists, fusion.List{Weight: 1, Candidates: []fusion.Candidate{{Key: want[i], Score: 1}}})
		}
		for _, merged := range [][]fusion.Merged{fusion.ReciprocalRank(60, lists), fusion.MinMax(lists)} {
			var got []fusion.Key
			for _, m := range merged {
				got = append(got, m.Key)
			}
			require.Equal(t, want, got)
		}
	}
}

func TestARecordThatAListRepeatsCountsOnce(t *testing.T) {
	for name, fuse := range map[string]func([]fusion.List) []fusion.Merged{
		"rrf": func(l []fusion.List) []fusion.Merged { return fusion.ReciprocalRank(60, l) }, "min-max": fusion.MinMax,
	} {
		once := fuse([]fusion.List{list(1, 1, 3.0, 2, 2.0, 3, 1.0)})
		twice := fuse([]fusion.List{list(1, 1, 3.0, 2, 2.0, 3, 1.0, 1, 1.0)})
		require.Equal(t, once, twice, name)
	}
}

// What is merged has each record of the lists once, whatever they are.
func TestNoRecordIsLostOrInvented(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 100 {
		want := map[fusion.Key]bool{}
		var lists []fusion.List
		for range random.IntN(5) {
			l := fusion.List{Weight: random.Float64()}
			for range random.IntN(50) {
				c := fusion.Candidate{Key: key(random.Int32N(3), random.Int64N(20)), Score: random.NormFloat64()}
				want[c.Key] = true
				l.Candidates = append(l.Candidates, c)
			}
			lists = append(lists, l)
		}
		merged := fusion.MinMax(lists)
		require.Len(t, merged, len(want), fmt.Sprint(round))
		for _, m := range merged {
			require.True(t, want[m.Key])
			require.True(t, slices.ContainsFunc(m.Places, func(p fusion.Place) bool { return p.Rank > 0 }))
		}
	}
}

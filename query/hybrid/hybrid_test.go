package hybrid_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/fusion"
	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/hybrid/hybridtest"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/vector"
)

func world() (*hybridtest.World, *hybrid.Searcher) {
	w := hybridtest.New()
	w.Create("ads", true, true)
	w.Add("ads", 0, "buy a car", "a bicycle in blue", "purchase an automobile", "car", "the newest")
	w.Add("ads", 1, "bought: one vehicle", "buy bread", "a blue automobile", "the newest")
	return w, &hybrid.Searcher{Text: w.TextSide(), Vectors: w}
}

func request(text string, k int) hybrid.Request {
	return hybrid.Request{
		Vector: vector.Request{Topic: "ads", Text: text, K: k, Timeout: time.Minute}, Words: text,
		VectorWeight: 0.5, TextWeight: 0.5, Method: hybrid.RRF, RankConstant: 60, Principal: "ann",
	}
}

func TestBothSidesRankingsBecomeOne(t *testing.T) {
	w, s := world()
	a, err := s.Search(t.Context(), request("buy car", 3))
	require.NoError(t, err)
	require.Len(t, a.Hits, 3)
	first := a.Hits[0]
	require.Equal(t, "buy a car", first.Preview)
	require.Equal(t, 1, first.Text.Rank)
	require.InDelta(t, 0.5/float64(60+first.Vector.Rank)+0.5/61, first.Fused, 1e-12)
	require.EqualValues(t, first.Vector.Score, first.Score)
	require.Equal(t, 3, a.TextHits) // those that have one of the words
	require.Equal(t, 7, a.VectorHits)
	require.Equal(t, 7, a.Total)
	require.EqualValues(t, 7, a.TotalVectors)
	require.Equal(t, 3, w.ReadRecords, "only what is answered is read")
	require.Equal(t, 100, w.Requests[0].K)
	require.True(t, w.Requests[0].Bare)
	require.Equal(t, []search.Options{{Freshness: "latest", Timeout: time.Minute, Principal: "ann"}}, w.Texts)
	require.Empty(t, w.Requests[0].Freshness, "vectors are not waited for")
	// The vector side is one record behind in each partition.
	require.Equal(t, snapshot.PartitionCoverage{To: 4, HighWatermark: 5}, a.Coverage.Partitions[0])
	require.EqualValues(t, 2, a.Coverage.LagRecords)

	_, err = s.Search(t.Context(), request("buy car", 1000))
	require.NoError(t, err)
	require.Equal(t, vector.CandidatesMax, w.Requests[1].K)
}

func TestTheOtherFusionIsOfScores(t *testing.T) {
	_, s := world()
	r := request("blue automobile", 10)
	r.Method, r.VectorWeight, r.TextWeight = hybrid.Weighted, 0.25, 0.75
	a, err := s.Search(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, "a blue automobile", a.Hits[0].Preview)
	require.InDelta(t, 1, a.Hits[0].Fused, 1e-6) // the best on both sides
	for i, h := range a.Hits[1:] {
		require.LessOrEqual(t, h.Fused, a.Hits[i].Fused)
	}
}

func TestASideWithoutWeightIsNotAsked(t *testing.T) {
	w, s := world()
	w.Fail = func(_ context.Context, side string) error {
		if side == "vector" {
			return errors.New("not to be asked")
		}
		return nil
	}
	r := request("buy car", 10)
	r.VectorWeight = 0
	a, err := s.Search(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, a.Hits, 3)
	require.Equal(t, "buy a car", a.Hits[0].Preview)
	require.Equal(t, fusion.Place{}, a.Hits[0].Vector)
	require.Zero(t, a.Coverage.LagRecords)
	require.False(t, a.Partial)
}

func TestFiltersHoldOnBothSides(t *testing.T) {
	_, s := world()
	at := func(offset int64) *int64 { ms := hybridtest.Timestamp(offset); return &ms }
	one, three := int64(1), int64(3)
	for name, f := range map[string]vector.Filter{
		"partition":  {Partitions: []int32{1}},
		"offsets":    {MinOffset: &one, MaxOffset: &three},
		"times":      {MinTimestamp: at(1), MaxTimestamp: at(2)},
		"everything": {Partitions: []int32{0}, MinOffset: &one, MaxTimestamp: at(2)},
		"nothing":    {Partitions: []int32{7}},
	} {
		for _, weights := range [][2]float64{{1, 0}, {0, 1}, {1, 1}} {
			r := request("buy car blue automobile bread", 100)
			r.Vector.Filter, r.VectorWeight, r.TextWeight = f, weights[0], weights[1]
			a, err := s.Search(t.Context(), r)
			require.NoError(t, err, name)
			r.Vector.Filter = vector.Filter{}
			all, err := s.Search(t.Context(), r)
			require.NoError(t, err)
			var want, got []string
			for _, h := range all.Hits {
				if takes(f, h.Hit) {
					want = append(want, fmt.Sprint(h.Partition, "-", h.Offset))
				}
			}
			for _, h := range a.Hits {
				got = append(got, fmt.Sprint(h.Partition, "-", h.Offset))
			}
			require.ElementsMatch(t, want, got, "%s %v", name, weights)
			require.Equal(t, name == "nothing", len(want) == 0, name)
		}
	}
}

func takes(f vector.Filter, h vector.Hit) bool {
	switch {
	case f.Partitions != nil && f.Partitions[0] != h.Partition,
		f.MinOffset != nil && h.Offset < *f.MinOffset, f.MaxOffset != nil && h.Offset > *f.MaxOffset,
		f.MinTimestamp != nil && h.Timestamp < *f.MinTimestamp, f.MaxTimestamp != nil && h.Timestamp > *f.MaxTimestamp:
		return false
	}
	return true
}

func TestASideThatFailsIsAnErrorUnlessHalfAnAnswerWillDo(t *testing.T) {
	broken := errors.New("the provider is away")
	for _, side := range []string{"vector", "text"} {
		w, s := world()
		w.Fail = func(ctx context.Context, asked string) error {
			if asked == side {
				return broken
			}
			return nil
		}
		r := request("buy car", 10)
		_, err := s.Search(t.Context(), r)
		require.ErrorIs(t, err, broken)
		r.AllowPartial = true
		a, err := s.Search(t.Context(), r)
		require.NoError(t, err)
		require.True(t, a.Partial)
		require.Len(t, a.Warnings, 1)
		require.Contains(t, a.Warnings[0], "the "+side+" side failed")
		require.Contains(t, a.Warnings[0], "the provider is away")
		require.NotEmpty(t, a.Hits)
		require.Equal(t, map[string]int{"vector": a.TextHits, "text": a.VectorHits}[side], a.Total)
		require.NotEmpty(t, a.Coverage.Partitions)

		w.Fail = func(context.Context, string) error { return broken }
		_, err = s.Search(t.Context(), r)
		require.ErrorIs(t, err, broken)
	}
}

func TestANodeWithoutTimeForWhatWasHandedOnAnswersNoPart(t *testing.T) {
	w, s := world()
	for _, side := range []string{"vector", "text"} {
		busy := &places.BusyError{Hurried: true}
		w.Fail = func(_ context.Context, asked string) error {
			if asked == side {
				return busy
			}
			return nil
		}
		r := request("buy car", 10)
		r.AllowPartial = true
		_, err := s.Search(t.Context(), r)
		require.ErrorIs(t, err, busy, "who handed it on can answer it whole")
		busy.Hurried = false
		a, err := s.Search(t.Context(), r)
		require.NoError(t, err)
		require.True(t, a.Partial)
	}
}

func TestASideThatFailsEndsTheOtherOne(t *testing.T) {
	w, s := world()
	broken := errors.New("broken")
	w.Fail = func(ctx context.Context, side string) error {
		if side == "text" {
			return broken
		}
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := s.Search(t.Context(), request("car", 10))
	require.ErrorIs(t, err, broken)
}

func TestASideThatIsTooSlowLeavesTimeForTheAnswerWithoutIt(t *testing.T) {
	w, s := world()
	w.Fail = func(ctx context.Context, side string) error {
		if side == "text" {
			return nil
		}
		return context.DeadlineExceeded // as a searcher whose timeout is over
	}
	r := request("car", 10)
	r.AllowPartial = true
	a, err := s.Search(t.Context(), r)
	require.NoError(t, err)
	require.NotEmpty(t, a.Hits)
	require.Less(t, w.Texts[0].Timeout, r.Vector.Timeout)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Search(ctx, r)
	require.Error(t, err, "who has gone is not answered")
}

func TestAnUnknownTopicAndOneWithoutAnIndexAreNamed(t *testing.T) {
	w, s := world()
	w.Create("plain", false, true)
	r := request("car", 10)
	r.Vector.Topic = "plain"
	_, err := s.Search(t.Context(), r)
	var plain *search.NotSearchableError
	require.ErrorAs(t, err, &plain)
	r.Vector.Topic, r.AllowPartial = "gone", true
	_, err = s.Search(t.Context(), r)
	var unknown *vector.UnknownTopicError
	require.ErrorAs(t, err, &unknown)
}

func TestARecordThatIsNotInTheBucketYetIsShownToo(t *testing.T) {
	w, s := world()
	r := request("the newest", 2)
	r.Vector.Values, r.TextWeight = true, 5
	a, err := s.Search(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, a.Hits, 2)
	for _, h := range a.Hits {
		require.Equal(t, "the newest", h.Preview)
		require.Equal(t, "the newest", string(h.Value))
		require.Zero(t, h.Vector.Rank)
	}
	require.Len(t, w.Texts, 2)
}

func TestAPreviewIsTheBeginningOfAText(t *testing.T) {
	require.Equal(t, "", hybrid.Preview(nil))
	require.Equal(t, "ä€", hybrid.Preview([]byte("ä€")))
	require.Equal(t, strings.Repeat("ä", 100), hybrid.Preview([]byte(strings.Repeat("ä", 101))))
	require.Equal(t, "", hybrid.Preview([]byte("a\xff")))
	require.Equal(t, "\uFFFD", hybrid.Preview([]byte("\uFFFD")))
}

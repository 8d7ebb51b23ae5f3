package vector

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// What is aimed at comes back, of shards that are mapped and of those that are
// read by ranges, while small ones become large ones, whatever a filter leaves.
func TestRecallHoldsWhileShardsAreMerged(t *testing.T) {
	const batches, each, asked = 10, 300, 25
	n := newNode(t, 2)
	var all []logged
	for i := range batches {
		for p := range 2 {
			n.say(p, each, i)
		}
	}
	for p := range 2 {
		all = append(all, n.logged(p, 0, batches*each)...)
	}
	measure := func(state string, next int64) {
		for part, filter := range map[string]Filter{
			"all": {}, "half": {MinOffset: pointer(next / 2)}, "1 %": {MinOffset: pointer(int64(1170)), MaxOffset: pointer(int64(1199))},
			"0.01 %": {MinOffset: pointer(int64(777)), MaxOffset: pointer(int64(777)), Partitions: []int32{1}},
		} {
			found, wanted := 0, 0
			for i := range asked {
				text := sentence(i*97 + 31)
				a, err := n.Search(t.Context(), Request{Topic: "logs", Text: text, K: 10, Filter: filter, Bare: true})
				require.NoError(t, err)
				require.GreaterOrEqual(t, a.Recall, vectorindex.DefaultRecall)
				known := a.Coverage.Partitions
				want := truth(all, text, 10, func(r logged) bool {
					return r.offset < known[r.partition].To && (filter.MinOffset == nil || r.offset >= *filter.MinOffset) &&
						(filter.MaxOffset == nil || r.offset <= *filter.MaxOffset) && (filter.Partitions == nil || r.partition == 1)
				})
				wanted += len(want)
				for _, h := range a.Hits {
					if h.Distance <= want[len(want)-1].Distance+1e-5 {
						found++
					}
				}
			}
			got := float64(min(found, wanted)) / float64(max(wanted, 1))
			t.Logf("%s, filter %s: %.4f", state, part, got)
			require.GreaterOrEqual(t, got, vectorindex.DefaultRecall)
		}
	}
	for i := range batches {
		for p := range 2 {
			n.index(p, int64(i+1)*each)
		}
		switch i {
		case 3:
			measure("small shards", 1200)
			n.merge(0)
			measure("one partition is merged", 1200)
		case 6:
			n.merge(1)
			measure("further ones come", 2100)
		}
	}
	for p := range 2 {
		n.merge(p)
	}
	for i := range 3 { // by ranges, until they are hot
		measure(fmt.Sprint("all is merged, ", i), batches*each)
	}
	require.Positive(t, n.config.Shards.Counts().Mapped)
}

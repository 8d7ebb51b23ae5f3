package textsearch

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// whole runs a request with other bounds of memory.
func whole(t *testing.T, s *Searcher, body string, gathered, fetched int64) error {
	t.Helper()
	x, err := s.prepare(t.Context(), parse(t, body))
	require.NoError(t, err)
	x.budget.gatheredMax, x.budget.fetchedMax = gathered, fetched
	found := make([]*partial, len(s.Parts))
	for i := range s.Parts {
		if found[i], err = x.run(t.Context(), i); err != nil {
			return err
		}
	}
	_, err = x.merge(t.Context(), found)
	return err
}

func TestAggregationsKeepToTheirMemory(t *testing.T) {
	var values []string
	for i := range 200 {
		values = append(values, fmt.Sprintf(`{"id":"id-%d","n":%d}`, i, i))
	}
	s := cutting(t, analyzer(t, "standard"), 3, values)
	for _, aggs := range []string{
		`{"a":{"terms":{"field":"id.keyword"}}}`,
		`{"a":{"terms":{"field":"n"}}}`,
		`{"a":{"histogram":{"field":"n","interval":1}}}`,
		`{"a":{"cardinality":{"field":"id.keyword"}}}`,
		`{"a":{"cardinality":{"field":"n"}}}`,
		`{"a":{"terms":{"field":"_partition"},"aggs":{"b":{"percentiles":{"field":"n"}}}}}`,
		`{"a":{"terms":{"field":"n"},"aggs":{"b":{"top_hits":{"size":10}}}}}`,
		`{"a":{"terms":{"field":"n"},"aggs":{"b":{"sum":{"field":"n"}}}}}`,
	} {
		body := `{"size":0,"aggs":` + aggs + `}`
		require.NoError(t, whole(t, s, body, gatheredMax, fetchedMax), aggs)
		err := whole(t, s, body, 4_000, fetchedMax)
		var refused *textquery.Error
		require.ErrorAs(t, err, &refused, aggs)
		require.Equal(t, "too_many_buckets_exception", refused.Type)
	}
}

func TestRecordsOfHitsKeepToTheirMemory(t *testing.T) {
	s := cutting(t, analyzer(t, "standard"), 3, []string{
		strings.Repeat("a", 1000), strings.Repeat("b", 1000), strings.Repeat("c", 1000), strings.Repeat("d", 1000),
	})
	require.NoError(t, whole(t, s, `{"size":3}`, gatheredMax, 3_500))
	require.NoError(t, whole(t, s, `{"size":4,"_source":false}`, gatheredMax, 3_500))
	require.ErrorContains(t, whole(t, s, `{"size":4}`, gatheredMax, 3_500), "ask for fewer at once")
}

// broken is a split with a bug.
type broken struct{ textindex.Split }

func (broken) Lookup(context.Context, textindex.Field, ...[]byte) ([]textindex.Term, error) {
	panic("a bug")
}

// Whoever asks gets the panic, as of a call: the process goes on.
func TestAPanicIsTheCallers(t *testing.T) {
	s := cutting(t, analyzer(t, "standard"), 2, []string{`{"a":"x"}`, `{"a":"x"}`})
	for i := range s.Parts {
		s.Parts[i].Split = broken{s.Parts[i].Split}
	}
	require.Panics(t, func() { _, _ = s.Search(t.Context(), parse(t, `{"query":{"match":{"a":"x"}}}`)) })
}

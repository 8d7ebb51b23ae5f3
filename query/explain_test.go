//go:build !nosql

package query

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
)

func (c *cluster) explain(body string) (e explanation) {
	c.t.Helper()
	status, answer, _ := c.do("POST", "/_sql/explain", body)
	require.Equal(c.t, 200, status, string(answer))
	require.NoError(c.t, json.Unmarshal(answer, &e))
	return e
}

func TestExplainSaysWhichFilesAreReadAndWhyOthersAreNot(t *testing.T) {
	var bucket *counted
	c := newCluster(t, 2, func(config *Config) {
		bucket = &counted{Bucket: config.Bucket}
		config.Bucket = bucket
	})
	c.table = func(o *columnar.Options) { o.RowGroupRows, o.PageBytes, o.BloomColumns = 10, 64, []string{"_key"} }
	produceShapes(t, c, rand.New(rand.NewPCG(1, 1)), 200, 40)
	query := `SELECT city, count(*) AS n FROM orders WHERE offset BETWEEN 45 AND 65 AND key <> 'k1' GROUP BY city`

	e := c.explain(`{"query":"` + query + `"}`)
	require.Equal(t, 8, e.Files.Considered)
	require.Len(t, e.Files.Read, 2)
	require.Len(t, e.Files.Pruned, 6)
	require.Equal(t, []int{0, 1, 2}, e.Files.Read[0].RowGroups)
	require.EqualValues(t, 30, e.Files.Read[0].Rows)
	require.Less(t, e.Files.Read[0].Bytes, e.Files.Read[0].Size)
	require.Equal(t, "_offset >= 45: it is 0 to 39", e.Files.Pruned[0].Why)
	require.Equal(t, "_offset <= 65: it is 80 to 119", e.Files.Pruned[1].Why)
	require.Equal(t, "orders", e.Files.Pruned[1].Topic)
	require.NotNil(t, e.EstimatedRows)
	require.Contains(t, e.Physical, "READ_PARQUET (~")
	require.Contains(t, e.Physical, "Aggregates: count_star()")
	require.Contains(t, e.Logical, "AGGREGATE")
	require.Equal(t, e.Physical, e.Plan)
	require.Equal(t, 6, e.Stats.FilesPruned)
	require.Zero(t, e.Coverage["orders"].LagRecords)
	for _, plan := range []string{e.Plan, e.Logical, e.Physical} {
		require.NotContains(t, plan, c.dir, "local paths are nobody's business")
		require.NotContains(t, plan, "%!")
	}

	// What it says is what the query does, and only the query fetches values.
	before := bucket.bytes.Load()
	a := c.ask(query)
	require.Equal(t, e.Stats, a.Stats)
	require.GreaterOrEqual(t, bucket.bytes.Load()-before, e.Files.Read[0].Bytes+e.Files.Read[1].Bytes)

	e = c.explain(`{"query":"` + query + `","analyze":true,"freshness":"cold","timeout_secs":20}`)
	require.NotEqual(t, e.Physical, e.Plan)
	require.Regexp(t, `HASH_GROUP_BY \(\d+ rows, \d+\.\d+ s\)`, e.Plan)
	require.NotContains(t, e.Plan, c.dir)
	require.Regexp(t, `READ_PARQUET \(\d+ rows, `, e.Plan)

	// Parameters prune as constants do.
	written := c.explain(`{"query":"SELECT city FROM orders_cold WHERE offset < 1","analyze":true}`)
	given := c.explain(`{"query":"SELECT city FROM orders_cold WHERE offset < ?","parameters":[1],"analyze":true}`)
	require.NotEmpty(t, written.Files.Pruned)
	require.Equal(t, written.Files, given.Files)
	require.NotEmpty(t, given.Plan)
	e = c.explain(`{"query":"SELECT count(*) FROM orders_cold WHERE city IS NULL AND offset < 0"}`)
	require.Empty(t, e.Files.Read)
	require.Len(t, e.Files.Pruned, 8)

	for body, want := range map[string][2]string{
		`{"query":"SELEC"}`:                        {"INVALID_QUERY", "ExplainError"},
		`{"query":"SELECT nothing FROM orders"}`:   {"INVALID_QUERY", "ExplainError"},
		`{"query":"EXPLAIN SELECT 1"}`:             {"INVALID_QUERY", "ExplainError"},
		`{"query":"SELECT 1; SELECT 2"}`:           {"INVALID_QUERY", "ExplainError"},
		`{"query":"SELECT 1 FROM nowhere"}`:        {"TOPIC_NOT_FOUND", "TableNotFound"},
		`{"query":"SELECT 1","limit":5}`:           {"INVALID_REQUEST", "InvalidRequest"},
		`{"query":"SELECT 1/(SELECT error('x'))"}`: {"INVALID_QUERY", "ExplainError"},
		`{"query":""}`:                             {"INVALID_REQUEST", "InvalidRequest"},
		`{"query":"SELECT count(*) FROM range(1000000000000)","analyze":true,"timeout_secs":0.2}`: {"TIMEOUT", "Timeout"},
	} {
		_, answer, _ := c.do("POST", "/_sql/explain", body)
		var r refusal
		require.NoError(t, json.Unmarshal(answer, &r), strings.TrimSpace(string(answer)))
		require.Equal(t, want, [2]string{r.Code, r.Type}, body)
	}
}

//go:build !nosql

package query

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/prune"
	"github.com/chronik-stream/chronik/query/relation"
	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

// counted counts what is read of Parquet files.
type counted struct {
	objstore.Bucket
	gets, bytes atomic.Int64
	damage      atomic.Pointer[func(name string, offset int64, b []byte)]
}

func (c *counted) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	b, err := c.Bucket.Get(ctx, name, offset, length)
	if strings.HasSuffix(name, ".parquet") {
		c.gets.Add(1)
		c.bytes.Add(int64(len(b)))
		if damage := c.damage.Load(); damage != nil {
			(*damage)(name, offset, b)
		}
	}
	return b, err
}

func (c *counted) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	b, err := c.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

const (
	fileRows  = 160_000
	groupRows = 40_000
)

// large is a topic with two files of four row groups, each of some megabytes.
func large(t *testing.T, edit ...func(*Config)) (*cluster, *counted, []string) {
	bucket := &counted{}
	c := newCluster(t, 1, append(edit, func(config *Config) {
		bucket.Bucket = config.Bucket
		config.Bucket = bucket
	})...)
	c.table = func(o *columnar.Options) { o.RowGroupRows, o.Partitioning = groupRows, columnar.Unpartitioned }
	rng := rand.New(rand.NewPCG(7, 7))
	var files []string
	for file := range 2 {
		for batch := range fileRows / 1000 {
			records := make([]tailtest.Record, 1000)
			for i := range records {
				n := file*fileRows + batch*1000 + i
				records[i] = tailtest.Record{
					Timestamp: 1_700_000_000_000 + int64(n)*100 + int64(rng.IntN(5000)), Key: fmt.Sprintf("key-%016x", rng.Uint64()),
					Value: fmt.Sprintf(`{"amount":%d,"city":"city %d","note":"%016x%016x","price":%f}`, rng.IntN(1e6), rng.IntN(100), rng.Uint64(), rng.Uint64(), rng.Float64()),
				}
				if n == lookedFor {
					records[i].Key = "the one"
				}
			}
			c.broker.ProduceRecords(t, 0, records...)
		}
		files = append(files, c.compact(0, int64(file+1)*fileRows))
	}
	return c, bucket, files
}

// lookedFor is the offset of the record with the key "the one".
const lookedFor = fileRows + 2*groupRows + 7

// chunks is what some columns of some row groups take, as parquet-go has it; of
// each row group its number over both files.
func chunks(t *testing.T, c *cluster, files []string, groups []int, columns ...string) (sum int64) {
	for i, name := range files {
		b, err := c.bucket.Get(t.Context(), name, 0, -1)
		require.NoError(t, err)
		file, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		for g, group := range file.Metadata().RowGroups {
			for _, chunk := range group.Columns {
				if slices.Contains(groups, i*fileRows/groupRows+g) && slices.Contains(columns, chunk.MetaData.PathInSchema[0]) {
					sum += chunk.MetaData.TotalCompressedSize
				}
			}
		}
	}
	return sum
}

// What is fetched is at most 1.3 times what the query needs, and so is the next
// query's, which takes from the cache what is there.
func TestAQueryFetchesWhatItNeeds(t *testing.T) {
	c, bucket, files := large(t)
	all := []int{0, 1, 2, 3, 4, 5, 6, 7}
	at := func(n int64) string { return fmt.Sprintf("make_timestamptz(%d000)", 1_700_000_000_000+n*100) }
	for i, q := range []struct {
		query   string
		want    float64
		groups  []int
		columns []string
		cached  int64 // of these bytes, those that a query before has fetched
		files   int   // pruned
	}{
		{"SELECT count(*) AS n FROM orders", 2 * fileRows, nil, nil, 0, 0},
		{"SELECT count(note) AS n FROM orders WHERE offset BETWEEN 50000 AND 70000", 20001, []int{1}, []string{"_offset", "note"}, 0, 1},
		{"SELECT count(*) AS n FROM orders WHERE timestamp >= " + at(fileRows+groupRows+10_000) + " AND timestamp < " + at(fileRows+2*groupRows-10_000) + " AND value IS NOT NULL",
			0, []int{5}, []string{"_timestamp", "_value"}, 0, 1},
		{"SELECT count(DISTINCT amount) AS n FROM orders", 0, all, []string{"amount"}, 0, 0},
		{"SELECT count(*) AS n FROM orders WHERE key = 'the one' AND value IS NOT NULL", 1, []int{6}, []string{"_key", "_value"}, 0, 1},
		{"SELECT count(*) AS n FROM orders WHERE key = 'no such key'", 0, nil, nil, 0, 2},
		{"SELECT count(note) AS n FROM orders WHERE amount >= 0 AND offset BETWEEN 50000 AND 110000", 60001, []int{1, 2}, []string{"note", "amount", "_offset"},
			chunks(t, c, files, []int{1}, "_offset", "note") + chunks(t, c, files, []int{1, 2}, "amount"), 1},
	} {
		bytesBefore, getsBefore := bucket.bytes.Load(), bucket.gets.Load()
		a := c.ask(q.query)
		if q.want > 0 {
			require.Equal(t, q.want, a.Rows[0]["n"], q.query)
		}
		fetched := bucket.bytes.Load() - bytesBefore
		needed := chunks(t, c, files, q.groups, q.columns...)
		t.Logf("%s: %d bytes by %d requests, needed %d of which %d cached; stats %+v", q.query, fetched, bucket.gets.Load()-getsBefore, needed, q.cached, a.Stats)
		require.Equal(t, needed, a.Stats.BytesRead, q.query)
		require.EqualValues(t, q.files, a.Stats.FilesPruned, q.query)
		if i == 0 {
			require.LessOrEqual(t, fetched, int64(2*64<<10), "two footers, which stay in memory")
			continue
		}
		require.LessOrEqual(t, float64(fetched), 1.3*float64(needed-q.cached), q.query)

		again := bucket.bytes.Load()
		require.Equal(t, a.Rows, c.ask(q.query).Rows)
		require.Equal(t, again, bucket.bytes.Load(), "the second time all is there")
	}
}

// A part that is damaged on its way, or at rest, is an error that names the
// object, or it is not needed: never another answer.
func TestADamagedPartIsNeverAnAnswer(t *testing.T) {
	var bucket *counted
	c := newCluster(t, 2, func(config *Config) {
		bucket = &counted{Bucket: config.Bucket}
		config.Bucket = bucket
	})
	c.table = func(o *columnar.Options) { o.RowGroupRows, o.PageBytes, o.BloomColumns = 20, 64, []string{"_key", "x"} }
	produceShapes(t, c, rand.New(rand.NewPCG(1, 1)), 300, 150)
	queries := []string{
		"SELECT max(x) AS a, count(city) AS b FROM orders_cold WHERE offset BETWEEN 30 AND 90",
		"SELECT count(*) AS a, max(value) AS b FROM orders_cold WHERE key = 'k7'",
	}
	var want [2]reply
	for i, q := range queries {
		want[i] = c.ask(q)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	failed, right := 0, 0
	for range 150 {
		at := rng.Int64N(60_000)
		flip := func(_ string, offset int64, b []byte) {
			if at >= offset && at < offset+int64(len(b)) {
				b[at-offset] ^= 1 << rng.IntN(8)
			}
		}
		bucket.damage.Store(&flip)
		for _, s := range c.parquet() {
			c.node.cache.Forget(s)
		}
		for i, q := range queries {
			status, body, _ := c.do("POST", "/_sql", fmt.Sprintf(`{"query":%q}`, q))
			if status != 200 {
				require.Contains(t, string(body), "INTERNAL_ERROR")
				require.Contains(t, string(body), ".parquet: corrupt at byte")
				failed++
				continue
			}
			var a reply
			require.NoError(t, json.Unmarshal(body, &a))
			require.Equal(t, want[i].Rows, a.Rows)
			right++
		}
	}
	t.Logf("%d answers, %d errors", right, failed)
	require.Greater(t, failed, 20)
	require.Greater(t, right, 20)
	bucket.damage.Store(nil)
	require.Equal(t, want[0].Rows, c.ask(queries[0]).Rows, "and when it is well again")
}

// parquet are the names of all Parquet files.
func (c *cluster) parquet() (names []string) {
	for a, err := range c.bucket.List(c.t.Context(), "") {
		require.NoError(c.t, err)
		if strings.HasSuffix(a.Name, ".parquet") {
			names = append(names, a.Name)
		}
	}
	return names
}

// Where the analysis missed a column, the engine fails at it, and the second try
// reads everything.
func TestWhatWasLeftOutByMistakeIsReadAfterAll(t *testing.T) {
	c := newCluster(t, 2)
	produceShapes(t, c, rand.New(rand.NewPCG(1, 1)), 60, 30)
	b, err := c.node.bind(t.Context(), "orders", parts{cold: true, need: prune.Need{Columns: []string{"_offset"}}}, cold, nil)
	require.NoError(t, err)
	defer b.Release()
	for _, column := range []string{"x", "_value", "_headers", "_topic", "_key"} {
		q := engine.Query{SQL: "SELECT max(" + column + ") FROM topics.t", RowsMax: 1, Views: []engine.View{{Name: "t", SQL: relation.Select(b.columns, b.cold, nil)}}}
		for _, f := range b.cold {
			q.Files = append(q.Files, f.Path)
		}
		rows, err := c.node.engine.Stream(t.Context(), q)
		if err == nil {
			_, err = rows.Next()
			rows.Close()
		}
		require.ErrorIs(t, err, engine.ErrFile, column)
	}
}

// Everything in the cache's folder may go at any moment: what is gone is fetched
// again, whole or in parts.
func TestTheCacheMayBeDeletedAtAnyMoment(t *testing.T) {
	for _, whole := range []int64{1, 1 << 30} {
		c := newCluster(t, 2, func(config *Config) { config.wholeBytes = whole })
		c.table = func(o *columnar.Options) { o.RowGroupRows = 20 }
		produceShapes(t, c, rand.New(rand.NewPCG(1, 1)), 200, 100)
		queries := []string{
			"SELECT count(city) AS a, max(x) AS b FROM orders_cold",
			"SELECT max(value) AS a FROM orders_cold WHERE offset BETWEEN 30 AND 50",
			"SELECT count(city) AS a, max(x) AS b, max(value) AS c FROM orders_cold WHERE offset > 20",
		}
		var want []any
		for _, q := range queries {
			want = append(want, c.ask(q).Rows)
		}
		for range 3 {
			for i, q := range queries {
				files, err := os.ReadDir(filepath.Join(c.dir, "objects"))
				require.NoError(t, err)
				require.NotEmpty(t, files)
				for _, f := range files {
					require.NoError(t, os.Remove(filepath.Join(c.dir, "objects", f.Name())))
				}
				require.Equal(t, want[i], any(c.ask(q).Rows))
			}
		}
	}
}

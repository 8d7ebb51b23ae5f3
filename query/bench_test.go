//go:build !nosql

package query

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/relation"
)

// benchFiles writes rows of JSON events into n Parquet files.
func benchFiles(b *testing.B, dir string, files, rows int) []relation.File {
	var out []relation.File
	for f := range files {
		var builder batch.Builder
		var raw []byte
		for first := 0; first < rows; first += 1000 {
			builder.Reset(batch.Options{})
			for i := range 1000 {
				n := f*rows + first + i
				builder.Append(1_700_000_000_000+int64(n), fmt.Appendf(nil, "k%d", n),
					fmt.Appendf(nil, `{"city":"city-%d","amount":%d.5,"user":"u%d","ok":true}`, n%97, n%1000, n%5003))
			}
			start := len(raw)
			var err error
			raw, err = builder.Build(raw)
			require.NoError(b, err)
			batch.PatchOffset(raw[start:], int64(f*rows+first), 0)
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.parquet", f))
		w, err := os.Create(path)
		require.NoError(b, err)
		o := columnar.TableOptions("t", topic.Partition{})
		o.Partitioning = columnar.TailOptions("t", topic.Partition{}).Partitioning
		result, err := columnar.Write(b.Context(), columnar.Of(raw), batch.NewDecoder(1<<20), o, func(string) (io.Writer, error) { return w, nil })
		require.NoError(b, err)
		require.NoError(b, w.Close())
		out = append(out, relation.File{Path: path, Columns: result.Files[0].Columns})
	}
	return out
}

// BenchmarkSQL compares a query through the gate and an engine of its own with
// DuckDB alone, opened once, on the same files.
func BenchmarkSQL(b *testing.B) {
	files := benchFiles(b, b.TempDir(), 4, 250_000)
	var paths, quoted []string
	for _, f := range files {
		paths, quoted = append(paths, f.Path), append(quoted, "'"+f.Path+"'")
	}
	e, err := engine.Open(b.Context(), engine.Options{SpillDir: filepath.Join(b.TempDir(), "spill")})
	require.NoError(b, err)
	defer func() { require.NoError(b, e.Close()) }()
	db, err := sql.Open("duckdb", "")
	require.NoError(b, err)
	defer func() { require.NoError(b, db.Close()) }()
	names := gate.NewNames([]string{"t"})
	for name, query := range map[string]string{
		"count": "SELECT count(*) FROM t",
		"group": "SELECT city, avg(amount), count(*) FROM t GROUP BY city ORDER BY 2 DESC",
		"key":   `SELECT "_offset" FROM t WHERE _key = 'k777777'`,
		"json":  "SELECT count(*) FROM t WHERE json_extract_string(_value, '$.user') = 'u17'",
	} {
		b.Run(name+"/node", func(b *testing.B) {
			for b.Loop() {
				plan, err := gate.Check(b.Context(), e, names, query, 1001)
				require.NoError(b, err)
				rows, err := e.Stream(b.Context(), engine.Query{
					SQL: plan.SQL, Files: paths, RowsMax: 1000,
					Views: []engine.View{{Name: plan.Tables[0].View, SQL: relation.SQL(files)}},
				})
				require.NoError(b, err)
				for err == nil {
					var batch arrow.RecordBatch
					if batch, err = rows.Next(); err == nil {
						batch.Release()
					}
				}
				require.ErrorIs(b, err, io.EOF)
				require.NoError(b, rows.Close())
			}
		})
		b.Run(name+"/duckdb", func(b *testing.B) {
			alone := strings.Replace(query, "FROM t", "FROM read_parquet(["+strings.Join(quoted, ", ")+"])", 1)
			alone = strings.Replace(alone, "json_extract_string(_value,", "json_extract_string(decode(_value),", 1)
			for b.Loop() {
				rows, err := db.QueryContext(context.Background(), alone)
				require.NoError(b, err)
				for rows.Next() {
				}
				require.NoError(b, rows.Err())
				require.NoError(b, rows.Close())
			}
		})
	}
}

package relation

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
)

func col(name string, t columnar.Type) columnar.Column { return columnar.Column{Name: name, Type: t} }

func TestColumnsMeetInATypeThatHoldsBoth(t *testing.T) {
	got := Columns([]File{
		{Columns: []columnar.Column{col("a", columnar.Int64), col("b", columnar.Bool)}},
		{Columns: []columnar.Column{col("A", columnar.Double), col("b", columnar.Int64), col("c", columnar.Timestamp)}},
	})
	require.Equal(t, []columnar.Column{col("a", columnar.Double), col("b", columnar.Text), col("c", columnar.Timestamp)}, got)
}

func TestFilesOfOneSchemaAreOneRead(t *testing.T) {
	columns := []columnar.Column{col("a", columnar.Int64), col("b", columnar.Text)}
	swapped := []columnar.Column{columns[1], columns[0]}
	sql := SQL([]File{{Path: "/1", Columns: columns}, {Path: "/2", Columns: swapped}, {Path: "/3", Columns: columns, Cut: &Cut{5, 9}}})
	require.Equal(t, 2, strings.Count(sql, "read_parquet"))
	require.Contains(t, sql, "read_parquet(['/1', '/2'], hive_partitioning = false)")
	require.Contains(t, sql, "_offset >= 5 AND _offset < 9")
}

func TestMaskedFilesAreReadWithTheirMasksOnly(t *testing.T) {
	sql := SQL([]File{{Path: "/1"}, {Path: "/2", Masks: []string{"/m", "/it's"}}, {Path: "/3"}, {Path: "/4", Masks: []string{"/m", "/it's"}, Cut: &Cut{5, 9}}})
	require.Equal(t, 3+2, strings.Count(sql, "read_parquet"))
	require.Equal(t, 2, strings.Count(sql, "ANTI JOIN read_parquet(['/m', '/it''s'], hive_partitioning = false) AS masked ON rows._offset = masked._offset"))
	require.Contains(t, sql, "read_parquet(['/1', '/3'], hive_partitioning = false)\n")
}

func TestNamesAndPathsAreQuoted(t *testing.T) {
	sql := SQL([]File{
		{Path: "/it's", Columns: []columnar.Column{col(`say "x"/~`, columnar.Int64), col("json_key", columnar.Bool)}},
		{Path: "/b", Columns: []columnar.Column{col(`say "x"/~`, columnar.Text), col("json_key", columnar.Text)}},
	})
	require.Contains(t, sql, `'/it''s'`)
	require.Contains(t, sql, `"say ""x""/~"`)
	require.Contains(t, sql, `'/say "x"~1~0'`)
	require.Contains(t, sql, `'/key'`, "json_key is the field key")
}

func TestATableWithoutFilesHasSystemColumns(t *testing.T) {
	require.Contains(t, SQL(nil), "CAST(NULL AS BIGINT) AS _offset")
	require.Len(t, Describe(nil, nil), len(columnar.SystemColumns()))
	for i, c := range Describe(nil, nil) {
		require.Equal(t, columnar.SystemColumns()[i], c.Name)
	}
}

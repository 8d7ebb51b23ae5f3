// Package relation writes the SQL by which a topic's Parquet files are one
// table.
//
// Every file has the system columns, and JSON columns of its own with types of
// its own. The table has each of them once, by its name without regard to case,
// with a type that holds what every file has: int64 and double meet in double,
// anything else in text. That text is the one that the JSON had, taken from
// _value and not made from the typed column, so that 1.0 stays 1.0 and a date
// keeps its form. A column that a file does not have is null there.
//
// The package is pure: text from descriptions, no files, no engine.
package relation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/chronik-stream/chronik/internal/columnar"
)

// File is a local Parquet file with records of one partition.
type File struct {
	Path    string
	Columns []columnar.Column // Name and Type; in the file's order
	Cut     *Cut              // nil: every row belongs to the table
	Vectors bool              // it has the column of vectors, those that the table is to show
	Masks   []string          // files with the offsets of rows that do not
}

// Cut keeps the rows with offsets in [First, Next).
type Cut struct{ First, Next int64 }

// Columns are the JSON columns of a table over these files, in the order in
// which the files bring them up.
func Columns(files []File) []columnar.Column {
	var out []columnar.Column
	at := map[string]int{}
	for _, f := range files {
		for _, c := range f.Columns {
			key := strings.ToLower(c.Name)
			if i, known := at[key]; known {
				out[i].Type = out[i].Type.Join(c.Type)
				continue
			}
			at[key] = len(out)
			out = append(out, c)
		}
	}
	return out
}

// SQL is a SELECT of all rows of the files, with the system columns and then
// Columns(files). Without files it has the system columns and no rows.
func SQL(files []File) string { return Select(Columns(files), files, nil) }

// Select is a SELECT of all rows of the files with these columns, whose types
// hold what the files have: they are Columns of the files and maybe of others,
// so that the parts of a table look like the whole. The column of vectors, if there
// is to be one, is the last.
func Select(columns []columnar.Column, files []File, vectors *Vectors) string {
	if len(files) == 0 {
		return empty(columns, vectors)
	}
	var own, others []string
	for _, group := range grouped(files) {
		if vectors != nil && !group[0].Vectors {
			others = append(others, branch(columns, group, nil))
		} else {
			own = append(own, branch(columns, group, vectors))
		}
	}
	if len(others) > 0 {
		own = append(own, vectors.join(strings.Join(others, "\nUNION ALL ")))
	}
	return strings.Join(own, "\nUNION ALL ")
}

// grouped puts files of the same columns, cut and masks together, so that a table of
// many files stays a query of few parts. The order is that of first appearance.
func grouped(files []File) [][]File {
	var groups [][]File
	at := map[string]int{}
	for _, f := range files {
		key := signature(f)
		i, known := at[key]
		if !known {
			i = len(groups)
			at[key] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

func signature(f File) string {
	var b strings.Builder
	if f.Cut != nil {
		fmt.Fprintf(&b, "%d:%d", f.Cut.First, f.Cut.Next)
	}
	for _, mask := range f.Masks {
		fmt.Fprintf(&b, "\x00\x00%s", mask)
	}
	if f.Vectors {
		b.WriteString("\x00\x00\x00")
	}
	for _, c := range slices.SortedFunc(slices.Values(f.Columns), byName) {
		fmt.Fprintf(&b, "\x00%s\x00%d", c.Name, c.Type)
	}
	return b.String()
}

func byName(a, b columnar.Column) int { return strings.Compare(a.Name, b.Name) }

// branch selects from files that share columns, cut and masks, which means that
// masked ones are of one partition. With vectors they have these.
func branch(columns []columnar.Column, files []File, vectors *Vectors) string {
	has := map[string]columnar.Column{}
	for _, c := range files[0].Columns {
		has[strings.ToLower(c.Name)] = c
	}
	items := columnar.SystemColumns()
	for _, c := range columns {
		items = append(items, convert(has[strings.ToLower(c.Name)], c)+" AS "+identifier(c.Name))
	}
	if vectors != nil {
		items = append(items, vectors.cast(columnar.EmbeddingColumn)+" AS "+columnar.EmbeddingColumn)
	}
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	sql := "SELECT " + strings.Join(items, ", ") + " FROM " + parquet(paths)
	if masks := files[0].Masks; len(masks) > 0 {
		sql += " AS rows ANTI JOIN " + parquet(masks) + " AS masked ON rows._offset = masked._offset"
	}
	if cut := files[0].Cut; cut != nil {
		sql += fmt.Sprintf(" WHERE _offset >= %d AND _offset < %d", cut.First, cut.Next)
	}
	return sql
}

func parquet(paths []string) string {
	quoted := make([]string, len(paths))
	for i, path := range paths {
		quoted[i] = literal(path)
	}
	return "read_parquet([" + strings.Join(quoted, ", ") + "], hive_partitioning = false)"
}

// convert is the expression for column want in a file that has column have.
func convert(have, want columnar.Column) string {
	switch {
	case have.Type == columnar.Untyped:
		return "CAST(NULL AS " + typeName(want.Type) + ")"
	case have.Type == want.Type:
		return identifier(have.Name)
	case want.Type == columnar.Text:
		// The column is null where the JSON has no scalar in that field. decode has a try
		// of its own, as DuckDB computes once what several expressions share, outside
		// of the try that is around it in one of them.
		return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN try(system.main.json_extract_string(try(decode(_value)), %s)) END",
			identifier(have.Name), literal(pointer(field(have))))
	}
	return "CAST(" + identifier(have.Name) + " AS " + typeName(want.Type) + ")"
}

// field is the JSON field of a column. Manifests name columns only; the name of
// a field that gave way to a system name is what follows json_.
func field(c columnar.Column) string {
	if c.Field != "" {
		return c.Field
	}
	if rest, ok := strings.CutPrefix(c.Name, "json_"); ok && columnar.ColumnName(rest) == c.Name {
		return rest
	}
	return c.Name
}

// pointer is the JSON pointer (RFC 6901) to a top-level field.
func pointer(field string) string {
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(field)
}

// systemTypes are the DuckDB types of columnar.SystemColumns.
var systemTypes = map[string]string{
	"_topic": "VARCHAR", "_partition": "INTEGER", "_offset": "BIGINT", "_timestamp": "TIMESTAMPTZ", "_timestamp_type": "TINYINT",
	"_key": "BLOB", "_value": "BLOB", "_headers": "MAP(VARCHAR, BLOB)",
}

func empty(columns []columnar.Column, vectors *Vectors) string {
	var items []string
	for _, name := range columnar.SystemColumns() {
		items = append(items, "CAST(NULL AS "+systemTypes[name]+") AS "+name)
	}
	for _, c := range columns {
		items = append(items, "CAST(NULL AS "+typeName(c.Type)+") AS "+identifier(c.Name))
	}
	if vectors != nil {
		items = append(items, vectors.cast("NULL")+" AS "+columnar.EmbeddingColumn)
	}
	return "SELECT " + strings.Join(items, ", ") + " WHERE false"
}

// Described is a column as GET /_sql/describe shows it.
type Described struct {
	Name     string
	Type     arrow.DataType
	Nullable bool
}

// Describe lists all columns of a table with these JSON columns, and maybe vectors.
func Describe(columns []columnar.Column, vectors *Vectors) []Described {
	out := []Described{
		{"_topic", arrow.BinaryTypes.String, false}, {"_partition", arrow.PrimitiveTypes.Int32, false}, {"_offset", arrow.PrimitiveTypes.Int64, false},
		{"_timestamp", arrow.FixedWidthTypes.Timestamp_us, false}, {"_timestamp_type", arrow.PrimitiveTypes.Int8, false},
		{"_key", arrow.BinaryTypes.Binary, true}, {"_value", arrow.BinaryTypes.Binary, true},
		{"_headers", arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.Binary), false},
	}
	if vectors != nil {
		out = append(out, Described{columnar.EmbeddingColumn, vectors.arrowType(), true})
	}
	for _, c := range columns {
		out = append(out, Described{c.Name, arrowTypes[c.Type], true})
	}
	return out
}

var arrowTypes = map[columnar.Type]arrow.DataType{
	columnar.Bool: arrow.FixedWidthTypes.Boolean, columnar.Int64: arrow.PrimitiveTypes.Int64, columnar.Double: arrow.PrimitiveTypes.Float64,
	columnar.Timestamp: arrow.FixedWidthTypes.Timestamp_us, columnar.Text: arrow.BinaryTypes.String,
}

// typeName is DuckDB's name of a JSON column's type.
func typeName(t columnar.Type) string {
	switch t {
	case columnar.Bool:
		return "BOOLEAN"
	case columnar.Int64:
		return "BIGINT"
	case columnar.Double:
		return "DOUBLE"
	case columnar.Timestamp:
		return "TIMESTAMPTZ"
	}
	return "VARCHAR"
}

func literal(s string) string    { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

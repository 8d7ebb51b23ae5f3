package iceberg

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	ice "github.com/apache/iceberg-go"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
)

// The field ids of the system columns: those that internal/columnar writes.
const (
	fieldTopic         = 1
	fieldPartition     = 2
	fieldOffset        = 3
	fieldTimestamp     = 4
	fieldTimestampType = 5
	fieldKey           = 6
	fieldValue         = 7
	fieldHeaders       = 8
	fieldHeaderKey     = 9
	fieldHeaderValue   = 10
	fieldsSystem       = 1024 // JSON columns have ids from here on
)

var types = ice.PrimitiveTypes

// systemFields are the columns that every table has, called as in SQL, but for one:
// _partition is a metadata column of Iceberg, and engines take it for that. So that
// column has its short spelling, which SQL knows too, and no JSON column can have.
func systemFields() []ice.NestedField {
	headers := &ice.MapType{KeyID: fieldHeaderKey, KeyType: types.String, ValueID: fieldHeaderValue, ValueType: types.Binary}
	return []ice.NestedField{
		{ID: fieldTopic, Name: "_topic", Type: types.String, Required: true},
		{ID: fieldPartition, Name: "partition", Type: types.Int32, Required: true},
		{ID: fieldOffset, Name: "_offset", Type: types.Int64, Required: true},
		{ID: fieldTimestamp, Name: "_timestamp", Type: types.TimestampTz, Required: true},
		{ID: fieldTimestampType, Name: "_timestamp_type", Type: types.Int32, Required: true, Doc: "0: of the producer, 1: of the broker"},
		{ID: fieldKey, Name: "_key", Type: types.Binary},
		{ID: fieldValue, Name: "_value", Type: types.Binary, Doc: "null: a tombstone"},
		{ID: fieldHeaders, Name: "_headers", Type: headers, Required: true},
	}
}

// kindEmbedding is the kind of the column of vectors, however long these are.
const kindEmbedding = "embedding"

// typeOf is the type in a table of a JSON column, or of the one of vectors.
func (c column) typeOf() ice.Type {
	if c.kind == kindEmbedding {
		return &ice.ListType{ElementID: int(columnar.EmbeddingElementID), Element: types.Float32, ElementRequired: true}
	}
	t, _ := columnar.ParseType(c.kind) // columns have types that parse
	switch t {
	case columnar.Bool:
		return types.Bool
	case columnar.Int64:
		return types.Int64
	case columnar.Double:
		return types.Float64
	case columnar.Timestamp:
		return types.TimestampTz
	}
	return types.String
}

// column is a JSON column as files know it, or that of vectors: by name and type.
type column struct{ name, kind string }

// columnsOf are a file's JSON columns, and that of vectors, with their field ids.
// Those of a type that this build does not know are left out: their values are in
// _value.
func columnsOf(f *manifest.File) map[column]int {
	ids := make(map[column]int, len(f.Columns))
	known := make([]columnar.Column, 0, len(f.Columns))
	all := true
	for _, c := range f.Columns {
		if c.Name == columnar.EmbeddingColumn {
			ids[column{c.Name, kindEmbedding}] = int(columnar.EmbeddingID)
			continue
		}
		t, err := columnar.ParseType(c.Type)
		all = all && err == nil
		known = append(known, columnar.Column{Name: c.Name, Type: t})
	}
	if !all {
		return ids // those of the others depend on it
	}
	for i, id := range columnar.FieldIDs(known) {
		ids[column{known[i].Name, known[i].Type.String()}] = int(id)
	}
	return ids
}

// tableColumn is such a column of a table.
type tableColumn struct {
	column
	id      int
	records int64 // in files that have it
	fixed   bool  // columnar.json_schema wants it like this
}

// tableColumns are the columns of all files besides the system's. A field id stands for one
// column and a column has one id; where two columns of different files share an
// id, which happens once in a billion, both are left out of the table, so that
// none is ever read as the other. Their values are in _value.
func tableColumns(files []file, fixed map[string]string) []tableColumn {
	byID := make(map[int]*tableColumn)
	idOf := make(map[column]int)
	shared := make(map[int]bool)
	for i := range files {
		f := &files[i]
		for c, id := range columnsOf(&f.File) {
			known := byID[id]
			if known == nil {
				known = &tableColumn{column: c, id: id}
				byID[id] = known
			}
			other, has := idOf[c]
			if known.column != c || has && other != id {
				shared[id], shared[other] = true, true
				continue
			}
			idOf[c] = id
			known.records += f.Records
		}
	}
	for field, kind := range fixed {
		t, err := columnar.ParseType(kind)
		if err != nil {
			continue // the compactor writes no files by such a setting
		}
		c := column{columnar.ColumnName(field), kind}
		id, has := idOf[c]
		if !has {
			id = int(columnar.FieldIDs([]columnar.Column{{Name: c.name, Type: t}})[0])
			if byID[id] != nil {
				continue
			}
			byID[id] = &tableColumn{column: c, id: id}
		}
		byID[id].fixed = true
	}
	var columns []tableColumn
	for id, c := range byID {
		if !shared[id] {
			columns = append(columns, *c)
		}
	}
	slices.SortFunc(columns, func(a, b tableColumn) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.kind, b.kind)) })
	return columns
}

// schemaOf is the table's schema for these columns. before is the last one, nil
// for none: a field keeps the name and the place that it has.
//
// Of columns of one name with different types one has the plain name: that which
// columnar.json_schema fixes, else the one that had it, else the one with the
// most records. Others are called <name>_<type>. Names differ in more than case,
// since engines look them up without.
func schemaOf(columns []tableColumn, before *ice.Schema) *ice.Schema {
	namedBefore := make(map[int]string)
	place := make(map[int]int)
	if before != nil {
		for i, f := range before.Fields() {
			namedBefore[f.ID], place[f.ID] = f.Name, i
		}
	}
	plain := func(c tableColumn) bool { return namedBefore[c.id] == c.name }
	byClaim := slices.Clone(columns)
	slices.SortStableFunc(byClaim, func(a, b tableColumn) int {
		return cmp.Or(first(a.fixed, b.fixed), first(plain(a), plain(b)), first(namedBefore[a.id] != "", namedBefore[b.id] != ""),
			cmp.Compare(b.records, a.records))
	})
	fields := systemFields()
	taken := make(map[string]bool)
	for _, f := range fields {
		taken[f.Name] = true
	}
	names := make(map[int]string)
	for _, c := range byClaim {
		for _, name := range []string{c.name, c.name + "_" + c.kind, fmt.Sprintf("%s_%s_%d", c.name, c.kind, c.id)} {
			if folded := strings.ToLower(name); !taken[folded] {
				taken[folded], names[c.id] = true, name
				break
			}
		}
	}
	added := slices.Clone(columns)
	slices.SortStableFunc(added, func(a, b tableColumn) int {
		i, old := place[a.id]
		j, older := place[b.id]
		return cmp.Or(first(old, older), cmp.Compare(i, j))
	})
	for _, c := range added {
		if names[c.id] == "" {
			continue // all three names are other columns': a field named to that end
		}
		fields = append(fields, ice.NestedField{ID: c.id, Name: names[c.id], Type: c.typeOf()})
	}
	return ice.NewSchemaWithIdentifiers(0, []int{fieldPartition, fieldOffset}, fields...)
}

// first orders what has a property before what has not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

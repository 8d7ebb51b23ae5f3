package flight

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/schema_ref"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// There is one catalog with one schema, and in it a table for each topic that
// is one.

// listed is the FlightInfo of a listing: its ticket is the command itself.
func listed(d *flight.FlightDescriptor, schema *arrow.Schema) (*flight.FlightInfo, error) {
	return &flight.FlightInfo{
		Schema:           flight.SerializeSchema(schema, memory.DefaultAllocator),
		FlightDescriptor: d,
		Endpoint:         []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: d.GetCmd()}}},
		TotalRecords:     -1,
		TotalBytes:       -1,
	}, nil
}

// answer streams one batch of what fill appends. It has room for the batch, so
// nobody waits for a reader who went.
func answer(schema *arrow.Schema, fill func(b *array.RecordBuilder)) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	fill(b)
	chunks := make(chan flight.StreamChunk, 1)
	chunks <- flight.StreamChunk{Data: b.NewRecordBatch()}
	close(chunks)
	return schema, chunks, nil
}

func empty(schema *arrow.Schema) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return answer(schema, func(*array.RecordBuilder) {})
}

func appendText(b *array.RecordBuilder, column int, value string) {
	b.Field(column).(*array.StringBuilder).Append(value)
}

// GetFlightInfoCatalogs implements flightsql.Server.
func (s *server) GetFlightInfoCatalogs(_ context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.Catalogs)
}

// DoGetCatalogs implements flightsql.Server.
func (s *server) DoGetCatalogs(context.Context) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return answer(schema_ref.Catalogs, func(b *array.RecordBuilder) { appendText(b, 0, Catalog) })
}

// GetFlightInfoSchemas implements flightsql.Server.
func (s *server) GetFlightInfoSchemas(_ context.Context, _ flightsql.GetDBSchemas, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.DBSchemas)
}

// DoGetDBSchemas implements flightsql.Server.
func (s *server) DoGetDBSchemas(_ context.Context, r flightsql.GetDBSchemas) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return answer(schema_ref.DBSchemas, func(b *array.RecordBuilder) {
		if inCatalog(r.GetCatalog()) && pattern(r.GetDBSchemaFilterPattern())(Schema) {
			appendText(b, 0, Catalog)
			appendText(b, 1, Schema)
		}
	})
}

// GetFlightInfoTableTypes implements flightsql.Server.
func (s *server) GetFlightInfoTableTypes(_ context.Context, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.TableTypes)
}

// DoGetTableTypes implements flightsql.Server.
func (s *server) DoGetTableTypes(context.Context) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return answer(schema_ref.TableTypes, func(b *array.RecordBuilder) { appendText(b, 0, TableType) })
}

// GetFlightInfoTables implements flightsql.Server.
func (s *server) GetFlightInfoTables(_ context.Context, r flightsql.GetTables, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	if r.GetIncludeSchema() {
		return listed(d, schema_ref.TablesWithIncludedSchema)
	}
	return listed(d, schema_ref.Tables)
}

// DoGetTables implements flightsql.Server.
func (s *server) DoGetTables(ctx context.Context, r flightsql.GetTables) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	schema := schema_ref.Tables
	if r.GetIncludeSchema() {
		schema = schema_ref.TablesWithIncludedSchema
	}
	types := r.GetTableTypes()
	if !inCatalog(r.GetCatalog()) || !pattern(r.GetDBSchemaFilterPattern())(Schema) || (len(types) > 0 && !slices.Contains(types, TableType)) {
		return empty(schema)
	}
	tables, err := s.backend.Tables(ctx, principalOf(ctx), pattern(r.GetTableNameFilterPattern()), r.GetIncludeSchema())
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(tables, func(a, b Table) int { return strings.Compare(a.Name, b.Name) })
	return answer(schema, func(b *array.RecordBuilder) {
		for _, t := range tables {
			appendText(b, 0, Catalog)
			appendText(b, 1, Schema)
			appendText(b, 2, t.Name)
			appendText(b, 3, TableType)
			if r.GetIncludeSchema() {
				b.Field(4).(*array.BinaryBuilder).Append(flight.SerializeSchema(described(t), memory.DefaultAllocator))
			}
		}
	})
}

// described adds to a table's columns what JDBC's metadata ask for.
func described(t Table) *arrow.Schema {
	fields := t.Schema.Fields()
	for i, f := range fields {
		fields[i].Metadata = flightsql.NewColumnMetadataBuilder().
			CatalogName(Catalog).SchemaName(Schema).TableName(t.Name).TypeName(f.Type.Name()).
			IsAutoIncrement(false).IsCaseSensitive(false).IsReadOnly(true).IsSearchable(true).Metadata()
	}
	return arrow.NewSchema(fields, nil)
}

// inCatalog reports whether a listing's catalog, when one is named, is ours.
func inCatalog(name *string) bool { return name == nil || *name == "" || *name == Catalog }

// pattern is a filter as Flight SQL has them: % for any text, _ for any
// character, a backslash before one that means itself. Nil matches everything.
func pattern(like *string) func(string) bool {
	if like == nil {
		return func(string) bool { return true }
	}
	var b strings.Builder
	escaped := false
	for _, r := range *like {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '%':
			b.WriteString(".*")
		case r == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	matcher := regexp.MustCompile("(?s)^" + b.String() + "$") // every part is quoted: it compiles
	return matcher.MatchString
}

// Topics have no keys, and there is nothing to say of types that JDBC's driver
// does not know by Arrow: the rest of the listings is empty.

// GetFlightInfoPrimaryKeys implements flightsql.Server.
func (s *server) GetFlightInfoPrimaryKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.PrimaryKeys)
}

// DoGetPrimaryKeys implements flightsql.Server.
func (s *server) DoGetPrimaryKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return empty(schema_ref.PrimaryKeys)
}

// GetFlightInfoExportedKeys implements flightsql.Server.
func (s *server) GetFlightInfoExportedKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.ExportedKeys)
}

// DoGetExportedKeys implements flightsql.Server.
func (s *server) DoGetExportedKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return empty(schema_ref.ExportedKeys)
}

// GetFlightInfoImportedKeys implements flightsql.Server.
func (s *server) GetFlightInfoImportedKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.ImportedKeys)
}

// DoGetImportedKeys implements flightsql.Server.
func (s *server) DoGetImportedKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return empty(schema_ref.ImportedKeys)
}

// GetFlightInfoCrossReference implements flightsql.Server.
func (s *server) GetFlightInfoCrossReference(_ context.Context, _ flightsql.CrossTableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.CrossReference)
}

// DoGetCrossReference implements flightsql.Server.
func (s *server) DoGetCrossReference(context.Context, flightsql.CrossTableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return empty(schema_ref.CrossReference)
}

// GetFlightInfoXdbcTypeInfo implements flightsql.Server.
func (s *server) GetFlightInfoXdbcTypeInfo(_ context.Context, _ flightsql.GetXdbcTypeInfo, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return listed(d, schema_ref.XdbcTypeInfo)
}

// DoGetXdbcTypeInfo implements flightsql.Server.
func (s *server) DoGetXdbcTypeInfo(context.Context, flightsql.GetXdbcTypeInfo) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return empty(schema_ref.XdbcTypeInfo)
}

//go:build !nosql

package engine

/*
#include <stdint.h>
#include <stdlib.h>

// The two functions of DuckDB's C interface that hand results over as Arrow.
// The bindings have them behind a build tag of theirs, which every build and
// every tool would have to be given. Handles are pointers that only DuckDB
// looks into.
struct ArrowSchema;
struct ArrowArray;
void *duckdb_to_arrow_schema(void *options, void **types, const char **names, uint64_t columns, struct ArrowSchema *schema);
void *duckdb_data_chunk_to_arrow(void *options, void *chunk, struct ArrowArray *array);

// room_make makes an empty structure of Arrow's C data interface, large enough
// for either of the two: they have nine and ten words.
static uintptr_t room_make(void) { return (uintptr_t)calloc(10, 8); }
static void room_free(uintptr_t room) { free((void *)room); }

static void **types_make(uint64_t n) { return calloc(n ? n : 1, sizeof(void *)); }
static void types_set(void **types, uint64_t i, void *type) { types[i] = type; }
static const char **names_make(uint64_t n) { return calloc(n ? n : 1, sizeof(char *)); }
static void names_set(const char **names, uint64_t i, char *name) { names[i] = name; }
static void names_free(const char **names, uint64_t n) {
	for (uint64_t i = 0; i < n; i++) free((void *)names[i]);
	free(names);
}
static void types_free(void **types) { free(types); }

static void *schema_of(void *options, void **types, const char **names, uint64_t columns, uintptr_t room) {
	return duckdb_to_arrow_schema(options, types, names, columns, (struct ArrowSchema *)room);
}
static void *array_of(void *options, void *chunk, uintptr_t room) {
	return duckdb_data_chunk_to_arrow(options, chunk, (struct ArrowArray *)room);
}
*/
import "C"

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/cdata"
	bindings "github.com/duckdb/duckdb-go-bindings"
)

// arrowSchema describes columns of these types and names.
func arrowSchema(options bindings.ArrowOptions, types []bindings.LogicalType, names []string) (*arrow.Schema, error) {
	n := C.uint64_t(len(types))
	cTypes, cNames := C.types_make(n), C.names_make(n)
	defer C.types_free(cTypes)
	defer C.names_free(cNames, n)
	for i, t := range types {
		C.types_set(cTypes, C.uint64_t(i), t.Ptr)
		C.names_set(cNames, C.uint64_t(i), C.CString(names[i]))
	}
	room := C.room_make()
	defer C.room_free(room)
	schema := cdata.SchemaFromPtr(uintptr(room))
	defer cdata.ReleaseCArrowSchema(schema)
	if err := arrowError(bindings.ErrorData{Ptr: C.schema_of(options.Ptr, cTypes, cNames, n, room)}); err != nil {
		return nil, fmt.Errorf("describe the answer as Arrow: %w", err)
	}
	out, err := cdata.ImportCArrowSchema(schema)
	if err != nil {
		return nil, fmt.Errorf("describe the answer as Arrow: %w", err)
	}
	return out, nil
}

// arrowBatch copies a chunk. The batch is DuckDB's memory until it is released.
func arrowBatch(options bindings.ArrowOptions, schema *arrow.Schema, chunk bindings.DataChunk) (arrow.RecordBatch, error) {
	room := C.room_make()
	defer C.room_free(room)
	array := cdata.ArrayFromPtr(uintptr(room))
	defer cdata.ReleaseCArrowArray(array)
	if err := arrowError(bindings.ErrorData{Ptr: C.array_of(options.Ptr, chunk.Ptr, room)}); err != nil {
		return nil, fmt.Errorf("read the answer as Arrow: %w", err)
	}
	batch, err := cdata.ImportCRecordBatchWithSchema(array, schema)
	if err != nil {
		return nil, fmt.Errorf("read the answer as Arrow: %w", err)
	}
	return batch, nil
}

// arrowError reads and frees the error that the two functions answer with.
func arrowError(failed bindings.ErrorData) error {
	defer bindings.DestroyErrorData(&failed)
	if !bindings.ErrorDataHasError(failed) {
		return nil
	}
	return errors.New(bindings.ErrorDataMessage(failed))
}

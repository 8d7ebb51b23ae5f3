// Package answer writes the rows of a query in the forms that the API offers:
// JSON, newline-delimited JSON, CSV and Arrow's IPC stream. All are encodings of
// the same Arrow batches.
//
// In JSON, 64-bit integers and decimals have all their digits; NaN and the
// infinities are text, as are dates, timestamps (RFC 3339; without a zone where
// the type has none), times of day and intervals (ISO 8601); binary is as
// Binary says; structs and maps are objects, lists arrays.
//
// The package is pure: it holds no row longer than the call.
package answer

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// Binary says how JSON and CSV show binary values.
type Binary int

// The two forms of the contract.
const (
	Text   Binary = iota // UTF-8 as text, else {"$binary": base64}
	Base64               // base64, always
)

// Options are a client's choices among the forms of values.
type Options struct {
	Arrays bool // rows of JSON are arrays and not objects
	Binary Binary
}

// Names are the names of the columns, made distinct, so that no value of a row
// hides another: a, a, b → a, a_1, b.
func Names(schema *arrow.Schema) []string {
	names := make([]string, schema.NumFields())
	used := map[string]bool{}
	for _, f := range schema.Fields() {
		used[f.Name] = true
	}
	given := map[string]bool{}
	for i, f := range schema.Fields() {
		name := f.Name
		for n := 1; given[name]; n++ {
			if next := fmt.Sprintf("%s_%d", f.Name, n); !used[next] {
				name = next
				used[next] = true
			}
		}
		given[name] = true
		names[i] = name
	}
	return names
}

// Types are the texts of the columns' Arrow types.
func Types(schema *arrow.Schema) []string {
	types := make([]string, schema.NumFields())
	for i, f := range schema.Fields() {
		types[i] = f.Type.String()
	}
	return types
}

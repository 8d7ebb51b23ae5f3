//go:build !nosql

package engine

import (
	"fmt"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// withoutArrow are the types whose values Arrow, as DuckDB makes it, gets wrong or
// has no form for: a UHUGEINT above 2^127 becomes negative, a TIMETZ loses its
// zone, a BIT and a BIGNUM are the bytes that DuckDB keeps them in.
var withoutArrow = map[bindings.Type]string{
	bindings.TypeUHugeInt: "UHUGEINT", bindings.TypeTimeTZ: "TIME WITH TIME ZONE", bindings.TypeBit: "BIT", bindings.TypeBigNum: "BIGNUM",
}

// answerable refuses a column of a type that answers do not have, also deep in a
// list or a struct: nothing is better than what looks like a value.
func answerable(column string, t bindings.LogicalType) error {
	id := bindings.GetTypeId(t)
	if name := withoutArrow[id]; name != "" {
		return fmt.Errorf("%w: column %q is or has a %s, which answers have no form for: cast it to VARCHAR", ErrQuery, column, name)
	}
	var parts []bindings.LogicalType
	switch id {
	case bindings.TypeList:
		parts = append(parts, bindings.ListTypeChildType(t))
	case bindings.TypeArray:
		parts = append(parts, bindings.ArrayTypeChildType(t))
	case bindings.TypeMap:
		parts = append(parts, bindings.MapTypeKeyType(t), bindings.MapTypeValueType(t))
	case bindings.TypeStruct:
		for i := range bindings.StructTypeChildCount(t) {
			parts = append(parts, bindings.StructTypeChildType(t, i))
		}
	}
	var err error
	for i := range parts {
		if err == nil {
			err = answerable(column, parts[i])
		}
		bindings.DestroyLogicalType(&parts[i])
	}
	return err
}

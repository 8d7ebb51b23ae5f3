//go:build !nosql

package engine

import (
	"fmt"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// bindParameters gives the statement its values, by position. A wrong number of
// them is the query's fault.
func bindParameters(prepared bindings.PreparedStatement, values []any) error {
	if want := int(bindings.NParams(prepared)); want != len(values) {
		return fmt.Errorf("%w: the query has %d parameters, %d values were given", ErrQuery, want, len(values))
	}
	for i, v := range values {
		value, err := parameter(v)
		if err != nil {
			return fmt.Errorf("parameter %d: %w", i+1, err)
		}
		state := bindings.BindValue(prepared, bindings.IdxT(i+1), value)
		bindings.DestroyValue(&value)
		if state == bindings.StateError {
			return fmt.Errorf("parameter %d: %w", i+1, failed(bindings.PrepareError(prepared)))
		}
	}
	return nil
}

// parameter makes DuckDB's value.
func parameter(v any) (bindings.Value, error) {
	switch v := v.(type) {
	case nil:
		return bindings.CreateNullValue(), nil
	case bool:
		return bindings.CreateBool(v), nil
	case int64:
		return bindings.CreateInt64(v), nil
	case float64:
		return bindings.CreateDouble(v), nil
	case string:
		return bindings.CreateVarcharLength(v, bindings.IdxT(len(v))), nil
	case []byte:
		return bindings.CreateBlob(v), nil
	}
	return bindings.Value{}, fmt.Errorf("%w: a value of type %T cannot be a parameter", ErrQuery, v)
}

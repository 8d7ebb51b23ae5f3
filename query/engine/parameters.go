//go:build !nosql

package engine

import (
	"fmt"
	"math/big"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
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
	case uint64:
		return bindings.CreateUInt64(v), nil
	case float64:
		return bindings.CreateDouble(v), nil
	case string:
		return bindings.CreateVarcharLength(v, bindings.IdxT(len(v))), nil
	case []byte:
		return bindings.CreateBlob(v), nil
	case time.Time:
		return bindings.CreateTimestampTZ(bindings.NewTimestamp(v.UnixMicro())), nil
	case arrow.Timestamp:
		return bindings.CreateTimestamp(bindings.NewTimestamp(int64(v))), nil
	case arrow.Date32:
		return bindings.CreateDate(bindings.NewDate(int32(v))), nil
	case arrow.Time64:
		return bindings.CreateTime(bindings.NewTime(int64(v))), nil
	case Decimal:
		return decimal(v)
	}
	return bindings.Value{}, fmt.Errorf("%w: a value of type %T cannot be a parameter", ErrQuery, v)
}

// decimalDigits are the most that DuckDB's decimals have.
const decimalDigits = 38

func decimal(d Decimal) (bindings.Value, error) {
	if d.Precision > decimalDigits || d.Scale > d.Precision || d.Unscaled.BitLen() > 127 {
		return bindings.Value{}, fmt.Errorf("%w: a decimal of %d digits, %d behind the point, cannot be a parameter", ErrQuery, d.Precision, d.Scale)
	}
	lower := new(big.Int).And(d.Unscaled, new(big.Int).SetUint64(1<<64-1)).Uint64()
	upper := new(big.Int).Rsh(d.Unscaled, 64).Int64() // of two's complement, as DuckDB has it
	return bindings.CreateDecimal(bindings.NewDecimal(d.Precision, d.Scale, bindings.NewHugeInt(lower, upper))), nil
}

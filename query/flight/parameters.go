package flight

import (
	"bytes"
	"fmt"
	"math/big"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// Decimal is a parameter with a fixed number of digits behind the point.
type Decimal struct {
	Unscaled         *big.Int
	Precision, Scale int32
}

// decodeParameters reads the row that encodeParameters kept.
func decodeParameters(stream []byte) (values []any, err error) {
	// Handles come from outside, and the reader panics over some broken ones.
	defer func() {
		if recover() != nil {
			values, err = nil, invalid("the handle's parameters are damaged")
		}
	}()
	r, err := ipc.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil, invalid("the handle's parameters are damaged")
	}
	defer r.Release()
	if !r.Next() || r.RecordBatch().NumRows() != 1 {
		return nil, invalid("the handle's parameters are not one row")
	}
	for i, column := range r.RecordBatch().Columns() {
		value, err := parameter(column)
		if err != nil {
			return nil, invalid("parameter %d: %s", i+1, err)
		}
		values = append(values, value)
	}
	return values, nil
}

// parameter is the first value of an array as Statement.Parameters has them.
func parameter(a arrow.Array) (any, error) {
	if a.IsNull(0) {
		return nil, nil
	}
	switch a := a.(type) {
	case *array.Null:
		return nil, nil
	case *array.Boolean:
		return a.Value(0), nil
	case *array.Int8:
		return int64(a.Value(0)), nil
	case *array.Int16:
		return int64(a.Value(0)), nil
	case *array.Int32:
		return int64(a.Value(0)), nil
	case *array.Int64:
		return a.Value(0), nil
	case *array.Uint8:
		return int64(a.Value(0)), nil
	case *array.Uint16:
		return int64(a.Value(0)), nil
	case *array.Uint32:
		return int64(a.Value(0)), nil
	case *array.Uint64:
		return a.Value(0), nil
	case *array.Float16:
		return float64(a.Value(0).Float32()), nil
	case *array.Float32:
		return float64(a.Value(0)), nil
	case *array.Float64:
		return a.Value(0), nil
	}
	return parameterOf(a)
}

// parameterOf is about texts, bytes, times and decimals.
func parameterOf(a arrow.Array) (any, error) {
	switch a := a.(type) {
	case array.StringLike:
		return string([]byte(a.Value(0))), nil // not the handle's own memory
	case interface{ Value(int) []byte }: // the kinds of binaries
		return bytes.Clone(a.Value(0)), nil
	case *array.Date32:
		return a.Value(0), nil
	case *array.Date64:
		return arrow.Date32FromTime(a.Value(0).ToTime()), nil
	case *array.Timestamp:
		kind := a.DataType().(*arrow.TimestampType)
		moment := a.Value(0).ToTime(kind.Unit)
		if kind.TimeZone != "" {
			return moment.UTC(), nil
		}
		return arrow.Timestamp(moment.UnixMicro()), nil
	case *array.Time32:
		unit := a.DataType().(*arrow.Time32Type).Unit
		return arrow.Time64(time.Duration(a.Value(0)) * unit.Multiplier() / time.Microsecond), nil
	case *array.Time64:
		unit := a.DataType().(*arrow.Time64Type).Unit
		return arrow.Time64(time.Duration(a.Value(0)) * unit.Multiplier() / time.Microsecond), nil
	case *array.Decimal128:
		kind := a.DataType().(*arrow.Decimal128Type)
		return Decimal{a.Value(0).BigInt(), kind.Precision, kind.Scale}, nil
	case *array.Dictionary:
		at := a.GetValueIndex(0)
		value := array.NewSlice(a.Dictionary(), int64(at), int64(at)+1)
		defer value.Release()
		return parameter(value)
	case array.ExtensionArray:
		return parameter(a.Storage())
	}
	return nil, fmt.Errorf("a value of type %s cannot be one", a.DataType())
}

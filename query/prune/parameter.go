package prune

import (
	"math"
	"math/big"
	"time"
)

// OfParameter is a parameter of a query as the engine gets it.
func OfParameter(v any) Constant {
	switch v := v.(type) {
	case bool:
		return Constant{Value: OfBool(v)}
	case int64:
		return Constant{Value: OfInt(v)}
	case uint64:
		if v <= math.MaxInt64 {
			return Constant{Value: OfInt(int64(v))}
		}
		return Constant{Value: OfRat(new(big.Rat).SetUint64(v))}
	case float64:
		return Constant{Value: OfFloat(v)}
	case []byte:
		return Constant{Value: OfBytes(v)}
	case time.Time:
		return Constant{Value: OfTime(v.UnixMicro())}
	case string:
		c := Constant{Value: OfText(v)}
		// The engine reads more forms than this one, but this one alike.
		if t, err := time.Parse(time.RFC3339, v); err == nil && t.Nanosecond()%1000 == 0 {
			c.AsTime = OfTime(t.UnixMicro())
		}
		return c
	}
	return Constant{}
}

package query

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/query/engine"
)

// parametersOf reads positional parameters. Each keeps the type that JSON gives
// it, and integers all their digits.
func parametersOf(texts []json.RawMessage) ([]any, error) {
	values := make([]any, len(texts))
	for i, text := range texts {
		var err error
		if values[i], err = parameterOf(text); err != nil {
			return nil, badRequest(fmt.Sprintf("parameter %d: %v", i+1, err))
		}
	}
	return values, nil
}

func parameterOf(text json.RawMessage) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case json.Number:
		return numberOf(v.String())
	case map[string]any:
		if encoded, ok := v["$binary"].(string); ok && len(v) == 1 {
			return base64.StdEncoding.DecodeString(encoded)
		}
		return nil, errors.New(`an object is no value, but for {"$binary": "<base64>"}`)
	case []any:
		return nil, errors.New("an array is no value: give its elements one by one, [$1, $2]")
	default:
		return v, nil // null, a boolean or a text
	}
}

// integerDigits are the most that DuckDB's decimals have.
const integerDigits = 38

// numberOf reads a number of JSON: one without a point and exponent is an
// integer.
func numberOf(text string) (any, error) {
	if strings.ContainsAny(text, ".eE") {
		return strconv.ParseFloat(text, 64)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	digits := len(strings.TrimPrefix(text, "-"))
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || digits > integerDigits {
		return nil, fmt.Errorf("an integer has at most %d digits", integerDigits)
	}
	return engine.Decimal{Unscaled: n, Precision: uint8(digits)}, nil
}

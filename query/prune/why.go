package prune

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Why says, for people, which condition no row with these facts can satisfy; ""
// when May is true.
func Why(p Predicate, v Values, f Facts) string {
	if May(p, v, f) {
		return ""
	}
	switch p := p.(type) {
	case And:
		for _, q := range p {
			if why := Why(q, v, f); why != "" {
				return why
			}
		}
	case Or:
		if len(p) == 0 {
			return "no row is asked for"
		}
		var parts []string
		for _, q := range p {
			if why := Why(q, v, f); why != "" && len(parts) < partsMax {
				parts = append(parts, why)
			}
		}
		return strings.Join(parts, ", ")
	case Compare:
		return p.Column + operators[p.Op] + v.at(p.Constant).String() + ": " + has(f, p.Column, p.Op, v.at(p.Constant), p.Cut > 0)
	case In:
		return p.Column + " IN (…): " + has(f, p.Column, Equal, v.at(p.Constants[0]), false)
	case IsNull:
		return p.Column + " IS NULL: it is never null"
	case NotNull:
		return p.Column + " IS NOT NULL: it is always null"
	}
	return ""
}

// partsMax bounds an explanation.
const partsMax = 3

var operators = map[Op]string{Equal: " = ", Less: " < ", LessEqual: " <= ", Greater: " > ", GreaterEqual: " >= "}

// has says what of a column is known that speaks against a comparison.
func has(f Facts, column string, op Op, c Constant, cut bool) string {
	fact, _ := f.Column(column)
	switch {
	case fact.Nulls == OnlyNulls:
		return "it is always null"
	case fact.Bounded && (cut || !fact.within(op, c.as(fact.Kind))):
		return "it is " + fact.Min.String() + " to " + fact.Max.String()
	}
	return "its bloom filter does not have it"
}

// String writes a value for people, shortened.
func (v Value) String() string {
	switch v.Kind {
	case Int:
		return strconv.FormatInt(v.Int64, 10)
	case Number:
		return strconv.FormatFloat(v.Float, 'g', -1, 64)
	case Bool:
		return strconv.FormatBool(v.Int64 != 0)
	case Time:
		return time.UnixMicro(v.Int64).UTC().Format(time.RFC3339Nano)
	case Text, Binary:
		const shown = 40
		b := v.Bytes
		cut := ""
		if len(b) > shown {
			b, cut = b[:shown], "…"
		}
		if !utf8.Valid(v.Bytes) {
			return "x'" + hex.EncodeToString(b) + cut + "'"
		}
		return fmt.Sprintf("'%s%s'", strings.ToValidUTF8(string(b), ""), cut)
	}
	return "?"
}

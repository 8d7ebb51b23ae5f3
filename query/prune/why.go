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
		return p.Column + operators[p.Op] + v.at(p.Constant).String() + " is not in " + has(f, p.Column)
	case In:
		return p.Column + " IN (…) is not in " + has(f, p.Column)
	case IsNull:
		return p.Column + " is never null"
	case NotNull:
		return p.Column + " is always null"
	}
	return ""
}

// partsMax bounds an explanation.
const partsMax = 3

var operators = map[Op]string{Equal: " = ", Less: " < ", LessEqual: " <= ", Greater: " > ", GreaterEqual: " >= "}

// has says what is known of a column.
func has(f Facts, column string) string {
	fact, _ := f.Column(column)
	switch {
	case fact.Nulls == OnlyNulls:
		return "a column of nulls"
	case fact.Bounded:
		return fact.Min.String() + " to " + fact.Max.String()
	}
	return "the bloom filter"
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

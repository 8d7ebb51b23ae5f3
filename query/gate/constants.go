package gate

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/query/prune"
)

// constant is an expression without columns that a column is compared with.
type constant struct {
	node      object
	asTime    bool // a text that would be a time beside a column of times
	parameter int  // from 1; 0: it is known, or node is to be evaluated
	known     prune.Value
}

// Constants are those of a plan's predicates. The engine evaluates them, so that
// they are what they are in the query.
type Constants struct {
	// SQL answers one row; empty: there is nothing to evaluate.
	SQL  string
	list []constant
}

// Values are the constants in the places that the predicates name, given the row
// that SQL answers and the query's parameters.
func (c *Constants) Values(row []prune.Value, parameters []any) prune.Values {
	values := make(prune.Values, len(c.list))
	next := func() (v prune.Value) {
		if len(row) > 0 {
			v, row = row[0], row[1:]
		}
		return v
	}
	for i, k := range c.list {
		if k.parameter > 0 {
			if k.parameter <= len(parameters) {
				values[i] = prune.OfParameter(parameters[k.parameter-1])
			}
			continue
		}
		if k.known.Kind != prune.Unknown {
			values[i].Value = k.known
			continue
		}
		values[i].Value = next()
		if k.asTime {
			values[i].AsTime = next()
		}
	}
	return values
}

// printConstants makes the query that evaluates them, and checks it as any other.
func printConstants(ctx context.Context, parser Parser, all []constant) (Constants, error) {
	out := Constants{list: all}
	var items []any
	for _, k := range all {
		if k.parameter > 0 || k.known.Kind != prune.Unknown {
			continue
		}
		items = append(items, k.node)
		if k.asTime {
			items = append(items, object{
				"class": "CAST", "type": "OPERATOR_CAST", "alias": "", "query_location": 0, "child": k.node,
				"cast_type": object{"id": "TIMESTAMP WITH TIME ZONE", "type_info": nil}, "try_cast": true,
			})
		}
	}
	if len(items) == 0 {
		return out, nil
	}
	statement := object{"named_param_map": []any{}, "node": object{
		"type": "SELECT_NODE", "modifiers": []any{}, "cte_map": object{"map": []any{}}, "select_list": items,
		"from_table":   object{"type": "EMPTY", "alias": "", "sample": nil, "query_location": 0},
		"where_clause": nil, "group_expressions": []any{}, "group_sets": []any{}, "aggregate_handling": "STANDARD_HANDLING",
		"having": nil, "sample": nil, "qualify": nil,
	}}
	var err error
	if out.SQL, err = print(ctx, parser, statement); err != nil {
		return Constants{}, err
	}
	return out, verify(ctx, parser, out.SQL, nil)
}

// constantOf takes in an expression that is the same for every row, and returns
// its place. What moves with the clock is taken only where it may be a little
// older than the query's own.
func (p *reader) constantOf(e object, mayLag bool) (place int, ok bool) {
	k := constant{node: e}
	switch {
	case text(e, "class") == "PARAMETER":
		if k.parameter, ok = parameterNumber(e); !ok {
			return 0, false
		}
	case isConstant(e, 0):
		k.known = integerOf(e)
		k.asTime = text(child(child(e, "value"), "type"), "id") == "VARCHAR"
	case !mayLag || !p.isClock(e, 0):
		return 0, false
	}
	p.constants = append(p.constants, k)
	return len(p.constants) - 1, true
}

// integerOf is the value of a plain integer, which needs no engine.
func integerOf(e object) prune.Value {
	value := child(e, "value")
	n, ok := value["value"].(json.Number)
	switch text(child(value, "type"), "id") {
	case "INTEGER", "BIGINT", "INTEGER_LITERAL":
		if i, err := n.Int64(); ok && err == nil {
			return prune.OfInt(i)
		}
	}
	return prune.Value{}
}

// parametersMax bounds the numbers of parameters: $1000000000 alone would ask
// for as many values.
const parametersMax = 1000

// parameter checks how a query names a parameter.
func parameter(name string) error {
	if n, err := strconv.Atoi(name); err != nil || n < 1 || n > parametersMax {
		return invalid("parameter $%s: parameters are ? or $1 to $%d", name, parametersMax)
	}
	return nil
}

func parameterNumber(e object) (int, bool) {
	n, err := strconv.Atoi(text(e, "identifier"))
	return n, err == nil && n > 0
}

// constantDepth bounds what is called a constant.
const constantDepth = 12

// pure are functions of constants that are worth evaluating: each is cheap, and
// small whatever its arguments.
var pure = set("-", "to_timestamp", "make_timestamp", "make_timestamptz", "make_date", "epoch_ms", "encode", "unhex", "from_hex",
	"to_seconds", "to_minutes", "to_hours", "to_days", "to_weeks", "to_months", "to_years", "to_milliseconds", "to_microseconds", "trunc")

// isConstant reports whether e is made of literals.
func isConstant(e object, depth int) bool {
	if depth > constantDepth {
		return false
	}
	switch text(e, "class") {
	case "CONSTANT":
		null, _ := child(e, "value")["is_null"].(bool)
		return !null && plainTypes[text(child(child(e, "value"), "type"), "id")]
	case "CAST":
		return plainTypes[text(child(e, "cast_type"), "id")] && isConstant(child(e, "child"), depth+1)
	case "FUNCTION":
		return pure[strings.ToLower(text(e, "function_name"))] && !slices.ContainsFunc(list(e, "children"), func(c any) bool {
			argument, _ := c.(object)
			return !isConstant(argument, depth+1)
		})
	}
	return false
}

// isClock reports whether e grows with the clock: now(), cast to a date or a time,
// cut by date_trunc, moved by an interval. The words of standard SQL look like
// columns, and are some in a table that has them.
func (p *reader) isClock(e object, depth int) bool {
	if depth > constantDepth {
		return false
	}
	var arguments []object
	for _, c := range list(e, "children") {
		argument, _ := c.(object)
		arguments = append(arguments, argument)
	}
	switch text(e, "class") {
	case "COLUMN_REF":
		word := strings.ToLower(lastName(e))
		if len(list(e, "column_names")) == 1 && (word == "current_timestamp" || word == "current_date") {
			p.words[word] = true
			return true
		}
	case "CAST":
		switch text(child(e, "cast_type"), "id") {
		case "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
			return p.isClock(child(e, "child"), depth+1)
		}
	case "FUNCTION":
		switch strings.ToLower(text(e, "function_name")) {
		case "now", "transaction_timestamp", "get_current_timestamp", "current_date", "today":
			return len(arguments) == 0
		case "+", "-":
			return len(arguments) == 2 && p.isClock(arguments[0], depth+1) && isConstant(arguments[1], depth+1)
		case "date_trunc", "datetrunc":
			return len(arguments) == 2 && isConstant(arguments[0], depth+1) && p.isClock(arguments[1], depth+1)
		}
	}
	return false
}

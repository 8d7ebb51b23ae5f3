package gate

import (
	"encoding/json"
	"strings"

	"github.com/chronik-stream/chronik/query/prune"
)

// first recognises the query that wants some rows of one table as they are: no
// WHERE, no groups, nothing but a LIMIT and maybe an ORDER BY on a column that
// manifests know. Such queries come first when somebody looks at a topic, and
// shall not read all of it.
func (w *walker) first(statement object) (f prune.First, ok bool) {
	node := child(statement, "node")
	// A table without the schema of topics is a CTE, which may leave out rows.
	if len(w.uses) != 1 || text(child(node, "from_table"), "schema_name") != Schema || text(node, "type") != "SELECT_NODE" || text(child(node, "from_table"), "type") != "BASE_TABLE" ||
		text(node, "aggregate_handling") != "STANDARD_HANDLING" || child(node, "from_table")["sample"] != nil {
		return f, false
	}
	for _, field := range []string{"where_clause", "group_expressions", "group_sets", "having", "qualify", "sample"} {
		if !isUnused(node[field]) {
			return f, false
		}
	}
	for _, item := range list(node, "select_list") {
		if e, _ := item.(object); !isRowwise(e, 0) {
			return f, false
		}
	}
	for _, m := range list(node, "modifiers") {
		modifier, _ := m.(object)
		switch text(modifier, "type") {
		case "LIMIT_MODIFIER":
			limit, ok := plainNumber(modifier, "limit", -1)
			offset, okOffset := plainNumber(modifier, "offset", 0)
			if f.Rows = limit + offset; !ok || !okOffset || limit < 0 || offset < 0 || f.Rows <= 0 {
				return f, false
			}
		case "ORDER_MODIFIER":
			if f.Column, f.Descending, ok = firstOrder(node, modifier); !ok {
				return f, false
			}
		default:
			return f, false
		}
	}
	return f, f.Rows > 0
}

// plainNumber reads a LIMIT or OFFSET that is a literal; missing when it is not
// there.
func plainNumber(modifier object, field string, missing int64) (int64, bool) {
	if modifier[field] == nil {
		return missing, true
	}
	e := child(modifier, field)
	n, ok := child(e, "value")["value"].(json.Number)
	if !ok || text(e, "class") != "CONSTANT" {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

// firstOrder is the column by which an ORDER BY sorts first. The name may be an
// alias of the select list, which comes before the columns.
func firstOrder(node, modifier object) (column string, descending, ok bool) {
	orders := list(modifier, "orders")
	if len(orders) == 0 {
		return "", false, false
	}
	order, _ := orders[0].(object)
	by := child(order, "expression")
	if text(by, "class") != "COLUMN_REF" {
		return "", false, false
	}
	name := lastName(by)
	for _, item := range list(node, "select_list") {
		e, _ := item.(object)
		if !strings.EqualFold(text(e, "alias"), name) || len(list(by, "column_names")) > 1 {
			continue
		}
		if text(e, "class") != "COLUMN_REF" {
			return "", false, false
		}
		name = lastName(e)
		break
	}
	switch text(order, "type") {
	case "ORDER_DEFAULT", "ASCENDING":
	case "DESCENDING":
		descending = true
	default:
		return "", false, false
	}
	name = strings.ToLower(name)
	return name, descending, name == "_offset" || name == "_timestamp"
}

// rowwise are functions that make one value of the values of one row.
var rowwise = set("+", "-", "*", "/", "//", "%", "||", "~~", "!~~", "~~*", "abs", "round", "floor", "ceil", "length", "strlen", "lower", "upper",
	"substr", "substring", "left", "right", "trim", "replace", "concat", "split_part", "decode_utf8", "decode", "encode", "hex", "base64",
	"json_extract", "json_extract_string", "json_extract_int", "json_extract_float", "date_trunc", "date_part", "strftime", "epoch_ms", "epoch_us", "epoch",
	"vector_distance", "year", "month", "day", "hour", "minute", "second", "to_timestamp", "element_at", "map_keys", "map_values", "greatest", "least")

// isRowwise reports whether an expression of a select list has one value for each
// row, whatever the other rows are.
func isRowwise(e object, depth int) bool {
	if depth > constantDepth {
		return false
	}
	all := func(fields ...any) bool {
		for _, v := range fields {
			if part, isNode := v.(object); v != nil && (!isNode || !isRowwise(part, depth+1)) {
				return false
			}
		}
		return true
	}
	switch text(e, "class") {
	case "COLUMN_REF", "CONSTANT":
		return true
	case "STAR":
		return isUnused(e["expr"]) && isUnused(e["columns"]) && isUnused(e["replace_list"]) && isUnused(e["rename_list"])
	case "CAST":
		return all(e["child"])
	case "COMPARISON":
		return all(e["left"], e["right"])
	case "OPERATOR":
		return text(e, "type") != "OPERATOR_UNPACK" && text(e, "type") != "GROUPING_FUNCTION" && all(list(e, "children")...)
	case "FUNCTION":
		return rowwise[strings.ToLower(text(e, "function_name"))] && all(list(e, "children")...)
	}
	return false
}

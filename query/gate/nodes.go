package gate

import (
	"encoding/json"
	"strconv"
)

// object is a JSON object of the syntax tree.
type object = map[string]any

// role says what the walker does with a field of a node.
type role int

const (
	plain       role = iota // text, number or flag without a say in what is read
	expression              // an expression, or null
	expressions             // a list of them
	orders                  // a list of {type, null_order, expression}
	unused                  // null, empty or false in every query that is allowed
	special                 // the node's own code looks at it
)

// shape lists the fields of one kind of node. A field that is not in the list
// refuses the query: it means something that this code does not know.
type shape map[string]role

// queryShapes are the nodes that answer rows.
var queryShapes = map[string]shape{
	"SELECT_NODE": {
		"type": plain, "modifiers": special, "cte_map": special, "select_list": special, "from_table": special,
		"where_clause": expression, "group_expressions": expressions, "group_sets": plain, "aggregate_handling": plain,
		"having": expression, "sample": special, "qualify": expression,
	},
	"SET_OPERATION_NODE": {
		"type": plain, "modifiers": special, "cte_map": special, "setop_type": plain, "setop_all": plain,
		"left": special, "right": special,
	},
	"RECURSIVE_CTE_NODE": {
		"type": plain, "modifiers": special, "cte_map": special, "cte_name": special, "union_all": plain,
		"left": special, "right": special, "aliases": special, "key_targets": expressions,
	},
}

// cteShape is an entry of a WITH clause.
var cteShape = shape{"aliases": special, "query": special, "materialized": plain, "key_targets": expressions}

// modifierShapes are ORDER BY, LIMIT and DISTINCT.
var modifierShapes = map[string]shape{
	"ORDER_MODIFIER":         {"type": plain, "orders": orders},
	"LIMIT_MODIFIER":         {"type": plain, "limit": expression, "offset": expression},
	"LIMIT_PERCENT_MODIFIER": {"type": plain, "limit": expression, "offset": expression},
	"DISTINCT_MODIFIER":      {"type": plain, "distinct_on_targets": expressions},
}

// tableShapes are the entries of a FROM clause.
var tableShapes = map[string]shape{
	"EMPTY": {"type": plain, "alias": plain, "sample": special, "query_location": plain},
	"BASE_TABLE": {
		"type": plain, "alias": plain, "sample": special, "query_location": plain, "column_name_alias": special,
		"schema_name": special, "table_name": special, "catalog_name": special, "at_clause": unused,
	},
	"SUBQUERY": {
		"type": plain, "alias": plain, "sample": special, "query_location": plain, "column_name_alias": special,
		"subquery": special,
	},
	"JOIN": {
		"type": plain, "alias": plain, "sample": special, "query_location": plain, "left": special, "right": special,
		"condition": special, "join_type": plain, "ref_type": plain, "using_columns": special,
		"delim_flipped": unused, "duplicate_eliminated_columns": unused,
	},
	"TABLE_FUNCTION": {
		"type": plain, "alias": plain, "sample": special, "query_location": plain, "column_name_alias": special,
		"function": special, "with_ordinality": plain,
	},
	"EXPRESSION_LIST": {
		"type": plain, "alias": plain, "sample": special, "query_location": plain, "column_name_alias": special,
		"expected_names": special, "expected_types": unused, "values": special,
	},
}

// listFields are special fields that always hold a list.
var listFields = set("select_list", "modifiers", "children", "values", "case_checks", "using_columns", "column_names",
	"exclude_list", "replace_list", "rename_list", "qualified_exclude_list", "column_name_alias", "expected_names", "aliases")

// refusedTables explains entries of a FROM clause that people do try.
var refusedTables = map[string]string{
	"SHOW_REF": "SHOW, DESCRIBE and SUMMARIZE are no queries here: GET /_sql/tables lists the tables, GET /_sql/describe/{table} their columns",
	"PIVOT":    withoutPivot,
}

const withoutPivot = "PIVOT and UNPIVOT are not supported: for PIVOT write an aggregate with FILTER (WHERE …) for each column, for UNPIVOT unnest([…])"

// refusedStatements explains statements that people do try, by their first word.
var refusedStatements = map[string]string{
	"PIVOT": withoutPivot, "PIVOT_WIDER": withoutPivot, "UNPIVOT": withoutPivot, "PIVOT_LONGER": withoutPivot,
	"EXPLAIN": "EXPLAIN is no query here: POST /_sql/explain shows the plan",
}

// refusedTypes explains types that people do try.
var refusedTypes = map[string]string{
	"ENUM":  "type ENUM is not available in a query: use VARCHAR; array_position(['low', 'high'], x) orders by a list",
	"UNION": "type UNION is not available in a query: use a STRUCT with a field for each type, or VARCHAR",
}

// expressionShapes are the expressions, by class.
var expressionShapes = map[string]shape{
	"BETWEEN":     base(shape{"input": expression, "lower": expression, "upper": expression}),
	"CASE":        base(shape{"case_checks": special, "else_expr": expression}),
	"CAST":        base(shape{"child": expression, "cast_type": special, "try_cast": plain}),
	"COLLATE":     base(shape{"child": expression, "collation": plain}),
	"COLUMN_REF":  base(shape{"column_names": special}),
	"COMPARISON":  base(shape{"left": expression, "right": expression}),
	"CONJUNCTION": base(shape{"children": expressions}),
	"CONSTANT":    base(shape{"value": special}),
	"FUNCTION": base(shape{
		"function_name": special, "schema": special, "catalog": unused, "children": special, "filter": expression,
		"order_bys": special, "distinct": plain, "is_operator": plain, "export_state": unused,
	}),
	"LAMBDA":               base(shape{"lhs": special, "expr": special}),
	"OPERATOR":             base(shape{"children": expressions}),
	"PARAMETER":            base(shape{"identifier": special}),
	"POSITIONAL_REFERENCE": base(shape{"index": plain}),
	"STAR": base(shape{
		"relation_name": plain, "exclude_list": special, "replace_list": special, "columns": plain,
		"expr": expression, "qualified_exclude_list": special, "rename_list": special,
	}),
	"SUBQUERY": base(shape{"subquery_type": plain, "subquery": special, "child": expression, "comparison_type": plain}),
	"WINDOW": base(shape{
		"function_name": special, "schema": special, "catalog": unused, "children": expressions, "partitions": expressions,
		"orders": orders, "start": plain, "end": plain, "start_expr": expression, "end_expr": expression,
		"offset_expr": expression, "default_expr": expression, "ignore_nulls": plain, "filter_expr": expression,
		"exclude_clause": plain, "distinct": plain, "arg_orders": orders,
	}),
}

// base adds the fields that every expression has.
func base(s shape) shape {
	for _, field := range []string{"class", "type", "alias", "query_location"} {
		s[field] = plain
	}
	return s
}

// operators are the types of OPERATOR nodes: syntax, not functions.
var operators = set(
	"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "OPERATOR_NULLIF", "OPERATOR_TRY",
	"OPERATOR_UNPACK", "COMPARE_IN", "COMPARE_NOT_IN", "ARRAY_EXTRACT", "ARRAY_SLICE", "ARRAY_CONSTRUCTOR",
	"STRUCT_EXTRACT", "GROUPING_FUNCTION",
)

// plainTypes are the types of constants and casts that hold no other type.
var plainTypes = set(
	"NULL", "SQLNULL", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
	"UBIGINT", "UHUGEINT", "BIGNUM", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "BIT", "UUID", "DATE", "TIME", "TIME_NS",
	"TIME WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "INTERVAL",
	"INTEGER_LITERAL", "STRING_LITERAL",
)

// nestedTypes hold other types, in the field named here.
var nestedTypes = map[string]string{"LIST": "child_type", "ARRAY": "child_type", "MAP": "child_type", "STRUCT": "child_types"}

// lambdaFunctions take a lambda, which the parser cannot tell from the ->
// operator of JSON: anywhere else an arrow is that operator.
var lambdaFunctions = set(
	"list_transform", "list_apply", "array_transform", "array_apply", "apply",
	"list_filter", "array_filter", "filter", "list_reduce", "array_reduce", "reduce",
)

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// text, list and child read a field of any JSON type; a field of another type
// reads as empty, which no check takes for permission.
func text(n object, field string) string { s, _ := n[field].(string); return s }

func list(n object, field string) []any { l, _ := n[field].([]any); return l }

func child(n object, field string) object { o, _ := n[field].(object); return o }

// texts reads a list of strings; ok is false when one of them is not.
func texts(n object, field string) (words []string, ok bool) {
	for _, v := range list(n, field) {
		s, isText := v.(string)
		if !isText {
			return nil, false
		}
		words = append(words, s)
	}
	return words, true
}

// isUnused reports whether v is the value of a field that a query did not use.
func isUnused(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}

// limitRows makes the statement answer at most rowsMax rows, by the LIMIT of
// its outermost node. A LIMIT that is not a plain number stays as it is.
func limitRows(statement object, rowsMax int64) error {
	if rowsMax < 0 {
		return nil
	}
	node := child(statement, "node")
	modifiers := list(node, "modifiers")
	bound := object{
		"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "query_location": json.Number("0"),
		"value": object{
			"type":    object{"id": "BIGINT", "type_info": nil},
			"is_null": false, "value": json.Number(strconv.FormatInt(rowsMax, 10)),
		},
	}
	for _, m := range modifiers {
		modifier, ok := m.(object)
		if !ok {
			return invalid("unexpected modifier")
		}
		switch text(modifier, "type") {
		case "LIMIT_PERCENT_MODIFIER":
			return nil
		case "LIMIT_MODIFIER":
			if modifier["limit"] == nil {
				modifier["limit"] = bound
			} else if n, ok := child(child(modifier, "limit"), "value")["value"].(json.Number); ok {
				if rows, err := n.Int64(); err == nil && rows > rowsMax {
					modifier["limit"] = bound
				}
			}
			return nil
		}
	}
	node["modifiers"] = append(modifiers, object{"type": "LIMIT_MODIFIER", "limit": bound, "offset": nil})
	return nil
}

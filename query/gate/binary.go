package gate

import (
	"slices"
	"strings"
)

// Keys, values and values of headers are binary. Most people put text into them,
// and write `key LIKE 'a%'` or `value || '!'`. The engine refuses the one, and
// makes of the other a text with \xC3 for what is not ASCII. So where binary of a
// topic stands as an argument of a function of text, or is cast to a type that is
// read from text, it is decoded: what is no UTF-8 is null, as with decode_utf8.

// ofText are the functions that take text, and have no use for binary as such.
var ofText = set(
	"||", "~~", "!~~", "~~*", "!~~*", "~~~", "^@", "like_escape", "ilike_escape", "not_like_escape", "not_ilike_escape",
	"array_extract", "ascii", "bar", "bit_length", "char_length", "character_length", "concat", "concat_ws", "contains", "damerau_levenshtein",
	"editdist3", "ends_with", "format", "group_concat", "hamming", "ilike", "instr", "jaccard", "jaro_similarity", "jaro_winkler_similarity",
	"json_array", "json_group_array", "json_group_object", "json_merge_patch", "json_object", "json_quote",
	"lcase", "left", "left_grapheme", "len", "length", "length_grapheme", "levenshtein", "listagg", "lower", "lpad", "ltrim", "mismatches",
	"nfc_normalize", "ord", "parse_dirname", "parse_dirpath", "parse_filename", "parse_formatted_bytes", "parse_path", "position", "prefix",
	"printf", "regexp_escape", "regexp_extract", "regexp_extract_all", "regexp_full_match", "regexp_matches", "regexp_replace",
	"regexp_split_to_array", "replace", "reverse", "right", "right_grapheme", "rpad", "rtrim", "split", "split_part", "starts_with",
	"str_split", "str_split_regex", "string_agg", "string_split", "string_split_regex", "string_to_array", "strip_accents", "strlen",
	"strpos", "strptime", "substr", "substring", "substring_grapheme", "suffix", "to_json", "translate", "trim", "try_strptime", "ucase",
	"unicode", "upper", "url_decode", "url_encode",
)

// decodes puts decode_utf8 around binary in an expression of text, whose parts
// have been walked.
func decodes(n object, class string, s *scope) {
	switch {
	case class == "FUNCTION" && ofText[strings.ToLower(text(n, "function_name"))]:
		for i, c := range list(n, "children") {
			if argument, _ := c.(object); isBinary(argument, s) {
				list(n, "children")[i] = textOf(argument, s)
			}
		}
	case class == "OPERATOR" && (text(n, "type") == "ARRAY_EXTRACT" || text(n, "type") == "ARRAY_SLICE"):
		// key[1]: a character of a text.
		if of, _ := first(list(n, "children")).(object); isBinary(of, s) {
			list(n, "children")[0] = textOf(of, s)
		}
	case class == "CAST":
		switch text(child(n, "cast_type"), "id") {
		case "BLOB", "BIT":
			return
		}
		if of := child(n, "child"); isBinary(of, s) {
			n["child"] = textOf(of, s)
		}
	}
}

func first(l []any) any {
	if len(l) == 0 {
		return nil
	}
	return l[0]
}

// textOf decodes binary, of an aggregate what goes into it: decode_utf8 takes no
// aggregates.
func textOf(e object, s *scope) object {
	if kind := text(e, "type"); (kind == "OPERATOR_COALESCE" || kind == "OPERATOR_NULLIF") && !allBinary(e, s) {
		for i, c := range list(e, "children") {
			if argument, _ := c.(object); isBinary(argument, s) {
				list(e, "children")[i] = textOf(argument, s)
			}
		}
		return e
	}
	if text(e, "class") == "FUNCTION" && passing[strings.ToLower(text(e, "function_name"))] {
		argument, _ := first(list(e, "children")).(object)
		list(e, "children")[0] = textOf(argument, s)
		return e
	}
	return decoded(e)
}

// allBinary reports whether all arguments are binary: then the one that is not
// null is decoded, and no other takes its place when it is no UTF-8.
func allBinary(e object, s *scope) bool {
	return !slices.ContainsFunc(list(e, "children"), func(c any) bool {
		argument, _ := c.(object)
		return !isBinary(argument, s)
	})
}

// decoded is a call of decode_utf8.
func decoded(e object) object {
	return object{
		"class": "FUNCTION", "type": "FUNCTION", "alias": "", "query_location": e["query_location"],
		"function_name": "decode_utf8", "schema": "", "catalog": "", "children": []any{e}, "filter": nil,
		"order_bys": object{"type": "ORDER_MODIFIER", "orders": []any{}}, "distinct": false, "is_operator": false, "export_state": false,
	}
}

// passing are the aggregates that answer one of the values of their argument.
var passing = set("any_value", "arbitrary", "first", "last", "max", "min", "mode")

// isBinary reports whether an expression is a topic's key, its value, or the value
// of a header, or one of several such.
func isBinary(e object, s *scope) bool {
	switch kind := text(e, "type"); {
	case text(e, "class") == "OPERATOR" && kind == "ARRAY_EXTRACT":
		of, _ := first(list(e, "children")).(object)
		return s.topicColumn(of) == "_headers"
	case text(e, "class") == "FUNCTION" && passing[strings.ToLower(text(e, "function_name"))]:
		argument, _ := first(list(e, "children")).(object)
		return isBinary(argument, s)
	case kind == "OPERATOR_COALESCE" || kind == "OPERATOR_NULLIF":
		return slices.ContainsFunc(list(e, "children"), func(c any) bool {
			argument, _ := c.(object)
			return isBinary(argument, s)
		})
	}
	column := s.topicColumn(e)
	return column == "_key" || column == "_value"
}

// topicColumn is the system column of a topic that an expression is, or "".
func (s *scope) topicColumn(e object) string {
	names, ok := texts(e, "column_names")
	if text(e, "class") != "COLUMN_REF" || !ok || len(names) == 0 || len(names) > 2 {
		return ""
	}
	relation, name := "", strings.ToLower(names[len(names)-1])
	if len(names) == 2 {
		relation = strings.ToLower(names[0])
	}
	for at := s; at != nil; at = at.outer {
		if relation == "" && (at.params[name] || at.aliases[name]) {
			return ""
		}
		found := ""
		for _, src := range at.sources {
			if !src.columns.has(name) || (relation != "" && src.name != relation) {
				continue
			}
			column, known := src.column(name)
			if src.use == nil || !known {
				return ""
			}
			found = column
		}
		if found != "" {
			return found
		}
	}
	return ""
}

package gate

import (
	"maps"
	"strings"
)

// optional checks an expression that may be missing.
func (w *walker) optional(v any, s *scope) error {
	if v == nil {
		return nil
	}
	return w.expression(v, s)
}

func (w *walker) expressions(all []any, s *scope) error {
	for _, e := range all {
		if err := w.expression(e, s); err != nil {
			return err
		}
	}
	return nil
}

// orders checks the entries of an ORDER BY.
func (w *walker) orders(all []any, s *scope) error {
	for _, o := range all {
		order, ok := o.(object)
		if !ok {
			return invalid("ORDER BY has an entry that is no expression")
		}
		if err := w.fields(order, "ORDER BY", shape{"type": plain, "null_order": plain, "expression": expression}, s); err != nil {
			return err
		}
	}
	return nil
}

// expression checks one expression and everything in it.
func (w *walker) expression(v any, s *scope) error {
	leave, err := w.enter()
	if err != nil {
		return err
	}
	defer leave()

	n, ok := v.(object)
	if !ok {
		return invalid("an expression is missing")
	}
	if text(n, "class") == "LAMBDA" && w.rewrite {
		if err := arrow(n); err != nil {
			return err
		}
	}
	class := text(n, "class")
	known, ok := expressionShapes[class]
	if !ok {
		return invalid("%s expressions are not supported", strings.ToLower(class))
	}
	if err := w.content(n, class, s); err != nil {
		return err
	}
	if err := w.fields(n, "an expression", known, s); err != nil {
		return err
	}
	if w.rewrite {
		decodes(n, class, s)
	}
	return nil
}

// arrow makes the operator -> of JSON a call. The parser takes it for a lambda
// wherever it stands; those in their place are walked by function.
func arrow(n object) error {
	if err := weaklyBound("->", child(n, "lhs"), child(n, "expr")); err != nil {
		return err
	}
	call := decoded(child(n, "lhs"))
	call["children"], call["function_name"] = []any{n["lhs"], n["expr"]}, "json_extract"
	call["alias"], call["query_location"] = n["alias"], n["query_location"]
	clear(n)
	maps.Copy(n, call)
	return nil
}

// weaklyBound refuses an operator of JSON that took a condition for its side: it
// binds less than people expect, and what they meant is not what it says.
func weaklyBound(operator string, sides ...any) error {
	for _, side := range sides {
		s, _ := side.(object)
		switch class := text(s, "class"); {
		case class == "COMPARISON", class == "CONJUNCTION", class == "BETWEEN", class == "FUNCTION" && strings.HasSuffix(text(s, "function_name"), "~~"):
			return invalid("%[1]s binds less than conditions do: put parentheses around it, as in … AND (value %[1]s 'city') = …", operator)
		}
	}
	return nil
}

// content checks the special fields of an expression.
func (w *walker) content(n object, class string, s *scope) error {
	switch class {
	case "COLUMN_REF":
		return w.columnRef(n, s)
	case "PARAMETER":
		return parameter(text(n, "identifier"))
	case "FUNCTION":
		return w.function(n, s)
	case "WINDOW":
		return w.functionName(n)
	case "OPERATOR":
		if !operators[text(n, "type")] {
			return invalid("operator %s is not supported", text(n, "type"))
		}
	case "CASE":
		for _, c := range list(n, "case_checks") {
			check, ok := c.(object)
			if !ok {
				return invalid("CASE has a branch that is no expression")
			}
			if err := w.fields(check, "CASE", shape{"when_expr": expression, "then_expr": expression}, s); err != nil {
				return err
			}
		}
	case "CAST":
		return w.dataType(child(n, "cast_type"))
	case "CONSTANT":
		return w.constant(child(n, "value"))
	case "STAR":
		return w.starNames(n, s)
	case "SUBQUERY":
		_, err := w.nested(child(n, "subquery"), s)
		return err
	case "LAMBDA":
		return invalid("a lambda stands where no function takes one")
	}
	return nil
}

// columnRef turns a short spelling into the column's name.
func (w *walker) columnRef(n object, s *scope) error {
	names, ok := texts(n, "column_names")
	if !ok || len(names) == 0 {
		return invalid("a column has an odd name")
	}
	if len(names) == 1 && volatile[strings.ToLower(names[0])] {
		w.volatile = true // CURRENT_DATE is parsed as a column, and means one where there is one
	}
	if !w.rewrite {
		return nil
	}
	at, long := 0, ""
	if len(names) > 1 && s.isRelation(names[0]) {
		at, long = 1, s.columnOf(names[0], names[1])
	} else {
		long = s.column(names[0])
	}
	if long != "" {
		list(n, "column_names")[at] = long
		names[at] = long
	}
	w.reads(names, s)
	return nil
}

// isRelation reports whether a relation of that name is in scope.
func (s *scope) isRelation(name string) bool {
	for at := s; at != nil; at = at.outer {
		for _, src := range at.sources {
			if src.name == strings.ToLower(name) {
				return true
			}
		}
	}
	return false
}

// function checks a call and its arguments.
func (w *walker) function(n object, s *scope) error {
	if text(n, "function_name") == "->>" && w.rewrite {
		if err := weaklyBound("->>", list(n, "children")...); err != nil {
			return err
		}
		// The engine's own operator answers NULL for a binary left side.
		n["function_name"], n["is_operator"] = "json_extract_string", false
	}
	if err := w.functionName(n); err != nil {
		return err
	}
	takesLambda := lambdaFunctions[strings.ToLower(text(n, "function_name"))]
	for _, c := range list(n, "children") {
		var err error
		if arg, _ := c.(object); takesLambda && text(arg, "class") == "LAMBDA" {
			err = w.lambda(arg, s)
		} else {
			err = w.expression(c, s)
		}
		if err != nil {
			return err
		}
	}
	return w.fields(child(n, "order_bys"), "ORDER BY in a call", modifierShapes["ORDER_MODIFIER"], s)
}

// functionName lets the functions of functions.txt pass.
func (w *walker) functionName(n object) error {
	name := text(n, "function_name")
	if schema := text(n, "schema"); schema != "" && schema != "main" {
		return invalid("%s.%s: functions are named without a schema, and called as %s(…)", schema, name, name)
	}
	lower := strings.ToLower(name)
	if allowed[lower] {
		w.volatile = w.volatile || volatile[lower]
		return nil
	}
	return invalid("function %s is not allowed in a query", lower)
}

// lambda checks the body of a lambda with its parameters in scope.
func (w *walker) lambda(n object, s *scope) error {
	leave, err := w.enter()
	if err != nil {
		return err
	}
	defer leave()

	params := map[string]bool{}
	lhs := child(n, "lhs")
	heads := []any{lhs}
	if text(lhs, "class") == "FUNCTION" && text(lhs, "function_name") == "row" {
		heads = list(lhs, "children")
		if err := w.fields(lhs, "a lambda", expressionShapes["FUNCTION"], s); err != nil {
			return err
		}
		if err := w.functionName(lhs); err != nil {
			return err
		}
	}
	for _, h := range heads {
		head, _ := h.(object)
		names, ok := texts(head, "column_names")
		if text(head, "class") != "COLUMN_REF" || !ok || len(names) != 1 {
			return invalid("a lambda's parameters are plain names")
		}
		if err := w.fields(head, "a lambda", expressionShapes["COLUMN_REF"], s); err != nil {
			return err
		}
		params[strings.ToLower(names[0])] = true
	}
	if err := w.expression(n["expr"], &scope{outer: s, params: params}); err != nil {
		return err
	}
	return w.fields(n, "a lambda", expressionShapes["LAMBDA"], s)
}

// starNames turns short spellings in EXCLUDE, REPLACE and RENAME into names.
func (w *walker) starNames(n object, s *scope) error {
	relation := text(n, "relation_name")
	if w.rewrite {
		readsAll(relation, s)
	}
	within := &scope{}
	for at := s; at != nil; at = at.outer {
		if len(at.sources) > 0 {
			within.sources = []source{{columns: at.star(relation)}}
			w.seesVectors(n, relation, at.sources)
			break
		}
	}
	long := func(name string) string {
		if c := within.column(name); w.rewrite && c != "" {
			return c
		}
		return name
	}
	excluded, ok := texts(n, "exclude_list")
	if !ok {
		return invalid("EXCLUDE has an entry that is no column")
	}
	for i, name := range excluded {
		list(n, "exclude_list")[i] = long(name)
	}
	for _, e := range list(n, "qualified_exclude_list") {
		entry, _ := e.(object)
		if entry != nil {
			entry["column"] = long(text(entry, "column"))
		}
	}
	for _, e := range list(n, "replace_list") {
		entry, ok := e.(object)
		if !ok {
			return invalid("REPLACE has an entry that is no expression")
		}
		if err := w.expression(entry["value"], s); err != nil {
			return err
		}
		entry["key"] = long(text(entry, "key"))
	}
	for _, e := range list(n, "rename_list") {
		entry, _ := e.(object)
		if key := child(entry, "key"); key != nil {
			key["column"] = long(text(key, "column"))
		}
	}
	return nil
}

// constant checks a literal's type; what it holds is data.
func (w *walker) constant(value object) error {
	if value == nil {
		return invalid("a literal without a value")
	}
	return w.dataType(child(value, "type"))
}

// dataType checks the type of a literal or a cast.
func (w *walker) dataType(t object) error {
	leave, err := w.enter()
	if err != nil {
		return err
	}
	defer leave()

	id, info := text(t, "id"), child(t, "type_info")
	if plainTypes[id] {
		return nil
	}
	switch nestedTypes[id] {
	case "child_type":
		return w.dataType(child(info, "child_type"))
	case "child_types":
		for _, c := range list(info, "child_types") {
			field, _ := c.(object)
			if err := w.dataType(child(field, "second")); err != nil {
				return err
			}
		}
		return nil
	}
	if name := text(info, "name"); name != "" {
		id = name
	}
	if strings.EqualFold(id, "JSON") {
		return nil
	}
	if why := refusedTypes[strings.ToUpper(id)]; why != "" {
		return invalid("%s", why)
	}
	return invalid("type %s is not available in a query", id)
}

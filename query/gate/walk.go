package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// walker checks a tree and, when rewrite is set, changes it in place.
type walker struct {
	names   *Names
	rewrite bool    // false: the tree is printed text that is checked again
	tables  []Table // bound so far; when rewrite is false, all that there are
	depth   int
	nodes   int
	// volatile: something that was walked is not settled by the records.
	volatile bool

	// What rewriting learns about what has to be read.
	uses      []*use
	columns   map[string]bool // every name in the query that may be a column's
	constants []constant
	words     map[string]bool // names that were taken for no columns
	stars     []star          // that stand for tables with vectors
}

// statement checks the tree of one statement.
func (w *walker) statement(n object) error {
	_, err := w.nested(n, nil)
	return err
}

// nested checks a whole SELECT statement: the query itself, or one within it.
func (w *walker) nested(n object, outer *scope) (columns, error) {
	for field := range n {
		if field != "node" && field != "named_param_map" {
			return nil, invalid("a statement with %q is not supported", field)
		}
	}
	for _, entry := range list(n, "named_param_map") {
		e, _ := entry.(object)
		if err := parameter(text(e, "key")); err != nil {
			return nil, err
		}
	}
	return w.query(child(n, "node"), outer)
}

// enter counts a node and its nesting; the caller defers the function it
// returns.
func (w *walker) enter() (leave func(), err error) {
	if w.nodes++; w.nodes > nodesMax {
		return nil, invalid("the query has more than %d parts", nodesMax)
	}
	if w.depth++; w.depth > depthMax {
		return nil, invalid("the query is nested more than %d deep", depthMax)
	}
	return func() { w.depth-- }, nil
}

// fields checks that n has no field that its shape does not list, and walks
// those that hold expressions.
func (w *walker) fields(n object, what string, known shape, s *scope) error {
	// In the order of their names, so that a query is always refused for the
	// same reason.
	for _, field := range slices.Sorted(maps.Keys(n)) {
		does, ok := known[field]
		if !ok {
			return invalid("%s with %q is not supported", what, field)
		}
		var err error
		if _, isList := n[field].([]any); !isList && (does == expressions || does == orders || listFields[field]) {
			return invalid("%s with an odd %q", what, field)
		}
		switch does {
		case expression:
			err = w.optional(n[field], s)
		case expressions:
			err = w.expressions(list(n, field), s)
		case orders:
			err = w.orders(list(n, field), s)
		case unused:
			if !isUnused(n[field]) {
				err = invalid("%s with %q is not supported", what, field)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// query checks one node that answers rows and returns its columns' names.
func (w *walker) query(n object, outer *scope) (columns, error) {
	leave, err := w.enter()
	if err != nil {
		return nil, err
	}
	defer leave()

	kind := text(n, "type")
	known, ok := queryShapes[kind]
	if !ok {
		return nil, invalid("only SELECT is allowed, not %s", kind)
	}
	s := &scope{outer: outer, ctes: map[string]cte{}}
	if err := w.ctes(n, s); err != nil {
		return nil, err
	}
	switch kind {
	case "SELECT_NODE":
		return w.selection(n, known, s)
	case "SET_OPERATION_NODE":
		return w.setOperation(n, known, s)
	default:
		return w.recursion(n, known, s)
	}
}

// ctes checks the WITH clause of n: each entry sees those before it.
func (w *walker) ctes(n object, s *scope) error {
	for _, entry := range list(child(n, "cte_map"), "map") {
		e, _ := entry.(object)
		name, value := text(e, "key"), child(e, "value")
		if value == nil || !isPlainName(name) {
			// A name with dots or slashes could be taken for a file, should
			// the engine ever see a CTE's end earlier than this code does.
			return invalid("WITH %s: the name may have letters, digits and underscores", quote(name))
		}
		before := len(w.uses)
		cols, err := w.nested(child(value, "query"), s)
		if err != nil {
			return err
		}
		if err := w.fields(value, "WITH", cteShape, s); err != nil {
			return err
		}
		aliases, ok := texts(value, "aliases")
		if !ok {
			return invalid("WITH %s has odd column names", name)
		}
		c := cte{columns: cols.renamed(aliases)}
		if w.rewrite && len(aliases) == 0 {
			c.use, c.names = w.handedOn(child(value, "query"), before)
		}
		s.ctes[strings.ToLower(name)] = c
	}
	return nil
}

// isPlainName reports whether a name has letters, digits and underscores only.
func isPlainName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// selection checks a SELECT: first what it reads from, then, with those names in
// scope, everything else.
func (w *walker) selection(n object, known shape, s *scope) (columns, error) {
	if err := w.table(child(n, "from_table"), s); err != nil {
		return nil, err
	}
	items := list(n, "select_list")
	aliases := map[string]bool{}
	for _, item := range items {
		e, ok := item.(object)
		if !ok {
			return nil, invalid("the select list has an entry that is no expression")
		}
		spelled := lastName(e)
		if err := w.expression(e, s); err != nil {
			return nil, err
		}
		w.keepName(e, spelled)
		if alias := text(e, "alias"); alias != "" {
			aliases[strings.ToLower(alias)] = true
		}
	}
	if err := w.fields(n, "a SELECT", known, s); err != nil {
		return nil, err
	}
	if w.rewrite {
		w.filter(n, s)
	}
	if err := w.sample(n); err != nil {
		return nil, err
	}
	if err := w.modifiers(n, &scope{outer: s, aliases: aliases}); err != nil {
		return nil, err
	}
	return selected(items, s), nil
}

// keepName lets an answer's column be called as the query spelled it, although
// the tree now says something else.
func (w *walker) keepName(e object, spelled string) {
	if !w.rewrite || text(e, "alias") != "" {
		return
	}
	switch {
	case text(e, "class") == "COLUMN_REF" && spelled != lastName(e):
		e["alias"] = spelled
	case text(e, "class") == "FUNCTION" && text(e, "function_name") == "count_star":
		e["alias"] = "count(*)"
	}
}

// lastName is the name that a column reference gives to a column, or "".
func lastName(e object) string {
	names := list(e, "column_names")
	if len(names) == 0 {
		return ""
	}
	name, _ := names[len(names)-1].(string)
	return name
}

// selected lists the names of a select list's columns, "" for unnamed ones.
func selected(items []any, s *scope) columns {
	var out columns
	for _, item := range items {
		e, _ := item.(object)
		switch name := text(e, "alias"); {
		case name != "":
			out = append(out, strings.ToLower(name))
		case text(e, "class") == "STAR":
			excluded, _ := texts(e, "exclude_list")
			for _, c := range s.star(text(e, "relation_name")) {
				if !slices.ContainsFunc(excluded, func(x string) bool { return strings.EqualFold(x, c) }) {
					out = append(out, c)
				}
			}
		default:
			out = append(out, strings.ToLower(lastName(e)))
		}
	}
	return out
}

// setOperation checks UNION, EXCEPT and INTERSECT. Their ORDER BY sees the
// columns of the left side.
func (w *walker) setOperation(n object, known shape, s *scope) (columns, error) {
	left, err := w.query(child(n, "left"), s)
	if err != nil {
		return nil, err
	}
	if _, err := w.query(child(n, "right"), s); err != nil {
		return nil, err
	}
	s.sources = []source{{columns: left}}
	if err := w.fields(n, "a set operation", known, s); err != nil {
		return nil, err
	}
	return left, w.modifiers(n, s)
}

// recursion checks the body of a recursive CTE, whose right side sees the CTE.
func (w *walker) recursion(n object, known shape, s *scope) (columns, error) {
	left, err := w.query(child(n, "left"), s)
	if err != nil {
		return nil, err
	}
	aliases, ok := texts(n, "aliases")
	if !ok {
		return nil, invalid("a recursive CTE has odd column names")
	}
	name := strings.ToLower(text(n, "cte_name"))
	s.ctes[name] = cte{columns: left.renamed(aliases)}
	if _, err := w.query(child(n, "right"), s); err != nil {
		return nil, err
	}
	s.sources = []source{{name: name, columns: s.ctes[name].columns}}
	if err := w.fields(n, "a recursive CTE", known, s); err != nil {
		return nil, err
	}
	return left, w.modifiers(n, s)
}

// modifiers checks ORDER BY, LIMIT and DISTINCT ON.
func (w *walker) modifiers(n object, s *scope) error {
	for _, m := range list(n, "modifiers") {
		modifier, _ := m.(object)
		known, ok := modifierShapes[text(modifier, "type")]
		if !ok {
			return invalid("%s is not supported", text(modifier, "type"))
		}
		if err := w.fields(modifier, "a modifier", known, s); err != nil {
			return err
		}
	}
	return nil
}

// table checks one entry of a FROM clause and adds what it brings to s.
func (w *walker) table(n object, s *scope) error {
	leave, err := w.enter()
	if err != nil {
		return err
	}
	defer leave()

	kind := text(n, "type")
	known, ok := tableShapes[kind]
	if !ok {
		if why := refusedTables[kind]; why != "" {
			return invalid("%s", why)
		}
		return invalid("FROM with %s is not supported", kind)
	}
	if err := w.sample(n); err != nil {
		return err
	}
	// The condition of a join sees both sides, so these come first.
	if err := w.tableContent(n, kind, s); err != nil {
		return err
	}
	return w.fields(n, "FROM", known, s)
}

func (w *walker) tableContent(n object, kind string, s *scope) error {
	switch kind {
	case "BASE_TABLE":
		return w.baseTable(n, s)
	case "SUBQUERY":
		before := len(w.uses)
		cols, err := w.nested(child(n, "subquery"), s)
		if err != nil {
			return err
		}
		if err := w.source(n, text(n, "alias"), cols, s); err != nil {
			return err
		}
		if w.rewrite && n["sample"] == nil && len(list(n, "column_name_alias")) == 0 {
			src := &s.sources[len(s.sources)-1]
			src.use, src.names = w.handedOn(child(n, "subquery"), before)
		}
		return nil
	case "JOIN":
		return w.join(n, s)
	case "TABLE_FUNCTION":
		return w.tableFunction(n, s)
	case "EXPRESSION_LIST":
		for _, row := range list(n, "values") {
			values, _ := row.([]any)
			if err := w.expressions(values, s); err != nil {
				return err
			}
		}
		names, ok := texts(n, "expected_names")
		if !ok {
			return invalid("VALUES has odd column names")
		}
		return w.source(n, text(n, "alias"), columns{}.renamed(names), s)
	}
	return nil
}

// source adds a relation with the column names that its alias gives.
func (w *walker) source(n object, name string, cols columns, s *scope) error {
	names, ok := texts(n, "column_name_alias")
	if !ok {
		return invalid("%s has odd column names", name)
	}
	s.sources = append(s.sources, source{name: strings.ToLower(name), columns: cols.renamed(names)})
	return nil
}

// baseTable checks a table that is named: a CTE, or a topic.
func (w *walker) baseTable(n object, s *scope) error {
	name, schema, catalog, alias := text(n, "table_name"), text(n, "schema_name"), text(n, "catalog_name"), text(n, "alias")
	if !w.rewrite {
		if catalog == "" && schema == Schema && slices.ContainsFunc(w.tables, func(t Table) bool { return t.View == name }) {
			return nil
		}
	}
	// Tools that go by a catalog write chronik.topics.orders. That is never a CTE.
	qualified := strings.EqualFold(schema, Schema) && (catalog == "" || strings.EqualFold(catalog, Catalog))
	if !qualified && (schema != "" || catalog != "") {
		return invalid("table %s: a table is named without schema or database, or as %s.%s.name; a topic whose name has a dot is written in quotes",
			quote(schema+"."+name), Catalog, Schema)
	}
	if alias == "" {
		alias = name
	}
	if c, ok := s.cte(name); ok && !qualified {
		if err := w.source(n, alias, c.columns, s); err != nil {
			return err
		}
		if c.use != nil {
			c.refer(n, &s.sources[len(s.sources)-1])
		}
		return nil
	}
	if !w.rewrite {
		return invalid("table %s is not bound", quote(name))
	}
	table, err := w.bind(name)
	if err != nil {
		return err
	}
	n["catalog_name"], n["schema_name"], n["table_name"], n["alias"] = "", Schema, w.tables[table].View, alias
	if err := w.source(n, alias, systemColumns, s); err != nil {
		return err
	}
	u := &use{table: table, all: len(list(n, "column_name_alias")) > 0, unfiltered: n["sample"] != nil}
	w.uses = append(w.uses, u)
	src := &s.sources[len(s.sources)-1]
	src.use, src.embedded = u, w.names.hasVectors(w.tables[table].Topic)
	return nil
}

// bind returns the place in tables of the topic that name stands for.
func (w *walker) bind(name string) (table int, err error) {
	topic, kind, err := w.names.Lookup(name)
	if err != nil {
		return 0, err
	}
	for i, t := range w.tables {
		if t.Topic == topic && t.Kind == kind {
			return i, nil
		}
	}
	w.tables = append(w.tables, Table{View: fmt.Sprintf("%s_%d", kind, len(w.tables)), Topic: topic, Kind: kind})
	return len(w.tables) - 1, nil
}

// join checks both sides, then the columns of USING: a short spelling means the
// system column only when both sides have that.
func (w *walker) join(n object, s *scope) error {
	before := len(s.sources)
	if err := w.table(child(n, "left"), s); err != nil {
		return err
	}
	middle := len(s.sources)
	if err := w.table(child(n, "right"), s); err != nil {
		return err
	}
	left, right := &scope{sources: s.sources[before:middle]}, &scope{sources: s.sources[middle:]}
	for i, v := range list(n, "using_columns") {
		name, ok := v.(string)
		if !ok {
			return invalid("USING has an entry that is no column")
		}
		if long := left.column(name); w.rewrite && long != "" && right.column(name) == long {
			list(n, "using_columns")[i] = long
			name = long
		}
		if w.rewrite {
			w.columns[strings.ToLower(name)] = true
		}
	}
	if err := w.optional(n["condition"], s); err != nil {
		return err
	}
	if w.rewrite {
		w.joined(n, s.sources, before, middle)
		if n["sample"] != nil {
			unfiltered(s.sources[before:])
		}
	}
	return nil
}

// tableFunctions are the functions that may stand in a FROM clause.
var tableFunctions = set("unnest", "range", "generate_series")

func (w *walker) tableFunction(n object, s *scope) error {
	f := child(n, "function")
	name := strings.ToLower(text(f, "function_name"))
	if text(f, "class") != "FUNCTION" || !tableFunctions[name] {
		return invalid("%s cannot be used as a table: a query reads topics, not files, settings or the network", quote(text(f, "function_name")))
	}
	if schema := text(f, "schema"); schema != "" && schema != "main" {
		return invalid("%s.%s: functions are named without a schema", schema, name)
	}
	if err := w.fields(f, name, expressionShapes["FUNCTION"], s); err != nil {
		return err
	}
	if err := w.expressions(list(f, "children"), s); err != nil {
		return err
	}
	if err := w.fields(child(f, "order_bys"), name, modifierShapes["ORDER_MODIFIER"], s); err != nil {
		return err
	}
	alias := text(n, "alias")
	if alias == "" {
		alias = name
	}
	return w.source(n, alias, columns{name}, s)
}

// sample checks TABLESAMPLE and USING SAMPLE, which hold constants only.
func (w *walker) sample(n object) error {
	sample := child(n, "sample")
	if sample == nil {
		return nil
	}
	for field := range sample {
		switch field {
		case "sample_size", "is_percentage", "method", "seed":
		default:
			return invalid("a sample with %q is not supported", field)
		}
	}
	w.volatile = true // a seed helps only as long as one thread reads
	return w.constant(child(sample, "sample_size"))
}

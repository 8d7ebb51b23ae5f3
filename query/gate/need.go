package gate

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/query/prune"
)

// use is one place of a query at which it reads a topic.
type use struct {
	table int             // of walker.tables
	all   bool            // every column may be read
	star  bool            // a star of its SELECT stands for every column
	plain bool            // it is the whole of a subquery, which hands its rows on as they are
	where prune.Predicate // holds for every row that matters; nil: all do

	// What stands between the topic and the WHERE clause of its SELECT.
	on         []prune.Predicate // conditions of joins that hold for its rows as well
	optional   bool              // an outer join puts nulls where it has no row
	unfiltered bool              // rows matter that WHERE would take away

	// Of a CTE that hands its rows on: what each place wants at which it is named.
	references []*use
}

// needs sums up what each table's uses read. A column is needed by its name
// alone, by every table that has one of that name: what it takes to be wrong
// about scopes is not worth the bytes.
func (w *walker) needs() {
	for i := range w.tables {
		need, first := &w.tables[i].Need, true
		for _, u := range w.uses {
			if u.table != i {
				continue
			}
			one := u.need()
			if first {
				*need = one
			} else {
				*need = need.Join(one)
			}
			first = false
		}
		for name := range w.columns {
			need.Columns = append(need.Columns, name)
		}
		need.Vectors = w.columns[embeddingColumn] && w.names.hasVectors(w.tables[i].Topic)
		slices.Sort(need.Columns)
		need.Words = slices.Sorted(maps.Keys(w.words))
	}
}

// need is what one use reads: of a CTE, what any of those reads who name it.
func (u *use) need() prune.Need {
	need := prune.Need{All: u.all || u.star && !u.plain, Where: u.where}
	var wanted prune.Or
	for _, r := range u.references {
		need.All = need.All || r.all
		wanted = append(wanted, r.where)
	}
	switch {
	case len(wanted) == 1:
		need.Where = both(wanted[0], need.Where)
	case len(wanted) > 1 && !slices.Contains(wanted, nil):
		need.Where = both(wanted, need.Where)
	}
	return need
}

// refer makes the source by which a CTE is named at n one of the topic that it
// reads. Where its columns are called otherwise there, or a sample is taken, the
// place may want anything.
func (c cte) refer(n object, src *source) {
	u := &use{table: c.use.table, plain: true}
	c.use.references = append(c.use.references, u)
	if n["sample"] != nil || len(list(n, "column_name_alias")) > 0 {
		u.all = true
		return
	}
	src.use, src.names = u, c.names
}

// reads notes a column that the query names, and a relation that stands for
// whole rows.
func (w *walker) reads(names []string, s *scope) {
	for _, name := range names {
		w.columns[strings.ToLower(name)] = true
	}
	if len(names) > 1 {
		return
	}
	for at := s; at != nil; at = at.outer {
		for _, src := range at.sources {
			if src.use != nil && src.name == strings.ToLower(names[0]) {
				src.use.all = true
			}
		}
	}
}

// readsAll notes a star: of one relation where it is named, else of the nearest
// FROM clause.
func readsAll(relation string, s *scope) {
	for at := s; at != nil; at = at.outer {
		for _, src := range at.sources {
			if src.use == nil || relation != "" && src.name != strings.ToLower(relation) {
				continue
			}
			switch {
			case !src.use.plain:
				src.use.star = true
			case src.names == nil: // else the subquery names them
				src.use.all = true
			}
		}
		if relation == "" && len(at.sources) > 0 {
			return
		}
	}
}

// handedOn returns the use of the topic that a subquery or CTE reads, when it hands
// on rows and columns as they are: what is said of its rows is said of the topic's.
// names are the topic's columns by those that it gives them, nil for their own.
// before is how many uses there were before it was walked.
func (w *walker) handedOn(query object, before int) (u *use, names map[string]string) {
	node := child(query, "node")
	from := child(node, "from_table")
	if text(node, "type") != "SELECT_NODE" || text(from, "type") != "BASE_TABLE" || text(from, "schema_name") != Schema ||
		from["sample"] != nil || len(list(from, "column_name_alias")) > 0 ||
		text(node, "aggregate_handling") != "STANDARD_HANDLING" || len(list(child(node, "cte_map"), "map")) > 0 {
		return nil, nil
	}
	for _, field := range []string{"group_expressions", "group_sets", "having", "qualify", "sample", "modifiers"} {
		if !isUnused(node[field]) {
			return nil, nil
		}
	}
	names = map[string]string{}
	for _, item := range list(node, "select_list") {
		e, _ := item.(object)
		switch class := text(e, "class"); {
		case class == "STAR" && len(list(node, "select_list")) == 1 && isRowwise(e, 0) && isUnused(e["exclude_list"]) && isUnused(e["qualified_exclude_list"]):
			names = nil
		case class == "COLUMN_REF":
			name := lastName(e)
			if alias := text(e, "alias"); alias != "" {
				name = alias
			}
			if _, twice := names[strings.ToLower(name)]; twice {
				return nil, nil
			}
			names[strings.ToLower(name)] = strings.ToLower(lastName(e))
		default:
			return nil, nil
		}
	}
	u = w.uses[before]
	u.plain = true
	return u, names
}

// filter gives the uses of a SELECT what its WHERE clause and the joins say of
// their rows.
func (w *walker) filter(n object, s *scope) {
	sampled := n["sample"] != nil // a sample is taken before WHERE
	for i, src := range s.sources {
		u := src.use
		if u == nil {
			continue
		}
		parts := u.on
		if !u.unfiltered && !sampled {
			parts = append(parts, w.predicate(child(n, "where_clause"), s.sources, i))
		}
		u.where = both(append(parts, u.where)...)
	}
}

// unfiltered says of the sources that WHERE is no reason to leave rows out.
func unfiltered(sources []source) {
	for _, src := range sources {
		if src.use != nil {
			src.use.unfiltered = true
		}
	}
}

// joined says what a join does to the rows of its sides, and gives them its
// condition where that may be applied before it.
func (w *walker) joined(n object, all []source, before, middle int) {
	left, right := all[before:middle], all[middle:]
	mark := func(side []source, f func(*use)) {
		for _, src := range side {
			if src.use != nil {
				f(src.use)
			}
		}
	}
	optional := func(u *use) { u.optional = true }
	condition := func(from, to int) {
		for i := from; i < to; i++ {
			if u := all[i].use; u != nil && !u.unfiltered {
				if p := w.predicate(child(n, "condition"), all, i); p != nil {
					u.on = append(u.on, p)
				}
			}
		}
	}
	ref, kind := text(n, "ref_type"), text(n, "join_type")
	if ref == "NATURAL" {
		mark(all[before:], func(u *use) { u.all = true })
	}
	switch {
	case ref == "ASOF" && (kind == "INNER" || kind == "LEFT"):
		unfiltered(right) // without a row another one is the nearest
	case ref != "REGULAR" && ref != "CROSS" && ref != "NATURAL":
		unfiltered(all[before:])
	case kind == "INNER":
		condition(before, len(all))
	case kind == "LEFT":
		condition(middle, len(all))
		mark(right, optional)
	case kind == "RIGHT":
		condition(before, middle)
		mark(left, optional)
	case kind == "FULL" || kind == "OUTER":
		mark(all[before:], optional)
	case kind == "SEMI" || kind == "ANTI":
		unfiltered(right) // WHERE does not see it
	default:
		unfiltered(all[before:])
	}
}

// predicate is what an expression says of the rows of one source: it is true for
// none for which the result is not. nil: nothing.
func (w *walker) predicate(e object, sources []source, i int) prune.Predicate {
	if e == nil || len(w.constants) > constantsMax {
		return nil
	}
	p := &reader{walker: w, sources: sources, at: i}
	switch text(e, "class") {
	case "CONJUNCTION":
		return p.conjunction(e)
	case "COMPARISON":
		return p.comparison(text(e, "type"), child(e, "left"), child(e, "right"))
	case "BETWEEN":
		low := p.comparison("COMPARE_GREATERTHANOREQUALTO", child(e, "input"), child(e, "lower"))
		high := p.comparison("COMPARE_LESSTHANOREQUALTO", child(e, "input"), child(e, "upper"))
		return both(low, high)
	case "OPERATOR":
		return p.operator(e)
	case "FUNCTION":
		return p.beginning(e)
	}
	return nil
}

// Bounds on what is looked at.
const (
	constantsMax = 2_000 // in all conditions, about
	inMax        = 1_000 // in one IN
)

// reader reads predicates about one source.
type reader struct {
	*walker
	sources []source
	at      int
}

func both(parts ...prune.Predicate) prune.Predicate {
	var all prune.And
	for _, p := range parts {
		switch p := p.(type) {
		case nil:
		case prune.And:
			all = append(all, p...)
		default:
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func (p *reader) conjunction(e object) prune.Predicate {
	var parts []prune.Predicate
	for _, c := range list(e, "children") {
		part, _ := c.(object)
		parts = append(parts, p.predicate(part, p.sources, p.at))
	}
	switch text(e, "type") {
	case "CONJUNCTION_AND":
		return both(parts...)
	case "CONJUNCTION_OR":
		if slices.Contains(parts, nil) {
			return nil
		}
		return prune.Or(parts)
	}
	return nil
}

// comparisons are the types of COMPARISON nodes that are understood.
var comparisons = map[string]prune.Op{
	"COMPARE_EQUAL": prune.Equal, "COMPARE_LESSTHAN": prune.Less, "COMPARE_LESSTHANOREQUALTO": prune.LessEqual,
	"COMPARE_GREATERTHAN": prune.Greater, "COMPARE_GREATERTHANOREQUALTO": prune.GreaterEqual,
}

func (p *reader) comparison(kind string, left, right object) prune.Predicate {
	op, ok := comparisons[kind]
	if !ok {
		return nil
	}
	column, cut, ok := p.cutColumn(left)
	if !ok {
		if column, cut, ok = p.cutColumn(right); !ok {
			return nil
		}
		op, right = op.Flipped(), left
	}
	place, ok := p.constantOf(right, op == prune.Greater || op == prune.GreaterEqual)
	if !ok {
		return nil
	}
	return prune.Compare{Column: column, Op: op, Constant: place, Cut: cut}
}

func (p *reader) operator(e object) prune.Predicate {
	children := list(e, "children")
	if len(children) == 0 {
		return nil
	}
	first, _ := children[0].(object)
	column, ok := p.column(first)
	if !ok {
		return nil
	}
	switch text(e, "type") {
	case "OPERATOR_IS_NULL":
		if p.sources[p.at].use.optional || text(first, "class") != "COLUMN_REF" {
			return nil
		}
		return prune.IsNull{Column: column}
	case "OPERATOR_IS_NOT_NULL":
		return prune.NotNull{Column: column}
	case "COMPARE_IN":
		if len(children) > inMax {
			return nil
		}
		in := prune.In{Column: column}
		for _, c := range children[1:] {
			value, _ := c.(object)
			place, ok := p.constantOf(value, false)
			if !ok {
				return nil
			}
			in.Constants = append(in.Constants, place)
		}
		return in
	}
	return nil
}

// beginning reads conditions on how a text begins: LIKE with a constant pattern,
// and starts_with.
func (p *reader) beginning(e object) prune.Predicate {
	children := list(e, "children")
	if len(children) != 2 {
		return nil
	}
	first, _ := children[0].(object)
	second, _ := children[1].(object)
	column, ok := p.column(first)
	pattern, isText := child(second, "value")["value"].(string)
	if !ok || !isText || text(second, "class") != "CONSTANT" {
		return nil
	}
	switch text(e, "function_name") {
	case "~~":
		pattern = pattern[:strings.IndexAny(pattern+"%", "%_")]
	case "^@", "starts_with", "prefix":
	default:
		return nil
	}
	if pattern == "" {
		return prune.NotNull{Column: column}
	}
	all := prune.And{prune.Compare{Column: column, Op: prune.GreaterEqual, Constant: p.literal(pattern)}}
	if last := len(pattern) - 1; pattern[last] < 0x7f {
		next := pattern[:last] + string(rune(pattern[last]+1))
		all = append(all, prune.Compare{Column: column, Op: prune.Less, Constant: p.literal(next)})
	}
	return all
}

// literal adds a text that is compared with texts only.
func (p *reader) literal(s string) int {
	p.constants = append(p.constants, constant{known: prune.OfText(s)})
	return len(p.constants) - 1
}

// cuts are the parts of a time to which date_trunc cuts, by less than that.
var cuts = map[string]time.Duration{
	"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	"month": 31 * 24 * time.Hour, "quarter": 92 * 24 * time.Hour, "year": 366 * 24 * time.Hour,
}

// cutColumn is column for an expression that may cut a time down: CAST(… AS
// DATE), or date_trunc.
func (p *reader) cutColumn(e object) (name string, cut time.Duration, ok bool) {
	switch text(e, "class") {
	case "CAST":
		if text(child(e, "cast_type"), "id") == "DATE" {
			cut, e = cuts["day"], child(e, "child")
		}
	case "FUNCTION":
		arguments := list(e, "children")
		if f := text(e, "function_name"); (f == "date_trunc" || f == "datetrunc") && len(arguments) == 2 {
			part, _ := arguments[0].(object)
			unit, _ := child(part, "value")["value"].(string)
			if cut, ok = cuts[strings.ToLower(unit)]; !ok || text(part, "class") != "CONSTANT" {
				return "", 0, false
			}
			e, _ = arguments[1].(object)
		}
	}
	name, ok = p.column(e)
	return name, cut, ok
}

// column is the column of the source that an expression stands for. decode_utf8
// counts as what it decodes: it is null, or has the same bytes.
func (p *reader) column(e object) (name string, ok bool) {
	if text(e, "class") == "FUNCTION" && text(e, "function_name") == "decode_utf8" {
		if arguments := list(e, "children"); len(arguments) == 1 {
			e, _ = arguments[0].(object)
			name, ok = p.column(e)
			return name, ok && name == "_key"
		}
	}
	names, isTexts := texts(e, "column_names")
	if text(e, "class") != "COLUMN_REF" || !isTexts {
		return "", false
	}
	own := p.sources[p.at]
	switch {
	case len(names) == 1 && len(p.sources) == 1:
		return own.column(names[0])
	case len(names) == 2:
		relation, found := strings.ToLower(names[0]), 0
		for _, src := range p.sources {
			if src.name == relation {
				found++
			}
		}
		if found == 1 && own.name == relation {
			return own.column(names[1])
		}
	}
	return "", false
}

package gate

import "strings"

// star is a * in a query.
type star struct {
	node object
	from []string // tables with vectors that it stands for, among others
}

// seesVectors notes a star over tables with vectors. What it says itself of their
// column, by EXCLUDE, REPLACE or RENAME, counts as naming it.
func (w *walker) seesVectors(n object, relation string, sources []source) {
	if !w.rewrite {
		return
	}
	if namesVectors(n) {
		w.columns[embeddingColumn] = true
		return
	}
	found := star{node: n}
	for _, src := range sources {
		if src.embedded && (relation == "" || src.name == strings.ToLower(relation)) {
			found.from = append(found.from, src.name)
		}
	}
	// COLUMNS with a pattern or a list has no place for what it leaves out.
	if len(found.from) > 0 && isUnused(n["expr"]) {
		w.stars = append(w.stars, found)
	}
}

// namesVectors reports whether a star says what becomes of the column of vectors.
func namesVectors(n object) bool {
	is := func(name string) bool { return strings.EqualFold(name, embeddingColumn) }
	excluded, _ := texts(n, "exclude_list")
	for _, name := range excluded {
		if is(name) {
			return true
		}
	}
	for _, field := range []string{"qualified_exclude_list", "replace_list", "rename_list"} {
		for _, e := range list(n, field) {
			entry, _ := e.(object)
			if is(text(entry, "column")) || is(text(entry, "key")) || is(text(child(entry, "key"), "column")) {
				return true
			}
		}
	}
	return false
}

// hideVectors leaves the column of vectors out of stars, if the query names it
// elsewhere, so that views have it.
func (w *walker) hideVectors() {
	if !w.columns[embeddingColumn] {
		return
	}
	for _, s := range w.stars {
		hidden := list(s.node, "qualified_exclude_list")
		for _, name := range s.from {
			hidden = append(hidden, object{"catalog": "", "schema": "", "table": name, "column": embeddingColumn})
		}
		s.node["qualified_exclude_list"] = hidden
	}
}

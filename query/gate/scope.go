package gate

import (
	"slices"
	"strings"
)

// shortColumns are the spellings that queries may use for system columns.
var shortColumns = map[string]string{
	"offset": "_offset", "partition": "_partition", "timestamp": "_timestamp",
	"key": "_key", "value": "_value", "headers": "_headers",
}

// systemColumns are the columns that every topic has, in their order. The JSON
// columns behind them never have a short spelling as name, so the gate need not
// know them.
var systemColumns = []string{
	"_topic", "_partition", "_offset", "_timestamp", "_timestamp_type", "_key", "_value", "_headers",
}

// embeddingColumn is the column of vectors, which a star does not stand for. A
// view has it if the query names it.
const embeddingColumn = "_embedding"

// columns are the names, in lower case, by which a relation's columns are known
// to be reachable. A topic's JSON columns and unnamed expressions are missing.
type columns []string

func (c columns) has(name string) bool { return slices.Contains(c, name) }

// renamed gives the first columns other names, as in t(a, b).
func (c columns) renamed(names []string) columns {
	out := slices.Clone(c)
	for i, name := range names {
		if i < len(out) {
			out[i] = strings.ToLower(name)
		} else {
			out = append(out, strings.ToLower(name))
		}
	}
	return out
}

// source is one relation of a FROM clause.
type source struct {
	name    string // alias or name, lower case; may be empty
	columns columns
	use     *use // of a topic; nil for everything else
	// embedded: it is a topic with the column of vectors, which is not among columns.
	embedded bool
	// names are the topic's columns by the names that a subquery gives them; nil:
	// their own.
	names map[string]string
}

// column is the topic's column that a name stands for.
func (s source) column(name string) (column string, ok bool) {
	name = strings.ToLower(name)
	if s.names == nil {
		return name, true
	}
	column, ok = s.names[name]
	return column, ok
}

// cte is an entry of WITH.
type cte struct {
	columns columns
	use     *use              // of the topic whose rows it hands on as they are; else nil
	names   map[string]string // as a source has them
}

// scope is what a name can mean at one place of a query.
type scope struct {
	outer   *scope
	sources []source
	ctes    map[string]cte  // by lower-case name
	params  map[string]bool // of a lambda
	aliases map[string]bool // of the select list, where they win over columns
}

// cte returns the innermost CTE of that name.
func (s *scope) cte(name string) (cte, bool) {
	for at := s; at != nil; at = at.outer {
		if c, ok := at.ctes[strings.ToLower(name)]; ok {
			return c, true
		}
	}
	return cte{}, false
}

// column returns the system column that an unqualified name is the short
// spelling of here, or "". Anything that is really called so comes first: a
// lambda's parameter, a column of a subquery, an alias, a relation.
func (s *scope) column(name string) string {
	long, short := shortColumns[strings.ToLower(name)]
	if !short {
		return ""
	}
	name = strings.ToLower(name)
	for at := s; at != nil; at = at.outer {
		if at.params[name] || at.aliases[name] {
			return ""
		}
		found := false
		for _, src := range at.sources {
			if src.name == name || src.columns.has(name) {
				return ""
			}
			found = found || src.columns.has(long)
		}
		if found {
			return long
		}
	}
	return ""
}

// columnOf is column for a name that is qualified by a relation.
func (s *scope) columnOf(relation, name string) string {
	long, short := shortColumns[strings.ToLower(name)]
	if !short {
		return ""
	}
	for at := s; at != nil; at = at.outer {
		for _, src := range at.sources {
			if src.name != strings.ToLower(relation) {
				continue
			}
			if !src.columns.has(strings.ToLower(name)) && src.columns.has(long) {
				return long
			}
			return ""
		}
	}
	return ""
}

// star returns the columns that * stands for, or relation.* when it is named.
func (s *scope) star(relation string) columns {
	var all columns
	for _, src := range s.sources {
		if relation == "" || src.name == strings.ToLower(relation) {
			all = append(all, src.columns...)
		}
	}
	return all
}

package prune

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/parquetfile"
)

// Physical types of Parquet.
const (
	physicalBool      = 0
	physicalInt32     = 1
	physicalInt64     = 2
	physicalDouble    = 5
	physicalByteArray = 6
)

// Blooms are the bloom filters of some leaves, by row group.
type Blooms map[int]map[int]parquetfile.Bloom

// GroupFacts are what a footer, and maybe bloom filters, say of a row group's
// rows, besides what is known of the file.
type GroupFacts struct {
	file   *FileFacts
	footer *parquetfile.Footer
	group  int
	leaves map[string]int // by lower-case name; the columns with one leaf
	blooms Blooms
}

// Groups picks from row groups those that may have rows that matter; why says
// why the last one that is missing cannot. blooms may be nil.
func (f *FileFacts) Groups(footer *parquetfile.Footer, groups []int, blooms Blooms, n Need) (kept []int, why string) {
	facts := &GroupFacts{f, footer, 0, leavesOf(footer), blooms}
	for _, g := range groups {
		facts.group = g
		if May(n.Where, n.Values, facts) {
			kept = append(kept, g)
		} else {
			why = Why(n.Where, n.Values, facts)
		}
	}
	return kept, why
}

// First picks from row groups, of which all rows are the table's, those that hold
// the first rows.
func (f *FileFacts) First(footer *parquetfile.Footer, groups []int, first First) (kept []int) {
	leaves := leavesOf(footer)
	var all []Some
	for _, g := range groups {
		all = append(all, Some{&GroupFacts{f, footer, g, leaves, nil}, footer.Rows(g)})
	}
	for _, i := range first.Enough(all) {
		kept = append(kept, groups[i])
	}
	return kept
}

// Filters are the leaves whose bloom filters may say that a row group has no row
// that matters.
func (f *FileFacts) Filters(footer *parquetfile.Footer, n Need) (filters []int) {
	leaves := leavesOf(footer)
	for _, name := range equalities(n.Where) {
		leaf, ok := leaves[name]
		if !ok || slices.Contains(filters, leaf) {
			continue
		}
		for g := range footer.Groups() {
			if _, ok := footer.Bloom(g, leaf); ok {
				filters = append(filters, leaf)
				break
			}
		}
	}
	return filters
}

func leavesOf(footer *parquetfile.Footer) map[string]int {
	leaves := make(map[string]int, len(footer.Leaves))
	for i, l := range footer.Leaves {
		if l.Path == l.Top {
			leaves[strings.ToLower(l.Top)] = i
		}
	}
	return leaves
}

// Column implements Facts.
func (g *GroupFacts) Column(name string) (Fact, bool) {
	fact, ok := g.file.Column(name)
	leaf, has := g.leaves[name]
	if !ok || !has || fact.Nulls == OnlyNulls {
		return fact, ok
	}
	s, ok := g.footer.Statistics(g.group, leaf)
	if !ok {
		return fact, true
	}
	if s.Nulls == s.Values {
		return Fact{Kind: fact.Kind, Nulls: OnlyNulls}, true
	}
	if fact.Kind == Unknown {
		return fact, true // it is shown as something else, which may be null
	}
	if s.Nulls == 0 {
		fact.Nulls = NoNulls
	}
	least, okMin := plain(s.Min, s.HasMin, fact.Kind, g.footer.Leaves[leaf].Type)
	greatest, okMax := plain(s.Max, s.HasMax, fact.Kind, g.footer.Leaves[leaf].Type)
	switch {
	case !okMin || !okMax:
	case !fact.Bounded:
		fact.Bounded, fact.Min, fact.Max = true, least, greatest
	default:
		// Both bounds hold, so the narrower ones do.
		if surelyLess(fact.Min, least) {
			fact.Min = least
		}
		if surelyLess(greatest, fact.Max) {
			fact.Max = greatest
		}
	}
	return fact, true
}

// Contains implements Facts.
func (g *GroupFacts) Contains(name string, v Value) bool {
	leaf, ok := g.leaves[name]
	if !ok {
		return true
	}
	bloom, ok := g.blooms[leaf][g.group]
	if !ok {
		return true
	}
	b, ok := encoded(v, g.footer.Leaves[leaf].Type)
	return !ok || bloom.Contains(b)
}

// plain reads a value in Parquet's plain encoding as one of a kind.
func plain(b []byte, has bool, kind Kind, physical int) (Value, bool) {
	if !has {
		return Value{}, false
	}
	switch {
	case physical == physicalBool && kind == Bool && len(b) == 1:
		return OfBool(b[0] != 0), true
	case physical == physicalInt32 && kind == Int && len(b) == 4:
		return OfInt(int64(int32(binary.LittleEndian.Uint32(b)))), true
	case physical == physicalInt64 && (kind == Int || kind == Time) && len(b) == 8:
		return Value{Kind: kind, Int64: int64(binary.LittleEndian.Uint64(b))}, true
	case physical == physicalDouble && kind == Number && len(b) == 8:
		v := OfFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		return v, v.Kind == Number
	case physical == physicalByteArray && (kind == Text || kind == Binary):
		return Value{Kind: kind, Bytes: b}, true
	}
	return Value{}, false
}

// encoded is a constant in the plain encoding of a column's type, where that is
// the one value to which it is equal.
func encoded(v Value, physical int) ([]byte, bool) {
	switch {
	case physical == physicalByteArray && (v.Kind == Text || v.Kind == Binary):
		return v.Bytes, true
	case physical == physicalInt64 && (v.Kind == Int || v.Kind == Time):
		return binary.LittleEndian.AppendUint64(nil, uint64(v.Int64)), true
	case physical == physicalInt32 && v.Kind == Int && int64(int32(v.Int64)) == v.Int64:
		return binary.LittleEndian.AppendUint32(nil, uint32(v.Int64)), true
	case physical == physicalDouble && v.number() && v.Exact == nil && v.float() != 0: // 0 and −0 are equal
		const exact = 1 << 53
		if v.Kind == Int && (v.Int64 > exact || v.Int64 < -exact) {
			return nil, false
		}
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v.float())), true
	}
	return nil, false
}

// Leaves are those of a file that a query reads: of the columns that it needs,
// and of those that it takes to show these. cut says that rows are left out by
// their offset.
func (f *FileFacts) Leaves(footer *parquetfile.Footer, n Need, cut bool) []bool {
	names := map[string]bool{"_offset": cut}
	for _, name := range n.Columns {
		names[name] = true
		own, has := f.own[name]
		if shown, ok := f.table.columns[name]; ok && has && shown == columnar.Text && own != columnar.Text {
			names["_value"] = true // the text is taken from there
		}
	}
	leaves := make([]bool, len(footer.Leaves))
	for i, l := range footer.Leaves {
		if l.Top == columnar.EmbeddingColumn {
			leaves[i] = n.Vectors
			continue
		}
		leaves[i] = n.All || names[strings.ToLower(l.Top)]
	}
	return leaves
}

// equalities are the columns that are compared for equality somewhere in p.
func equalities(p Predicate) (names []string) {
	switch p := p.(type) {
	case And:
		for _, q := range p {
			names = append(names, equalities(q)...)
		}
	case Or:
		for _, q := range p {
			names = append(names, equalities(q)...)
		}
	case Compare:
		if p.Op == Equal && p.Cut == 0 {
			names = append(names, p.Column)
		}
	case In:
		names = append(names, p.Column)
	}
	return names
}

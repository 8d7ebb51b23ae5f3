package textindex

import (
	"context"
	"iter"
	"slices"
)

// snapshot is what a Memory had at a moment.
type snapshot struct {
	m       *Memory
	bounds  Bounds
	fields  []view // by name and kind
	sources sources
	kept    bool // the sources
}

// view is what a field had at the moment.
type view struct {
	Stats
	field  *field
	docs   []uint32
	values []int64
}

// Snapshot returns the split of the records that are there now. It stays as it is
// while more are appended.
func (m *Memory) Snapshot() Split {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := &snapshot{m: m, bounds: m.bounds, sources: m.sources, kept: m.options.Source}
	s.bounds.Documents = m.documents
	for _, f := range m.fields {
		if f.Documents > 0 {
			s.fields = append(s.fields, view{f.Stats, f, f.docs[:len(f.docs):len(f.docs)], f.values})
		}
	}
	slices.SortFunc(s.fields, func(a, b view) int { return a.Field.compare(b.Field) })
	for i := range s.fields {
		if v := &s.fields[i]; v.Kind == Keyword && v.Distinct > 0 {
			v.Least, v.Greatest = 0, v.Distinct-1 // ordinals
		}
	}
	return s
}

func (s *snapshot) Bounds() Bounds { return s.bounds }

func (s *snapshot) Fields() []Stats {
	all := make([]Stats, len(s.fields))
	for i, v := range s.fields {
		all[i] = v.Stats
	}
	return all
}

func (s *snapshot) view(f Field) *view {
	i, ok := slices.BinarySearchFunc(s.fields, f, func(v view, f Field) int { return v.Field.compare(f) })
	if !ok {
		return nil
	}
	return &s.fields[i]
}

func (s *snapshot) Field(f Field) (Stats, bool) {
	if v := s.view(f); v != nil {
		return v.Stats, true
	}
	return Stats{Field: f}, false
}

// order returns the numbers of the view's terms in the order of their bytes.
func (s *snapshot) order(v *view) []uint32 {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	f, count := v.field, int(v.Distinct)
	if len(f.order) < count {
		f.order = f.terms.sorted(f.order, count)
	}
	if len(f.order) == count {
		return f.order
	}
	all := make([]uint32, 0, count)
	for _, n := range f.order {
		if int(n) < count {
			all = append(all, n)
		}
	}
	return all
}

// ranks returns the ordinals of the view's terms by their numbers. They are made
// anew only when there are more terms.
func (s *snapshot) ranks(v *view) []uint32 {
	order := s.order(v)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if len(v.field.ranks) == len(order) {
		return v.field.ranks
	}
	ranks := make([]uint32, len(order))
	for i, n := range order {
		ranks[n] = uint32(i)
	}
	if len(ranks) > len(v.field.ranks) {
		v.field.ranks = ranks
	}
	return ranks
}

// term describes a term by its number; the caller holds the lock.
func (s *snapshot) term(v *view, number uint32) Term {
	g := &v.field.terms.lists[number]
	t := Term{Field: v.Field, Bytes: slices.Clone(v.field.terms.term(number)), Documents: g.documents, number: number}
	if g.documents > 0 && g.last >= s.bounds.Documents {
		// The term came again later: count those of the moment.
		raw := s.m.arena.read(nil, g.chain)
		var l list
		l.read(raw, v.Kind, Documents, s.bounds.Documents)
		t.Documents = uint32(len(l.docs))
	}
	return t
}

func (s *snapshot) Lookup(_ context.Context, f Field, wanted ...[]byte) ([]Term, error) {
	found := make([]Term, len(wanted))
	for i, w := range wanted {
		found[i] = Term{Field: f, Bytes: w}
	}
	v := s.view(f)
	if v == nil || v.field.terms == nil {
		return found, nil
	}
	s.m.mu.RLock()
	defer s.m.mu.RUnlock()
	for i, w := range wanted {
		if n, ok := v.field.terms.find(w); ok && int64(n) < v.Distinct {
			found[i] = s.term(v, n)
		}
	}
	return found, nil
}

func (s *snapshot) Terms(_ context.Context, f Field, a Automaton) iter.Seq2[Term, error] {
	return func(yield func(Term, error) bool) {
		v := s.view(f)
		if v == nil || v.field.terms == nil {
			return
		}
		for i, n := range s.order(v) {
			s.m.mu.RLock()
			accepted := a == nil || accepts(a, v.field.terms.term(n))
			var t Term
			if accepted {
				t = s.term(v, n)
				t.Ordinal = uint32(i)
			}
			s.m.mu.RUnlock()
			if accepted && !yield(t, nil) {
				return
			}
		}
	}
}

// accepts runs an automaton over a whole term.
func accepts(a Automaton, term []byte) bool {
	state := a.Start()
	for _, b := range term {
		if !a.CanMatch(state) {
			return false
		}
		if a.WillAlwaysMatch(state) {
			return true
		}
		state = a.Accept(state, b)
	}
	return a.IsMatch(state)
}

func (s *snapshot) TermsAt(_ context.Context, f Field, ordinals []uint32) iter.Seq2[Term, error] {
	return func(yield func(Term, error) bool) {
		v := s.view(f)
		if v == nil || v.field.terms == nil {
			return
		}
		order := s.order(v)
		for _, o := range ordinals {
			if int(o) >= len(order) {
				return
			}
			s.m.mu.RLock()
			t := s.term(v, order[o])
			s.m.mu.RUnlock()
			t.Ordinal = o
			if !yield(t, nil) {
				return
			}
		}
	}
}

func (s *snapshot) Postings(_ context.Context, t Term, need Need) (*Postings, error) {
	v := s.view(t.Field)
	if t.Documents == 0 || v == nil {
		return newPostings(&list{}), nil
	}
	s.m.mu.RLock()
	raw := s.m.arena.read(nil, v.field.terms.lists[t.number].chain)
	s.m.mu.RUnlock()
	l := &list{}
	l.read(raw, v.Kind, need, s.bounds.Documents)
	if v.Kind == Text && need != Documents {
		column := newPairs(v, s.bounds.Documents)
		l.bind(func(doc uint32) uint32 {
			length, _ := column.Value(doc)
			return uint32(length)
		})
	}
	return newPostings(l), nil
}

func (s *snapshot) Column(_ context.Context, f Field) (Column, error) {
	v := s.view(f)
	if v == nil {
		v = &view{Stats: Stats{Field: f}}
	}
	if v.Kind != Keyword || len(v.docs) == 0 {
		return newPairs(v, s.bounds.Documents), nil
	}
	return &rankedPairs{newPairs(v, s.bounds.Documents), s.ranks(v)}, nil
}

func (s *snapshot) Source(_ context.Context, docs []uint32) ([]Source, bool, error) {
	if !s.kept {
		return nil, false, nil
	}
	all := make([]Source, len(docs))
	for i, d := range docs {
		all[i] = s.sources.get(d)
	}
	return all, true, nil
}

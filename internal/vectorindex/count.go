package vectorindex

import "context"

// Count is how many documents pass a filter. It reads only where a bound of the
// filter, or what it hides, lies: those are few blocks mostly.
func (f *File) Count(ctx context.Context, filter Filter) (count int64, err error) {
	s := f.sieve(filter)
	switch {
	case s.none:
		return 0, nil
	case s.all:
		return f.footer.documents, nil
	}
	var sections []section
	var blocks []*block
	for i := range f.footer.blocks {
		k := &f.footer.blocks[i]
		switch {
		case !s.overlaps(k.bounds):
		case s.whole(k.bounds):
			count += int64(k.documents)
		default:
			blocks, sections = append(blocks, k), append(sections, k.section)
		}
	}
	data, err := f.gather(ctx, sections, 0)
	if err != nil {
		return 0, err
	}
	for i, k := range blocks {
		if err := check(k.part, data[i]); err != nil {
			return 0, err
		}
		err := f.documents(k, data[i], func(d document) {
			if s.passes(d) {
				count++
			}
		})
		if err != nil {
			return 0, err
		}
	}
	return count, nil
}

// whole reports whether every document in some bounds passes.
func (s *sieve) whole(b bounds) bool {
	return s.First <= b.offsetMin && s.Next > b.offsetMax && (s.Times == nil || s.Times.Least <= b.timestampMin && s.Times.Greatest >= b.timestampMax) &&
		s.Only == nil && (s.Hidden == nil || countBetween(s.Hidden, b.offsetMin, b.offsetMax+1) == 0)
}

// Expect says how a search for the k nearest would go, and what recall is promised
// for it: that of calibration, where there is any.
func (f *File) Expect(k int, recall float64, ef, probes int) (Path, float64) {
	if recall == 0 {
		recall = DefaultRecall
	}
	s := &searching{File: f, query: Query{K: k, Recall: recall}, curve: f.footer.calibration.curve(k)}
	if f.mapped != nil && f.footer.kind == HNSW {
		_, promised := s.effort(s.curve.Graph, ef, f.footer.rows)
		return ByGraph, promised
	}
	_, promised := s.effort(s.curve.Lists, probes, len(f.footer.lists))
	return ByLists, promised
}

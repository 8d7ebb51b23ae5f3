package textsearch

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// node is a part of a query that knows fields and terms, and no split yet.
type node interface {
	// open returns a cursor over a split; nil when nothing matches there.
	open(ctx context.Context, s *shard) (cursor, error)
}

// shard is one part while it is searched.
type shard struct {
	*Part
	index   int
	bounds  textindex.Bounds
	terms   []textindex.Term // by number, as the split has them
	columns map[textindex.Field]textindex.Column
	opened  []*textindex.Postings
	plan    *plan
}

// postings are the documents of a term. That they end early shows in failed.
func (s *shard) postings(ctx context.Context, t textindex.Term, need textindex.Need) (*textindex.Postings, error) {
	p, err := s.Split.Postings(ctx, t, need)
	if err == nil {
		s.opened = append(s.opened, p)
	}
	return p, err
}

// failed is why any of the postings that were walked ended before their end.
func (s *shard) failed() error {
	for _, p := range s.opened {
		if err := p.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *shard) column(ctx context.Context, f textindex.Field) (textindex.Column, error) {
	if c, ok := s.columns[f]; ok {
		return c, nil
	}
	c, err := s.Split.Column(ctx, f)
	if err == nil {
		s.columns[f] = c
	}
	return c, err
}

// has reports whether any document of the split has the field.
func (s *shard) has(f textindex.Field) bool {
	_, ok := s.Split.Field(f)
	return ok
}

type noNode struct{}

func (noNode) open(context.Context, *shard) (cursor, error) { return nil, nil }

type allNode struct{ value float64 }

func (n allNode) open(_ context.Context, s *shard) (cursor, error) {
	return &every{n: s.bounds.Documents, value: n.value}, nil
}

// partNode is decided by the part, not by its documents.
type partNode struct {
	holds func(p *Part) bool
	value float64
}

func (n partNode) open(ctx context.Context, s *shard) (cursor, error) {
	if !n.holds(s.Part) {
		return nil, nil
	}
	return allNode{n.value}.open(ctx, s)
}

// termNode is a term of the table.
type termNode struct {
	number int
	boost  float64
	blend  []int // terms among which the most frequent one says how rare all are
	scored bool
}

func (n *termNode) open(ctx context.Context, s *shard) (cursor, error) {
	t := s.terms[n.number]
	if t.Documents == 0 {
		return nil, nil
	}
	need := textindex.Documents
	if n.scored && t.Field.Kind == textindex.Text {
		need = textindex.Frequencies
	}
	postings, err := s.postings(ctx, t, need)
	if err != nil {
		return nil, err
	}
	c := &termCursor{Postings: postings}
	if !n.scored {
		return &constant{cursor: c}, nil
	}
	c.bm25 = s.plan.weight(n.boost, n.number, n.blend)
	if t.Field.Kind == textindex.Text {
		c.lengths, err = s.column(ctx, t.Field)
	}
	return c, err
}

// bitsNode is a set of documents, all with one score.
type bitsNode struct {
	// may reports whether the set has any, as far as the footer tells; nil: it does
	// not tell.
	may   func(s *shard) bool
	build func(ctx context.Context, s *shard) (*roaring.Bitmap, error)
	value float64
}

func (n bitsNode) open(ctx context.Context, s *shard) (cursor, error) {
	set, err := n.build(ctx, s)
	if err != nil || set == nil || set.IsEmpty() {
		return nil, err
	}
	return newBits(set, n.value), nil
}

type constantNode struct {
	node
	value float64
}

func (n constantNode) open(ctx context.Context, s *shard) (cursor, error) {
	c, err := n.node.open(ctx, s)
	if c == nil || err != nil {
		return nil, err
	}
	return &constant{c, n.value}, nil
}

// openAll opens those nodes that match something.
func openAll(ctx context.Context, s *shard, nodes []node) ([]cursor, error) {
	var all []cursor
	for _, n := range nodes {
		c, err := n.open(ctx, s)
		if err != nil {
			return nil, err
		}
		if c != nil {
			all = append(all, c)
		}
	}
	return all, nil
}

type anyNode struct {
	parts []node
	need  int
}

func (n anyNode) open(ctx context.Context, s *shard) (cursor, error) {
	parts, err := openAll(ctx, s, n.parts)
	if err != nil || len(parts) < max(1, n.need) {
		return nil, err
	}
	return newAny(parts, n.need), nil
}

type bestNode struct {
	parts []node
	tie   float64
}

func (n bestNode) open(ctx context.Context, s *shard) (cursor, error) {
	parts, err := openAll(ctx, s, n.parts)
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	return newBest(parts, n.tie), nil
}

// boolNode joins nodes. Filters and what must not match have no score.
type boolNode struct {
	must, filter, should, not []node
	need                      int // of should
}

func (n *boolNode) open(ctx context.Context, s *shard) (cursor, error) {
	var required []cursor
	for _, list := range [][]node{n.must, n.filter} {
		parts, err := openAll(ctx, s, list)
		if err != nil || len(parts) < len(list) {
			return nil, err
		}
		required = append(required, parts...)
	}
	should, err := openAll(ctx, s, n.should)
	if err != nil || len(should) < n.need {
		return nil, err
	}
	switch {
	case n.need > 0:
		required = append(required, newAny(should, n.need))
		should = nil
	case len(required) == 0:
		// Nothing but what must not match: everything else does, unscored.
		required = append(required, &every{n: s.bounds.Documents})
	}
	c := newBoth(required)
	if len(should) > 0 {
		c = &also{c, should}
	}
	not, err := openAll(ctx, s, n.not)
	if err != nil {
		return nil, err
	}
	if len(not) > 0 {
		c = &but{c, newAny(not, 1)}
	}
	return c, nil
}

type boostingNode struct {
	positive, negative node
	times              float64
}

func (n boostingNode) open(ctx context.Context, s *shard) (cursor, error) {
	c, err := n.positive.open(ctx, s)
	if c == nil || err != nil {
		return nil, err
	}
	by, err := n.negative.open(ctx, s)
	if by == nil || err != nil {
		return c, err
	}
	return &demoted{c, by, n.times}, nil
}

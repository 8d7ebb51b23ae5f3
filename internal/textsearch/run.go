package textsearch

import (
	"context"
	"math"
	"slices"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// execution is a request on its way.
type execution struct {
	*plan
	request  *textquery.Request
	compiled map[*analysis.Analyzer]*compiled
	sorts    []sortKey // nil: by score
	after    []sortValue
	scored   bool         // somebody wants to see scores
	prunable bool         // documents that score too low need not be seen
	counted  atomic.Int64 // matches so far, over all parts
	pruned   atomic.Bool  // some were not counted
	skipped  atomic.Int64 // parts of which none can match
	cut      atomic.Bool  // the search was ended before its end
	floor    atomic.Uint64
}

// compiled is a request for parts of one analyzer.
type compiled struct {
	root  node
	aggs  []aggNode
	marks *marks
	shown []*marks // of highlight fields that have a query of their own
}

// partial is what a part has found.
type partial struct {
	total int64
	most  float64 // score; NaN: none
	hits  []Hit
	aggs  []aggPartial
}

func (s *Searcher) prepare(ctx context.Context, r *textquery.Request) (*execution, error) {
	x := &execution{request: r, compiled: map[*analysis.Analyzer]*compiled{}}
	x.plan = &plan{search: s, schema: newSchema(s.Parts), table: newTermTable(), lists: make([][]textindex.Term, len(s.Parts)), budget: newBudget()}
	var err error
	if x.sorts, x.after, err = x.sortKeys(r.Sort, r.After); err != nil {
		return nil, err
	}
	x.scored = r.Scores || r.MinScore != nil || sortsByScore(x.sorts)
	for i := range s.Parts {
		a := s.Parts[i].Analyzer
		if x.compiled[a] != nil {
			continue
		}
		if x.compiled[a], err = x.compile(ctx, a); err != nil {
			return nil, err
		}
	}
	if len(s.Parts) == 0 { // what is wrong with a request is wrong also when there is nothing
		a, err := analysis.ByName("standard")
		if err != nil {
			return nil, err
		}
		if _, err := x.compile(ctx, a); err != nil {
			return nil, err
		}
	}
	x.prunable = x.sorts == nil && len(r.Aggs) == 0 && !r.Total.Exact && r.MinScore == nil
	x.floor.Store(math.Float64bits(math.Inf(-1)))
	x.table.sums = make([]atomic.Int64, len(x.table.terms))
	weighed := x.scored || slices.ContainsFunc(r.Aggs, wantsScores)
	err = s.each(ctx, func(ctx context.Context, i int) (err error) {
		if !weighed && !possible(x.compiled[s.Parts[i].Analyzer].root, x.shard(i)) {
			return nil // what terms it has does not matter
		}
		x.lists[i], err = x.table.lookup(ctx, &s.Parts[i])
		return err
	})
	return x, err
}

// shard is a part that is to be searched.
func (x *execution) shard(i int) *shard {
	p := &x.search.Parts[i]
	return &shard{Part: p, index: i, bounds: p.Split.Bounds(), terms: x.lists[i], plan: x.plan, columns: map[textindex.Field]textindex.Column{}}
}

func sortsByScore(keys []sortKey) bool {
	return keys == nil || slices.ContainsFunc(keys, func(k sortKey) bool { return k.Field == textquery.ScoreField })
}

func (x *execution) compile(ctx context.Context, a *analysis.Analyzer) (*compiled, error) {
	c := &compiler{ctx: ctx, search: x.search, schema: x.schema, terms: x.table, analyzer: a}
	out := &compiled{}
	if x.request.Highlight != nil {
		out.marks = &marks{}
		c.marks = out.marks
	}
	q := x.request.Query
	if q == nil {
		q = &textquery.MatchAll{Boost: 1}
	}
	var err error
	scored := x.scored || slices.ContainsFunc(x.request.Aggs, wantsScores)
	if out.root, err = c.query(q, 1, scored); err != nil {
		return nil, err
	}
	c.marks = nil
	if out.aggs, err = c.aggs(x, x.request.Aggs); err != nil {
		return nil, err
	}
	if x.request.Highlight == nil {
		return out, nil
	}
	for _, f := range x.request.Highlight.Fields {
		m := out.marks
		if f.Query != nil {
			m = &marks{}
			c.marks = m
			if _, err := c.query(f.Query, 1, false); err != nil {
				return nil, err
			}
		}
		out.shown = append(out.shown, m)
	}
	return out, nil
}

// checkEvery is how many documents go by between looks at the context.
const checkEvery = 1024

// run searches one part.
func (x *execution) run(ctx context.Context, i int) (*partial, error) {
	s := x.shard(i)
	c := x.compiled[s.Analyzer]
	found := &partial{most: math.NaN()}
	if x.search.over() {
		x.cut.Store(true)
		return found, nil
	}
	if !possible(c.root, s) {
		x.skipped.Add(1)
		return found, nil
	}
	root, err := c.root.open(ctx, s)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return found, s.failed() // a set may have been filled of what ended early
	}
	aggs, err := openAggs(ctx, s, c.aggs)
	if err != nil {
		return nil, err
	}
	if err := x.collect(ctx, s, root, aggs, found); err != nil {
		return nil, err
	}
	for _, a := range aggs {
		out, err := a.finish(ctx)
		if err != nil {
			return nil, err
		}
		found.aggs = append(found.aggs, out)
	}
	return found, s.failed()
}

// collect walks what matches, and keeps the best.
func (x *execution) collect(ctx context.Context, s *shard, root cursor, aggs []aggregator, found *partial) error {
	if s.Hidden != nil && !s.Hidden.IsEmpty() {
		root = &but{root, newBits(s.Hidden, 0)}
	}
	var limit pruner
	if x.prunable {
		root, limit = newPruner(root)
	}
	keys, err := s.openSorts(ctx, x.sorts, x.after)
	if err != nil {
		return err
	}
	best := &topHits{most: x.request.From + x.request.Size, before: keys.before()}
	seen := 0
	for doc := root.next(); doc != done; doc = root.next() {
		if seen++; seen%checkEvery == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if x.search.over() {
				x.cut.Store(true)
				break
			}
		}
		score := 0.0
		if x.scored {
			if score = root.score(); x.request.MinScore != nil && score < *x.request.MinScore {
				continue
			}
		}
		found.total++
		for _, a := range aggs {
			if err := a.collect(doc, 0, root); err != nil {
				return err
			}
		}
		if !(found.most >= score) {
			found.most = score
		}
		if h := keys.hit(doc, score); h != nil {
			best.add(h)
		}
		if limit != nil {
			x.prune(limit, best)
		}
	}
	if err := keys.finish(ctx, best.hits); err != nil {
		return err
	}
	for i := range best.hits {
		best.hits[i].part = s.index
	}
	found.hits = best.hits
	return nil
}

// prune tells a cursor what need not be seen any more, once enough is counted. A
// part's own hits win against later ones that score the same; those of another
// part may not.
func (x *execution) prune(limit pruner, best *topHits) {
	if counted := x.counted.Add(1); !x.request.Total.Off && counted <= int64(x.request.Total.UpTo) {
		return
	}
	floor := math.Inf(-1)
	if best.most == 0 {
		floor = math.Inf(1)
	} else if worst, full := best.worst(); full {
		floor = worst
		for {
			shared := x.floor.Load()
			if math.Float64frombits(shared) >= floor || x.floor.CompareAndSwap(shared, math.Float64bits(floor)) {
				break
			}
		}
	}
	shared := math.Float64frombits(x.floor.Load())
	floor = max(floor, math.Nextafter(shared, math.Inf(-1)))
	if !math.IsInf(floor, -1) {
		x.pruned.Store(true)
		limit.above(floor)
	}
}

// topHits keeps the first of many hits.
type topHits struct {
	hits   []Hit // a heap with the last one on top
	most   int
	before func(a, b *Hit) bool
}

// add takes a hit in if it is among the first. It copies what it keeps.
func (t *topHits) add(h *Hit) {
	if t.most == 0 {
		return
	}
	if len(t.hits) < t.most {
		t.hits = append(t.hits, *h)
		last := &t.hits[len(t.hits)-1]
		last.keys = slices.Clone(h.keys)
		for i := len(t.hits) - 1; i > 0; {
			parent := (i - 1) / 2
			if !t.before(&t.hits[parent], &t.hits[i]) {
				break
			}
			t.hits[parent], t.hits[i] = t.hits[i], t.hits[parent]
			i = parent
		}
		return
	}
	if !t.before(h, &t.hits[0]) {
		return
	}
	keys := append(t.hits[0].keys[:0], h.keys...)
	t.hits[0] = *h
	t.hits[0].keys = keys
	for i := 0; ; {
		last := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.hits); child++ {
			if t.before(&t.hits[last], &t.hits[child]) {
				last = child
			}
		}
		if last == i {
			return
		}
		t.hits[i], t.hits[last] = t.hits[last], t.hits[i]
		i = last
	}
}

// worst is the score of the last hit that is kept, when no more fit.
func (t *topHits) worst() (float64, bool) {
	if len(t.hits) < t.most {
		return 0, false
	}
	return t.hits[0].score, true
}

// merge makes one answer of what the parts found.
func (x *execution) merge(ctx context.Context, found []*partial) (*Result, error) {
	r := x.request
	out := &Result{PartsTotal: len(x.search.Parts), PartsSkipped: int(x.skipped.Load()), Cut: x.cut.Load()}
	most := math.NaN()
	var hits []Hit
	for _, p := range found {
		out.Total += p.total
		if p.most >= most || math.IsNaN(most) {
			most = p.most
		}
		hits = append(hits, p.hits...)
	}
	x.total(out)
	if err := x.offsets(ctx, hits); err != nil {
		return nil, err
	}
	slices.SortFunc(hits, x.order)
	hits = hits[min(r.From, len(hits)):min(r.From+r.Size, len(hits))]
	if x.sorts == nil || r.Scores {
		if !math.IsNaN(most) && r.Size > 0 {
			out.MaxScore = &most
		}
		for i := range hits {
			hits[i].Score = &hits[i].score
		}
	}
	for i := range hits {
		hits[i].Sort = show(x.sorts, hits[i].keys)
	}
	var err error
	if out.Hits, err = x.fetch(ctx, hits, r.Highlight != nil); err != nil {
		return nil, err
	}
	if err := x.showFields(ctx, out.Hits); err != nil {
		return nil, err
	}
	out.Aggs, err = x.mergeAggs(ctx, found)
	return out, err
}

// total says how many matched, in the same words however the parts were cut.
func (x *execution) total(out *Result) {
	t := x.request.Total
	out.Counted = !t.Off
	if !t.Exact && (x.pruned.Load() || out.Total > int64(t.UpTo)) {
		out.AtLeast = true
		out.Total = min(out.Total, int64(t.UpTo))
	}
}

// offsets gives hits their places in the log.
func (x *execution) offsets(ctx context.Context, hits []Hit) error {
	columns := map[int][2]textindex.Column{}
	for i := range hits {
		h := &hits[i]
		p := &x.search.Parts[h.part]
		c, ok := columns[h.part]
		if !ok {
			var err error
			if c[0], err = p.Split.Column(ctx, textindex.FieldOffset); err != nil {
				return ofPart(h.part, err)
			}
			if c[1], err = p.Split.Column(ctx, textindex.FieldTimestamp); err != nil {
				return ofPart(h.part, err)
			}
			columns[h.part] = c
		}
		h.Topic, h.Partition = p.Topic, p.Partition
		h.Offset, _ = c[0].Value(h.doc)
		h.Timestamp, _ = c[1].Value(h.doc)
	}
	return nil
}

// fetch gets the records of hits, and marks what matches in them.
func (x *execution) fetch(ctx context.Context, hits []Hit, highlight bool) ([]Hit, error) {
	if x.request.Source.Off && !highlight && len(x.request.Fields) == 0 {
		return hits, nil
	}
	byPart := map[int][]int{}
	for i := range hits {
		byPart[hits[i].part] = append(byPart[hits[i].part], i)
	}
	for part, list := range byPart {
		slices.SortFunc(list, func(a, b int) int { return int(hits[a].doc) - int(hits[b].doc) })
		for some := range slices.Chunk(list, fetchAtOnce) {
			if err := x.fetchSome(ctx, hits, some, part, highlight); err != nil {
				return nil, ofPart(part, err)
			}
		}
	}
	return hits, nil
}

// fetchSome gets the records of some hits of a part, whose documents rise.
func (x *execution) fetchSome(ctx context.Context, hits []Hit, some []int, part int, highlight bool) error {
	docs := make([]uint32, 0, len(some))
	for _, i := range some {
		docs = append(docs, hits[i].doc)
	}
	p := &x.search.Parts[part]
	sources, kept, err := p.Split.Source(ctx, docs)
	if err == nil && !kept && x.search.Source != nil {
		sources, err = x.search.Source(ctx, p, docs)
		kept = true
	}
	if err != nil || !kept {
		return err
	}
	for n, i := range some {
		h := &hits[i]
		h.Key, h.Value, h.Found = sources[n].Key, sources[n].Value, true
		if err := x.budget.fetch(len(h.Key) + len(h.Value)); err != nil {
			return err
		}
		if !highlight {
			continue
		}
		if err := ctx.Err(); err != nil { // long texts are analysed again
			return err
		}
		h.Highlight = x.highlight(p, h)
	}
	return ctx.Err()
}

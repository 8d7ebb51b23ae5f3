package vectorindex

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Query asks for the nearest documents.
type Query struct {
	Vector []float32
	K      int
	// Recall is the part of the true neighbours that is aimed at; 0: DefaultRecall.
	// The effort is what gave it when the shard was calibrated.
	Recall float64
	// Ef and Probes are how many candidates of a graph and how many lists are looked
	// at, at least. With a Recall below 0 they are exact.
	Ef, Probes int
	Filter     Filter
}

// DefaultRecall is aimed at when nothing else is asked for.
const DefaultRecall = 0.95

// recallMargin is what calibration has to give more than is aimed at: it asks few
// questions.
const recallMargin = 0.02

// KMax is how many documents can be asked for.
const KMax = 10_000

// Hit is a document.
type Hit struct {
	Offset    int64
	Timestamp int64
	Distance  float32
}

// Path is how a shard was searched.
type Path string

// The paths.
const (
	ByNothing Path = "nothing" // no document could pass
	ByScan    Path = "exact"   // all that pass the filter were compared
	ByGraph   Path = "graph"
	ByLists   Path = "lists"
)

// Answer is what a search found, the nearest first; of those at one distance the
// lowest offsets.
type Answer struct {
	Hits []Hit
	Path Path
	// Effort is the ef of a graph, or how many lists were read.
	Effort int
	// Recall is what calibration promises for that; 1 for an exact search.
	Recall float64
}

// Bounds of searches.
const (
	exactMappedMost = 10_000 // documents that are compared one by one in memory
	exactReadMost   = 1000   // where vectors have to be read
	graphFraction   = 0.1    // of documents that have to pass a filter for a walk
	waveBytes       = 32 << 20
)

// Search finds the nearest documents that pass the filter.
func (f *File) Search(ctx context.Context, q Query) (*Answer, error) {
	if err := Check(q.Vector, f.footer.options.Dimensions); err != nil {
		return nil, err
	}
	if q.K < 1 || q.K > KMax || math.IsNaN(q.Recall) || q.Recall > 1 || q.Ef < 0 || q.Probes < 0 {
		return nil, fmt.Errorf("k %d (1 to %d), recall %v, ef %d, probes %d: %w", q.K, KMax, q.Recall, q.Ef, q.Probes, ErrOptions)
	}
	if q.Recall == 0 {
		q.Recall = DefaultRecall
	}
	s := f.sieve(q.Filter)
	if s.none {
		return &Answer{Path: ByNothing, Recall: 1}, nil
	}
	search := &searching{File: f, query: q, sieve: s, curve: f.footer.calibration.curve(q.K), judge: newJudge(f.stored, f.footer.options.Metric, q.Vector)}
	if !s.all {
		most := exactReadMost
		if f.mapped != nil {
			most = exactMappedMost
		}
		documents, ok, err := f.few(ctx, s, most)
		if err != nil {
			return nil, err
		}
		if ok {
			return search.exactly(ctx, documents)
		}
	}
	if f.mapped != nil && f.footer.kind == HNSW && s.fraction >= graphFraction {
		answer, err := search.byGraph(ctx)
		if err != nil || len(answer.Hits) == q.K || int64(len(answer.Hits)) == f.footer.documents {
			return answer, err
		}
		// Fewer passed, where the query is, than were expected.
	}
	for wider := 1.0; ; wider *= 4 {
		answer, all, err := search.byLists(ctx, wider)
		if err != nil || all || len(answer.Hits) == q.K {
			return answer, err
		}
	}
}

// searching is one search.
type searching struct {
	*File
	query Query
	sieve *sieve
	judge *judge
	curve *Curve
}

// effort is what calibration says is needed, or what is asked for; all, where
// there were too few rows to calibrate.
func (s *searching) effort(points []Point, asked, all int) (int, float64) {
	if len(points) == 0 {
		return all, 1
	}
	if s.query.Recall < 0 && asked > 0 {
		i := sort.Search(len(points), func(i int) bool { return points[i].Effort > asked })
		if i == 0 {
			return asked, 0
		}
		return asked, float64(points[i-1].Recall) / RecallOne
	}
	p, _ := find(points, min(s.query.Recall+recallMargin, 0.5*(1+s.query.Recall)))
	return max(p.Effort, asked), float64(p.Recall) / RecallOne
}

// further are the neighbours among which those that pass the filter are looked for,
// and how many times more than they are. Where it lets one of a hundred pass, the
// ten nearest that pass are about among the thousand nearest, and these may lie in
// other lists altogether.
func (s *searching) further() (*Curve, float64) {
	among := furtherFactor * float64(s.query.K) / s.sieve.fraction
	if among <= nearFactor*float64(s.curve.K) {
		return s.curve, 1
	}
	c := s.footer.calibration.curve(int(min(among, KMax)))
	return c, max(1, among/float64(c.K))
}

// Factors of further: the last that passes may be some more away than it is on
// average, and what is not much further needs no more than its share.
const (
	furtherFactor = 1.5
	nearFactor    = 4
)

// byGraph walks the graph. Where a filter lets only a part pass, it keeps so many
// more candidates, and as many as are needed to find those that are further away.
func (s *searching) byGraph(ctx context.Context) (*Answer, error) {
	g, err := s.walkable()
	if err != nil {
		return nil, err
	}
	ef, recall := s.effort(s.curve.Graph, s.query.Ef, s.footer.rows)
	answer := &Answer{Path: ByGraph, Effort: ef, Recall: recall}
	ef = max(ef+max(s.query.K-s.curve.K, 0)*3/2, s.query.K)
	if further, _ := s.further(); further != s.curve {
		beyond, promised := s.effort(further.Graph, 0, s.footer.rows)
		ef, answer.Recall = max(int(float64(ef)/s.sieve.fraction), beyond), promised
	} else {
		ef = int(float64(ef) / s.sieve.fraction)
	}
	ef = min(max(ef, s.spread()), s.footer.rows)
	w := s.walks.take()
	defer s.walks.give(w)
	p := s.space.probe(s.query.Vector)
	records := s.records()
	g.search(w, s.space, p, records, 0, ef, g.descend(w, s.space, p, records, 0))
	rows := make([]uint32, len(w.pool))
	for i, c := range w.pool {
		rows[i] = c.row
	}
	slices.Sort(rows)
	return s.decide(ctx, rows, s.tableOf(), answer)
}

// spread is of how many candidates so many pass as are asked for, though a little
// fewer pass than do on average: half of the walks would be in vain else.
func (s *searching) spread() int {
	k, part := float64(s.query.K), s.sieve.fraction
	return int((k + 3*math.Sqrt(k*(1-part))) / part)
}

// records are those of a shard in memory.
func (f *File) records() []byte {
	lists := f.footer.lists
	last := lists[len(lists)-1].rows
	return f.mapped[lists[0].rows.at : last.at+last.length]
}

// tableOf finds the list of rows, which rise, of a shard in memory.
func (f *File) tableOf() func(row uint32) (*table, error) {
	var t *table
	return func(row uint32) (*table, error) {
		if t != nil && row < t.next {
			return t, nil
		}
		lists := f.footer.lists
		var err error
		t, err = f.table(uint32(sort.Search(len(lists), func(i int) bool { return lists[i].next > row })))
		return t, err
	}
}

// byLists looks at the nearest lists, and says whether those were all. Where a
// filter lets only a part pass, it looks at so many more, and at as many as are
// needed to find those that are further away.
func (s *searching) byLists(ctx context.Context, wider float64) (*Answer, bool, error) {
	probes, recall := s.effort(s.curve.Lists, s.query.Probes, len(s.footer.lists))
	if s.query.K > s.curve.K { // there is nothing better to go by
		probes = int(math.Ceil(float64(probes) * float64(s.query.K) / float64(max(s.curve.K, 1))))
	}
	beyond := probes
	if further, times := s.further(); further != s.curve {
		beyond, recall = s.effort(further.Lists, 0, len(s.footer.lists))
		beyond = max(probes, int(math.Ceil(times*float64(beyond))))
	}
	within := func(lists int) int { return max(1, int(min(float64(lists)*wider, float64(len(s.footer.lists))))) }
	probes, beyond = within(probes), within(beyond)
	var coarse *probe
	if s.middles.count() > 0 {
		coarse = s.middles.space.probe(s.query.Vector)
	} else {
		probes, beyond = len(s.footer.lists), len(s.footer.lists)
	}
	wanted := float64(probes) * float64(s.footer.documents) / float64(len(s.footer.lists))
	var lists []uint32
	all := true
	for i, n := range nearestLists(&s.middles, coarse, len(s.footer.lists)) {
		l := &s.footer.lists[n]
		if all = i < beyond || len(lists) < probes || wanted > 0; !all {
			break
		}
		if s.sieve.overlaps(l.bounds) {
			lists = append(lists, n)
			wanted -= float64(l.documents) * s.sieve.fraction
		}
	}
	slices.Sort(lists)
	answer := &Answer{Path: ByLists, Effort: len(lists), Recall: recall}
	if n := len(s.curve.Lists); len(lists) == len(s.footer.lists) && n > 0 {
		answer.Recall = float64(s.curve.Lists[n-1].Recall) / RecallOne
	}
	answer, err := s.scanLists(ctx, lists, answer)
	return answer, all, err
}

// scanLists compares the rows of lists, so many bytes at a time, and judges the
// best by their vectors.
func (s *searching) scanLists(ctx context.Context, lists []uint32, answer *Answer) (*Answer, error) {
	nearest := best{most: max(s.curve.Rerank, 2*s.query.K)}
	p := s.space.probe(s.query.Vector)
	kept := make(map[uint32]*table) // of the candidates
	for len(lists) > 0 {
		n, bytes := 0, int64(0)
		for n < len(lists) && (n == 0 || bytes < waveBytes) {
			bytes += s.footer.lists[lists[n]].rows.length
			n++
		}
		tables, err := s.tables(ctx, lists[:n])
		if err != nil {
			return nil, err
		}
		for _, t := range tables {
			var want func(row uint32) bool
			if !s.sieve.all {
				want = func(row uint32) bool { return s.sieve.row(t, s.space, row) }
			}
			newScan(s.space, p, t.data, t.first).list(t.first, t.next, want, &nearest)
		}
		s.keep(kept, tables, nearest.heap)
		lists = lists[n:]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	rows := make([]uint32, len(nearest.heap))
	for i, c := range nearest.heap {
		rows[i] = c.row
	}
	slices.Sort(rows)
	return s.decide(ctx, rows, func(row uint32) (*table, error) { return kept[row], nil }, answer)
}

// keep keeps what is needed of the candidates that have just been found: their
// records, not whole lists.
func (s *searching) keep(kept map[uint32]*table, tables []*table, candidates []candidate) {
	for _, c := range candidates {
		if kept[c.row] != nil {
			continue
		}
		i := sort.Search(len(tables), func(i int) bool { return tables[i].next > c.row })
		t := tables[i]
		kept[c.row] = &table{first: c.row, next: c.row + 1, data: slices.Clone(t.record(s.space, c.row)), copies: map[uint32][]document{c.row: t.copies[c.row]}}
	}
}

// exactly compares the documents that pass a filter one by one.
func (s *searching) exactly(ctx context.Context, documents []document) (*Answer, error) {
	rows := make([]uint32, len(documents))
	for i, d := range documents {
		rows[i] = d.row
	}
	slices.Sort(rows)
	rows = slices.Compact(rows)
	answer := &Answer{Path: ByScan, Effort: len(rows), Recall: 1}
	if s.mapped != nil {
		return s.decide(ctx, rows, s.tableOf(), answer)
	}
	// Vectors alone tell how far they are, but for what a cosine needs: their length,
	// which they tell too.
	of := make(map[uint32][]document, len(rows))
	for _, d := range documents {
		of[d.row] = append(of[d.row], d)
	}
	if s.stored.encoding == Int8 {
		return s.exactlyByRecords(ctx, rows, of, answer)
	}
	vectors, err := s.exact(ctx, rows)
	if err != nil {
		return nil, err
	}
	v := make([]float32, s.stored.dimensions)
	for i, row := range rows {
		s.stored.decode(v, vectors[i])
		answer.add(of[row], s.judge.distance(vectors[i], float32(length(v))))
	}
	return answer.finish(s.query.K), nil
}

// exactlyByRecords is exactly for a shard that has nothing but records.
func (s *searching) exactlyByRecords(ctx context.Context, rows []uint32, of map[uint32][]document, answer *Answer) (*Answer, error) {
	var lists []uint32
	for _, row := range rows {
		n := uint32(sort.Search(len(s.footer.lists), func(i int) bool { return s.footer.lists[i].next > row }))
		if len(lists) == 0 || lists[len(lists)-1] != n {
			lists = append(lists, n)
		}
	}
	for _, n := range lists {
		tables, err := s.tables(ctx, []uint32{n})
		if err != nil {
			return nil, err
		}
		for ; len(rows) > 0 && rows[0] < tables[0].next; rows = rows[1:] {
			answer.add(of[rows[0]], s.judge.record(tables[0].record(s.space, rows[0])))
		}
	}
	return answer.finish(s.query.K), nil
}

// decide judges candidates, which rise, by their vectors.
func (s *searching) decide(ctx context.Context, rows []uint32, tableOf func(uint32) (*table, error), answer *Answer) (*Answer, error) {
	vectors, err := s.exact(ctx, rows)
	if err != nil {
		return nil, err
	}
	var passing []document
	for i, row := range rows {
		t, err := tableOf(row)
		if err != nil {
			return nil, err
		}
		record := t.record(s.space, row)
		passing = passing[:0]
		if d := documentOf(record, row); s.sieve.passes(d) {
			passing = append(passing, d)
		}
		for _, d := range t.copies[row] {
			if s.sieve.passes(d) {
				passing = append(passing, d)
			}
		}
		if len(passing) == 0 {
			continue
		}
		if vectors == nil {
			answer.add(passing, s.judge.record(record))
		} else {
			answer.add(passing, s.judge.distance(vectors[i], getFloat(record[atNorm:])))
		}
	}
	return answer.finish(s.query.K), nil
}

// add adds the documents of one row.
func (a *Answer) add(documents []document, distance float32) {
	for _, d := range documents {
		a.Hits = append(a.Hits, Hit{d.offset, d.timestamp, distance})
	}
}

func (a *Answer) finish(k int) *Answer {
	slices.SortFunc(a.Hits, func(x, y Hit) int {
		return cmp.Or(cmp.Compare(x.Distance, y.Distance), cmp.Compare(x.Offset, y.Offset))
	})
	a.Hits = slices.Clip(a.Hits[:min(k, len(a.Hits))])
	return a
}

package vectorindex

import (
	"context"
	"math/rand/v2"
)

// Calibration says what part of the true neighbours came back at which effort,
// when the shard was asked for those nearest to rows that it had not seen.
type Calibration struct {
	// Queries is how many there were; of each further curve half of them.
	Queries int
	// Curves are for rising numbers of neighbours: 10, 100 and 1000, as far as there
	// are rows for that.
	Curves []Curve
}

// Curve is how recall grows with effort when K neighbours are asked for.
type Curve struct {
	K int
	// Graph has the efforts of a walk: Effort is ef, how many candidates are kept.
	Graph []Point
	// Lists has those of a look at lists: Effort is how many.
	Lists []Point
	// Rerank is how many candidates' vectors are looked at after lists.
	Rerank int
}

// curve is the one for so many neighbours, or for more: what lies a bit further
// may be in other lists altogether. For more than all it is the last.
func (c *Calibration) curve(k int) *Curve {
	for i := range c.Curves {
		if c.Curves[i].K >= k {
			return &c.Curves[i]
		}
	}
	if n := len(c.Curves); n > 0 {
		return &c.Curves[n-1]
	}
	return &Curve{K: curveFirst, Rerank: 2 * curveFirst}
}

// Point is what one effort gave.
type Point struct {
	Effort int
	// Recall is in parts of RecallOne.
	Recall int
}

// RecallOne is a recall of 1.
const RecallOne = 10_000

// Bounds of calibration.
const (
	queriesMost    = 128
	queriesShare   = 10 // no more of the rows than one of so many is held out
	curveFirst     = 10 // neighbours that are asked for
	curveMost      = 1000
	curveStep      = 10
	curveShare     = 10 // no more than one of so many rows
	recallEnough   = 0.998 * RecallOne
	rerankMost     = 5000
	effortEnough   = 4096
	effortsAtFirst = 8
)

// find returns the least effort that gave a recall; the greatest that was tried,
// and false, when none did.
func find(points []Point, recall float64) (Point, bool) {
	for _, p := range points {
		if float64(p.Recall) >= recall*RecallOne {
			return p, true
		}
	}
	if len(points) == 0 {
		return Point{}, false
	}
	return points[len(points)-1], false
}

// held are the rows that are asked for.
type held struct {
	rows []uint32
	is   []bool
}

// rank puts held rows behind all others.
func (h *held) rank(row uint32) int {
	if h.is[row] {
		return 1
	}
	return 0
}

// hold chooses the rows that are held out, in no order: any half of them is as good.
func (s *shard) hold(random *rand.Rand) *held {
	h := &held{is: make([]bool, s.rows)}
	for n := min(queriesMost, s.rows/queriesShare); len(h.rows) < n; {
		if row := uint32(random.IntN(s.rows)); !h.is[row] {
			h.is[row] = true
			h.rows = append(h.rows, row)
		}
	}
	return h
}

// question is a held row, and its true neighbours among the others.
type question struct {
	vector []float32
	probe  *probe // of the shard's codes
	coarse *probe // of the lists'
	judge  *judge
	truth  []candidate
}

// calibrate measures recall.
func (s *shard) calibrate(ctx context.Context, h *held) error {
	s.calibration = Calibration{Queries: len(h.rows)}
	if len(h.rows) == 0 {
		return nil
	}
	questions, err := s.questions(ctx, h)
	if err != nil {
		return err
	}
	for k := curveFirst; k == curveFirst || k <= min(curveMost, s.rows/curveShare); k *= curveStep {
		c := Curve{K: k}
		if err := s.calibrateGraph(ctx, &c, questions); err != nil {
			return err
		}
		if err := s.calibrateLists(ctx, &c, h, questions); err != nil {
			return err
		}
		s.calibration.Curves = append(s.calibration.Curves, c)
		questions = questions[:(len(questions)+1)/2] // each has ten times the neighbours
	}
	return nil
}

func (s *shard) calibrateGraph(ctx context.Context, c *Curve, questions []*question) error {
	if s.graph == nil {
		return nil
	}
	for ef := c.K; ; ef = nextEffort(ef) {
		r, err := s.recall(ctx, questions, c.K, func(q *question) []candidate { return s.walkGraph(q.probe, ef) })
		if err != nil {
			return err
		}
		c.Graph = append(c.Graph, Point{ef, r})
		if float64(r) >= recallEnough || ef >= max(effortEnough, 4*c.K) {
			return nil
		}
	}
}

// calibrateLists finds first how many candidates have to be looked at when all
// lists are read, then how many lists.
func (s *shard) calibrateLists(ctx context.Context, c *Curve, h *held, questions []*question) error {
	all := len(s.lists)
	look := func(lists int) (int, error) {
		return s.recall(ctx, questions, c.K, func(q *question) []candidate { return s.scanLists(h, q, lists, c.Rerank) })
	}
	for c.Rerank = 2 * c.K; ; c.Rerank *= 2 {
		r, err := look(all)
		if err != nil {
			return err
		}
		if float64(r) < recallEnough && c.Rerank*2 <= max(rerankMost, 4*c.K) && c.Rerank < s.rows {
			continue
		}
		if s.kind == Flat {
			c.Lists = []Point{{all, r}}
			return nil
		}
		break
	}
	for n := 1; ; n = nextEffort(n) {
		n = min(n, all)
		r, err := look(n)
		if err != nil {
			return err
		}
		c.Lists = append(c.Lists, Point{n, r})
		if float64(r) >= recallEnough || n == all {
			return nil
		}
	}
}

// nextEffort grows by a quarter to a half.
func nextEffort(n int) int {
	if n < effortsAtFirst {
		return n + 1
	}
	step := 1
	for step*4 <= n {
		step *= 2
	}
	return (n + step) / step * step
}

// questions finds the true neighbours of held rows: each vector is read once.
func (s *shard) questions(ctx context.Context, h *held) ([]*question, error) {
	questions := make([]*question, len(h.rows))
	nearest := make([]best, len(h.rows))
	for i, row := range h.rows {
		stored, err := s.vectors.vector(row)
		if err != nil {
			return nil, err
		}
		q := &question{vector: make([]float32, s.options.Dimensions)}
		s.stored.decode(q.vector, stored)
		q.probe, q.judge = s.space.probe(q.vector), newJudge(s.stored, s.options.Metric, q.vector)
		if s.middles.count() > 0 {
			q.coarse = s.middles.space.probe(q.vector)
		}
		questions[i], nearest[i] = q, best{most: min(curveMost, max(curveFirst, s.rows/curveShare))}
	}
	for row := range uint32(s.rows) {
		if row%looksEvery == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if h.is[row] {
			continue
		}
		stored, err := s.vectors.vector(row)
		if err != nil {
			return nil, err
		}
		norm := getFloat(s.table[int(row)*s.space.stride+atNorm:])
		for i, q := range questions {
			nearest[i].offer(candidate{q.judge.distance(stored, norm), row})
		}
	}
	for i, q := range questions {
		q.truth = nearest[i].sorted()
	}
	return questions, nil
}

// recall is the part of k true neighbours that a search finds. What is as near as
// the last of them is as good.
func (s *shard) recall(ctx context.Context, questions []*question, k int, search func(*question) []candidate) (int, error) {
	found, of := 0, 0
	for _, q := range questions {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		count := min(k, len(q.truth))
		if count == 0 {
			continue
		}
		nearest := best{most: k}
		for _, c := range search(q) {
			stored, err := s.vectors.vector(c.row)
			if err != nil {
				return 0, err
			}
			c.distance = q.judge.distance(stored, getFloat(s.table[int(c.row)*s.space.stride+atNorm:]))
			nearest.offer(c)
		}
		n := 0
		for _, c := range nearest.sorted() {
			if c.distance <= q.truth[count-1].distance {
				n++
			}
		}
		found, of = found+min(n, count), of+count
	}
	if of == 0 {
		return RecallOne, nil
	}
	return found * RecallOne / of, nil
}

func (s *shard) walkGraph(p *probe, ef int) []candidate {
	w := s.walks.take()
	defer s.walks.give(w)
	s.graph.search(w, s.space, p, s.table, 0, ef, s.graph.descend(w, s.space, p, s.table, 0))
	all := make([]candidate, len(w.pool))
	for i, c := range w.pool {
		all[i] = c.candidate
	}
	return all
}

// scanLists compares a question with the rows of the nearest lists that are not
// held.
func (s *shard) scanLists(h *held, q *question, lists, rerank int) []candidate {
	nearest := best{most: rerank}
	scan := newScan(s.space, q.probe, s.table, 0)
	for _, l := range nearestLists(&s.middles, q.coarse, len(s.lists))[:lists] {
		scan.list(s.lists[l].first, s.lists[l].next, func(row uint32) bool { return !h.is[row] }, &nearest)
	}
	return nearest.sorted()
}

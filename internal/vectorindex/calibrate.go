package vectorindex

import (
	"math/rand/v2"
	"slices"
)

// Calibration says what part of the true neighbours came back at which effort,
// when the shard was asked for the 10 nearest of rows that it had not seen.
type Calibration struct {
	Queries int
	// Graph has the efforts of a walk: Effort is ef, how many candidates are kept.
	Graph []Point
	// Lists has those of a look at lists: Effort is how many.
	Lists []Point
	// Rerank is how many candidates' vectors are looked at after lists.
	Rerank int
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
	neighboursOf   = 10
	recallEnough   = 0.998 * RecallOne
	rerankFirst    = 20
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

// hold chooses the rows that are held out.
func (s *shard) hold(random *rand.Rand) *held {
	h := &held{is: make([]bool, s.rows)}
	for n := min(queriesMost, s.rows/queriesShare); len(h.rows) < n; {
		if row := uint32(random.IntN(s.rows)); !h.is[row] {
			h.is[row] = true
			h.rows = append(h.rows, row)
		}
	}
	slices.Sort(h.rows)
	return h
}

// question is a held row, and its true neighbours among the others.
type question struct {
	vector []float32
	probe  *probe // of the shard's codes
	coarse *probe // of the lists'
	judge  *judge
	worst  float32 // distance of the last true neighbour
	count  int     // of true neighbours
}

// calibrate measures recall.
func (s *shard) calibrate(h *held) error {
	s.calibration = Calibration{Queries: len(h.rows), Rerank: rerankFirst}
	if len(h.rows) == 0 {
		return nil
	}
	questions, err := s.questions(h)
	if err != nil {
		return err
	}
	if s.graph != nil {
		for ef := neighboursOf; ef <= effortEnough; ef = nextEffort(ef) {
			r, err := s.recall(questions, func(q *question) ([]candidate, error) { return s.walkGraph(q.probe, ef), nil })
			if err != nil {
				return err
			}
			s.calibration.Graph = append(s.calibration.Graph, Point{ef, r})
			if float64(r) >= recallEnough {
				break
			}
		}
	}
	return s.calibrateLists(h, questions)
}

// calibrateLists finds first how many candidates have to be looked at when all
// lists are read, then how many lists.
func (s *shard) calibrateLists(h *held, questions []*question) error {
	all := len(s.lists)
	look := func(lists, rerank int) (int, error) {
		return s.recall(questions, func(q *question) ([]candidate, error) { return s.scanLists(h, q, lists, rerank), nil })
	}
	for rerank := rerankFirst; ; rerank *= 2 {
		r, err := look(all, rerank)
		if err != nil {
			return err
		}
		s.calibration.Rerank = rerank
		if float64(r) >= recallEnough || rerank*2 > rerankMost || rerank >= s.rows {
			if s.kind == Flat {
				s.calibration.Lists = []Point{{all, r}}
				return nil
			}
			break
		}
	}
	for n := 1; ; n = nextEffort(n) {
		n = min(n, all)
		r, err := look(n, s.calibration.Rerank)
		if err != nil {
			return err
		}
		s.calibration.Lists = append(s.calibration.Lists, Point{n, r})
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
func (s *shard) questions(h *held) ([]*question, error) {
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
		questions[i], nearest[i] = q, best{most: neighboursOf}
	}
	for row := range uint32(s.rows) {
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
		all := nearest[i].sorted()
		if q.count = len(all); q.count > 0 {
			q.worst = all[q.count-1].distance
		}
	}
	return questions, nil
}

// recall is the part of true neighbours that a search finds. What is as near as
// the last of them is as good.
func (s *shard) recall(questions []*question, search func(*question) ([]candidate, error)) (int, error) {
	found, of := 0, 0
	for _, q := range questions {
		candidates, err := search(q)
		if err != nil {
			return 0, err
		}
		nearest := best{most: neighboursOf}
		for _, c := range candidates {
			stored, err := s.vectors.vector(c.row)
			if err != nil {
				return 0, err
			}
			c.distance = q.judge.distance(stored, getFloat(s.table[int(c.row)*s.space.stride+atNorm:]))
			nearest.offer(c)
		}
		n := 0
		for _, c := range nearest.sorted() {
			if c.distance <= q.worst {
				n++
			}
		}
		found, of = found+min(n, q.count), of+q.count
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

package vectorindex

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"golang.org/x/sync/errgroup"
)

// graphBuilder inserts rows into a graph, a batch at a time: all rows of a batch
// look for neighbours in the graph as it was before it, and among each other, at
// once; then each row that got a neighbour is given to one worker. So what comes
// out does not depend on how many there are.
type graphBuilder struct {
	*graph
	space   *space
	table   []byte
	ef      int
	workers int
	levelOf []uint8
	order   []uint32 // rows as they are inserted
	walks   *walks
	scratch []*selector // of workers
}

const (
	batchMost  = 256
	batchShare = 16 // a batch is no more than such a part of what is there
	levelsMost = 16
)

func newGraphBuilder(s *space, table []byte, rows, m, ef, workers int, random *rand.Rand) *graphBuilder {
	b := &graphBuilder{graph: &graph{m: m}, space: s, table: table, ef: ef, workers: workers, levelOf: make([]uint8, rows), order: make([]uint32, rows), walks: newWalks(rows, m)}
	lists := 0
	factor := 1 / math.Log(float64(m))
	for i := range b.order {
		b.order[i] = uint32(i)
		if l := min(int(-math.Log(1-random.Float64())*factor), levelsMost); l > 0 {
			b.levelOf[i] = uint8(l)
			b.nodes++
			lists += l
		}
	}
	random.Shuffle(rows, func(i, j int) { b.order[i], b.order[j] = b.order[j], b.order[i] })
	b.ground = slices.Repeat([]byte{0xff}, rows*8*m)
	b.upper = make([]byte, 0, 8*b.nodes+4*m*lists)
	list := uint32(0)
	for row, l := range b.levelOf {
		if l > 0 {
			b.upper = binary.LittleEndian.AppendUint32(b.upper, uint32(row))
			b.upper = binary.LittleEndian.AppendUint32(b.upper, list)
			list += uint32(l)
		}
	}
	b.upper = append(b.upper, slices.Repeat([]byte{0xff}, 4*m*lists)...)
	for range workers {
		b.scratch = append(b.scratch, &selector{graphBuilder: b})
	}
	return b
}

// insert inserts the rows of order from first to next.
func (b *graphBuilder) insert(ctx context.Context, first, next int) error {
	if first == 0 && next > 0 {
		b.entry, b.levels = b.order[0], int(b.levelOf[b.order[0]])
		first = 1
	}
	for first < next {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(next-first, batchMost, max(1, first/batchShare))
		b.batch(b.order[first : first+n])
		first += n
	}
	return nil
}

// link is a neighbour that a row of a batch has chosen.
type link struct {
	row, neighbour uint32
	level          int
}

func (b *graphBuilder) batch(rows []uint32) {
	chosen := make([][]link, len(rows))
	b.each(func(worker int, s *selector) {
		for i := worker; i < len(rows); i += b.workers {
			chosen[i] = s.choose(rows[:i], rows[i])
		}
	})
	for _, links := range chosen {
		b.own(links)
	}
	// Whoever was chosen chooses anew, among what it had and who chose it.
	b.each(func(worker int, s *selector) {
		for _, links := range chosen {
			for _, l := range links {
				if int(l.neighbour)%b.workers == worker {
					s.back(l)
				}
			}
		}
	})
	for _, row := range rows {
		if l := int(b.levelOf[row]); l > b.levels {
			b.entry, b.levels = row, l
		}
	}
}

func (b *graphBuilder) each(do func(worker int, s *selector)) {
	var group errgroup.Group
	for worker, s := range b.scratch {
		group.Go(func() error {
			do(worker, s)
			return nil
		})
	}
	_ = group.Wait() // do has no errors
}

// own writes the neighbours of a row of the batch.
func (b *graphBuilder) own(links []link) {
	for _, l := range links {
		list := b.at(l.row, l.level)
		for binary.LittleEndian.Uint32(list) != none {
			list = list[4:]
		}
		binary.LittleEndian.PutUint32(list, l.neighbour)
	}
}

// selector chooses neighbours: those that are nearer to the row than to any that
// was chosen before, so that they lie in all directions.
type selector struct {
	*graphBuilder
	mine, other probe
	ids         []uint32
	products    []int32
	found       []float32
	candidates  []candidate
	chosen      []uint32
}

func (s *selector) size(n int) {
	if cap(s.products) < n {
		s.products, s.found = make([]int32, 2*n), make([]float32, 2*n)
	}
}

// measure appends how far rows are from the one of a probe.
func (s *selector) measure(p *probe, ids []uint32) {
	s.size(len(ids))
	s.space.distances(p, s.space.rows(s.table), ids, s.products[:len(ids)], s.found[:len(ids)])
	for i, id := range ids {
		s.candidates = append(s.candidates, candidate{s.found[i], id})
	}
}

// choose finds the neighbours of a row on all its levels. earlier are rows of the
// batch that come before it.
func (s *selector) choose(earlier []uint32, row uint32) []link {
	s.space.probeRecord(&s.mine, s.record(row))
	top := int(s.levelOf[row])
	var links []link
	w := s.walks.take()
	defer s.walks.give(w)
	from := []candidate{s.descend(w, s.space, &s.mine, s.table, top)}
	for level := top; level >= 0; level-- {
		s.candidates = s.candidates[:0]
		if level <= s.levels {
			s.search(w, s.space, &s.mine, s.table, level, s.ef, from...)
			from = from[:0]
			for _, p := range w.pool {
				from = append(from, p.candidate)
			}
			s.candidates = append(s.candidates, from...)
		}
		s.ids = s.ids[:0]
		for _, e := range earlier {
			if int(s.levelOf[e]) >= level {
				s.ids = append(s.ids, e)
			}
		}
		if len(s.ids) > 0 {
			s.measure(&s.mine, s.ids)
			sortCandidates(s.candidates)
		}
		for _, n := range s.pick(s.m) {
			links = append(links, link{row, n, level})
		}
	}
	return links
}

func (b *graphBuilder) record(row uint32) []byte {
	return b.table[int(row)*b.space.stride:][:b.space.stride]
}

func sortCandidates(c []candidate) {
	slices.SortFunc(c, func(a, b candidate) int {
		switch {
		case a.before(b):
			return -1
		case b.before(a):
			return 1
		}
		return 0
	})
}

// pick chooses at most n of the candidates, which are sorted.
func (s *selector) pick(n int) []uint32 {
	s.chosen = s.chosen[:0]
	for _, c := range s.candidates {
		if len(s.chosen) == n {
			break
		}
		if len(s.chosen) > 0 && s.covered(c) {
			continue
		}
		s.chosen = append(s.chosen, c.row)
	}
	return s.chosen
}

// covered reports that a candidate is nearer to one that was chosen than to the row.
func (s *selector) covered(c candidate) bool {
	s.space.probeRecord(&s.other, s.record(c.row))
	n := len(s.chosen)
	s.size(n)
	s.space.distances(&s.other, s.space.rows(s.table), s.chosen, s.products[:n], s.found[:n])
	for _, d := range s.found[:n] {
		if d < c.distance {
			return true
		}
	}
	return false
}

// back makes a row the neighbour of one that it has chosen.
func (s *selector) back(l link) {
	list := s.at(l.neighbour, l.level)
	s.ids = s.ids[:0]
	for at := list; len(at) > 0; at = at[4:] {
		id := binary.LittleEndian.Uint32(at)
		if id == none {
			binary.LittleEndian.PutUint32(at, l.row)
			return
		}
		if id == l.row {
			return
		}
		s.ids = append(s.ids, id)
	}
	s.space.probeRecord(&s.mine, s.record(l.neighbour))
	s.ids = append(s.ids, l.row)
	s.candidates = s.candidates[:0]
	s.measure(&s.mine, s.ids)
	sortCandidates(s.candidates)
	for _, id := range s.pick(len(list) / 4) {
		binary.LittleEndian.PutUint32(list, id)
		list = list[4:]
	}
	for ; len(list) > 0; list = list[4:] {
		binary.LittleEndian.PutUint32(list, none)
	}
}

package vectorindex

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// best keeps the candidates that are nearest, as a heap with the worst on top.
type best struct {
	most int
	heap []candidate
}

func (b *best) offer(c candidate) {
	if b.most == 0 {
		return
	}
	if len(b.heap) < b.most {
		b.heap = append(b.heap, c)
		for i := len(b.heap) - 1; i > 0; {
			parent := (i - 1) / 2
			if !b.heap[parent].before(b.heap[i]) {
				break
			}
			b.heap[parent], b.heap[i] = b.heap[i], b.heap[parent]
			i = parent
		}
		return
	}
	if !c.before(b.heap[0]) {
		return
	}
	b.heap[0] = c
	for i := 0; ; {
		worst := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(b.heap); child++ {
			if b.heap[worst].before(b.heap[child]) {
				worst = child
			}
		}
		if worst == i {
			return
		}
		b.heap[worst], b.heap[i] = b.heap[i], b.heap[worst]
		i = worst
	}
}

// sorted returns the candidates, the nearest first. The heap is no more.
func (b *best) sorted() []candidate {
	sortCandidates(b.heap)
	return b.heap
}

// scanRows are compared at a time.
const scanRows = 128

// scan compares a query with runs of rows. One goroutine uses it.
type scan struct {
	space    *space
	probe    *probe
	rows     kernel.Rows
	first    uint32 // row that the data begins with
	ids      []uint32
	products []int32
	found    []float32
}

func newScan(s *space, p *probe, table []byte, first uint32) *scan {
	return &scan{space: s, probe: p, rows: s.rows(table), first: first, ids: make([]uint32, 0, scanRows), products: make([]int32, scanRows), found: make([]float32, scanRows)}
}

// list offers the rows from first to next that are wanted; nil wants all.
func (s *scan) list(first, next uint32, want func(uint32) bool, to *best) {
	for row := first; row < next; row++ {
		if want == nil || want(row) {
			s.ids = append(s.ids, row-s.first)
		}
		if len(s.ids) == scanRows {
			s.flush(to)
		}
	}
	s.flush(to)
}

func (s *scan) flush(to *best) {
	n := len(s.ids)
	if n == 0 {
		return
	}
	s.space.distances(s.probe, s.rows, s.ids, s.products[:n], s.found[:n])
	for i, id := range s.ids {
		to.offer(candidate{s.found[i], id + s.first})
	}
	s.ids = s.ids[:0]
}

// nearestLists returns all lists, the nearest first; in their order if they have
// no middles.
func nearestLists(c *centroids, p *probe, lists int) []uint32 {
	all := make([]candidate, lists)
	for i := range all {
		all[i].row = uint32(i)
	}
	if c.count() > 0 {
		found, products := make([]float32, lists), make([]int32, lists)
		c.space.distances(p, c.space.rows(c.data), c.ids, products, found)
		for i := range all {
			all[i].distance = found[i]
		}
		sortCandidates(all)
	}
	order := make([]uint32, lists)
	for i, c := range all {
		order[i] = c.row
	}
	return slices.Clip(order)
}

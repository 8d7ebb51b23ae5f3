package vectorindex

import (
	"encoding/binary"
	"sort"
	"sync"
)

// graph is a hierarchical navigable small world of rows, as it lies in a file:
// for each row 2m neighbours on the ground; for the rows that are above it, m a
// level. A neighbour is a row's number, none is 2³²−1, and those come last.
//
// upper begins with the rows that are above the ground: row (4) · where its
// neighbours begin, in lists of m (4); neighbours follow, from level 1 on.
type graph struct {
	m      int
	entry  uint32
	levels int // above the ground
	nodes  int // rows above the ground
	ground []byte
	upper  []byte
}

const none = ^uint32(0)

// at returns the neighbours of a row on a level.
func (g *graph) at(row uint32, level int) []byte {
	if level == 0 {
		n := 8 * g.m
		return g.ground[int(row)*n:][:n:n]
	}
	i := sort.Search(g.nodes, func(i int) bool { return binary.LittleEndian.Uint32(g.upper[8*i:]) >= row })
	list := int(binary.LittleEndian.Uint32(g.upper[8*i+4:])) + level - 1
	return g.upper[8*g.nodes+4*g.m*list:][: 4*g.m : 4*g.m]
}

// walk is the scratch of searches in one graph. One goroutine uses it at a time.
type walk struct {
	seen     []uint64 // a bit a row
	touched  []uint32
	pool     []pooled
	ids      []uint32
	products []int32
	found    []float32
}

// pooled is a candidate, and whether its neighbours have been looked at.
type pooled struct {
	candidate
	done bool
}

// walks lends walks for graphs of so many rows.
type walks struct{ pool sync.Pool }

func newWalks(rows, m int) *walks {
	w := &walks{}
	w.pool.New = func() any {
		return &walk{seen: make([]uint64, (rows+63)/64), ids: make([]uint32, 0, 2*m), products: make([]int32, 2*m), found: make([]float32, 2*m)}
	}
	return w
}

func (w *walks) take() *walk { return w.pool.Get().(*walk) }

func (w *walks) give(x *walk) { w.pool.Put(x) }

// fit makes room for so many neighbours.
func (w *walk) fit(neighbours int) {
	if len(w.found) < neighbours {
		w.products, w.found = make([]int32, neighbours), make([]float32, neighbours)
	}
}

// visit notes that a row was seen, and says whether it is the first time.
func (w *walk) visit(row uint32) bool {
	bit := uint64(1) << (row & 63)
	if w.seen[row>>6]&bit != 0 {
		return false
	}
	w.seen[row>>6] |= bit
	w.touched = append(w.touched, row)
	return true
}

func (w *walk) forget() {
	for _, row := range w.touched {
		w.seen[row>>6] = 0
	}
	w.touched = w.touched[:0]
}

// descend goes from the entry down to a level, always to what is nearest.
func (g *graph) descend(w *walk, s *space, p *probe, table []byte, level int) candidate {
	w.fit(2 * g.m)
	at := candidate{row: g.entry}
	w.ids = append(w.ids[:0], g.entry)
	s.distances(p, s.rows(table), w.ids, w.products[:1], w.found[:1])
	at.distance = w.found[0]
	for l := g.levels; l > level; l-- {
		for moved := true; moved; {
			moved = false
			w.neighbours(g.at(at.row, l), func(uint32) bool { return true })
			n := len(w.ids)
			s.distances(p, s.rows(table), w.ids, w.products[:n], w.found[:n])
			for i, id := range w.ids {
				if c := (candidate{w.found[i], id}); c.before(at) {
					at, moved = c, true
				}
			}
		}
	}
	return at
}

// neighbours fills ids with those that are wanted.
func (w *walk) neighbours(list []byte, want func(uint32) bool) {
	w.ids = w.ids[:0]
	for ; len(list) > 0; list = list[4:] {
		id := binary.LittleEndian.Uint32(list)
		if id == none {
			return
		}
		if want(id) {
			w.ids = append(w.ids, id)
		}
	}
}

// search looks at a level for the ef rows that are nearest, from some on, and
// leaves them in w.pool, the nearest first.
func (g *graph) search(w *walk, s *space, p *probe, table []byte, level, ef int, from ...candidate) {
	w.pool = w.pool[:0]
	for _, c := range from {
		if w.visit(c.row) {
			w.offer(c, ef)
		}
	}
	rows := s.rows(table)
	for i := 0; i < len(w.pool); {
		if w.pool[i].done {
			i++
			continue
		}
		w.pool[i].done = true
		w.neighbours(g.at(w.pool[i].row, level), w.visit)
		n := len(w.ids)
		if n == 0 {
			continue
		}
		s.distances(p, rows, w.ids, w.products[:n], w.found[:n])
		least := i + 1
		for j, id := range w.ids {
			least = min(least, w.offer(candidate{w.found[j], id}, ef))
		}
		i = least
	}
	w.forget()
}

// offer puts a candidate into the pool, if it is one of the ef best, and returns
// its place; that beyond the pool otherwise.
func (w *walk) offer(c candidate, ef int) int {
	n := len(w.pool)
	if n == ef && !c.before(w.pool[n-1].candidate) {
		return n
	}
	low, high := 0, n
	for low < high {
		middle := int(uint(low+high) >> 1)
		if w.pool[middle].before(c) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if n < ef {
		w.pool = append(w.pool, pooled{})
	}
	copy(w.pool[low+1:], w.pool[low:])
	w.pool[low] = pooled{candidate: c}
	return low
}

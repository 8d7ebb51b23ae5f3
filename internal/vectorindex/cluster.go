package vectorindex

import (
	"context"
	"math"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// Bounds of clustering.
const (
	splitMost    = 64 // lists that one split makes
	sampleEach   = 48 // rows of a sample for each list that is made of it
	iterations   = 8
	groupsMin    = 256 // lists from which on they are found through groups of them
	groupsLooked = 10
	listGrowth   = 2 // a list is split when it has so many times the rows that it should
)

// looksEvery is how many rows are gone through between looks whether it is still
// wanted.
const looksEvery = 1024

// clusterer divides rows into lists of rows that lie near one another, of much
// the same length. Nearness is that of residuals, whatever the metric.
type clusterer struct {
	ctx     context.Context // once it is over rows are divided anyhow
	space   *space          // of codes of bytes
	table   []byte          // records
	target  int             // rows of a list
	workers int
	random  *rand.Rand
}

func (c *clusterer) record(row uint32) []byte {
	return c.table[int(row)*c.space.stride:][:c.space.stride]
}

// centroids are middles of lists.
type centroids struct {
	space   *space
	data    []byte // records, whose bias is that of the metric
	squares []float32
	ids     []uint32 // all of them
	groups  *groups  // nil: few
}

// groups are centroids of centroids.
type groups struct {
	centroids
	members [][]uint32
}

func newCentroids(s *space) centroids { return centroids{space: s} }

func (c *centroids) count() int { return len(c.ids) }

// add appends a centroid, given as a residual.
func (c *centroids) add(r []float32) {
	record := make([]byte, c.space.stride)
	c.space.encodeResidual(record, r)
	c.addRecord(record)
}

func (c *centroids) addRecord(record []byte) {
	c.data = append(c.data, record...)
	scale, square := getFloat(record[atScale:]), int64(0)
	for _, b := range record[atCode : atCode+len(c.space.mean)] {
		square += (int64(b) - kernel.Zero) * (int64(b) - kernel.Zero)
	}
	c.squares = append(c.squares, float32(scale*scale)*float32(square))
	c.ids = append(c.ids, uint32(len(c.ids)))
}

// finder looks for nearest centroids; one goroutine uses it.
type finder struct {
	*centroids
	probe    probe
	products []int32
	near     []candidate
}

func (c *centroids) finder() *finder { return &finder{centroids: c} }

// nearest returns the centroid that is nearest to a record.
func (f *finder) nearest(record []byte) uint32 {
	f.space.probeRecord(&f.probe, record)
	scale := getFloat(record[atScale:])
	if f.groups == nil {
		return f.least(f.centroids, f.ids, scale).row
	}
	f.near = f.near[:0]
	f.compare(&f.groups.centroids, f.groups.ids, scale, func(d candidate) {
		at := len(f.near)
		if at == groupsLooked && !d.before(f.near[at-1]) {
			return
		}
		if at < groupsLooked {
			f.near = append(f.near, d)
		} else {
			at--
		}
		for ; at > 0 && d.before(f.near[at-1]); at-- {
			f.near[at] = f.near[at-1]
		}
		f.near[at] = d
	})
	best := candidate{distance: math.MaxFloat32}
	for _, g := range f.near {
		if d := f.least(f.centroids, f.groups.members[g.row], scale); d.before(best) {
			best = d
		}
	}
	return best.row
}

func (f *finder) least(of *centroids, ids []uint32, scale float32) candidate {
	best := candidate{distance: math.MaxFloat32}
	f.compare(of, ids, scale, func(d candidate) {
		if d.before(best) {
			best = d
		}
	})
	return best
}

// compare hands over how far centroids are from the record of the probe, up to
// what all share.
func (f *finder) compare(of *centroids, ids []uint32, scale float32, take func(candidate)) {
	if cap(f.products) < len(ids) {
		f.products = make([]int32, len(ids))
	}
	products := f.products[:len(ids)]
	kernel.DotI8(f.probe.codes, of.space.rows(of.data), ids, products)
	for i, id := range ids {
		step := -2 * scale * getFloat(of.data[int(id)*of.space.stride+atScale:])
		take(candidate{of.squares[id] + float32(step*float32(products[i])), id})
	}
}

// group makes groups of centroids, when they are many.
func (c *clusterer) group(of *centroids) {
	of.groups = nil
	if of.count() < groupsMin {
		return
	}
	over := &clusterer{ctx: c.ctx, space: c.space, table: of.data, workers: c.workers, random: c.random}
	g := &groups{centroids: over.means(of.ids, int(math.Sqrt(float64(of.count()))))}
	g.members = make([][]uint32, g.count())
	for i, list := range over.assign(&g.centroids, of.ids) {
		g.members[list] = append(g.members[list], of.ids[i])
	}
	of.groups = g
}

// assign returns the nearest centroid of each row.
func (c *clusterer) assign(to *centroids, rows []uint32) []uint32 {
	lists := make([]uint32, len(rows))
	parallel(c.workers, len(rows), func(first, next int) {
		f := to.finder()
		for i := first; i < next; i++ {
			if i%looksEvery == 0 && c.ctx.Err() != nil {
				return
			}
			lists[i] = f.nearest(c.record(rows[i]))
		}
	})
	return lists
}

// parallel divides n things among workers.
func parallel(workers, n int, do func(first, next int)) {
	if workers <= 1 || n < 2*workers {
		do(0, n)
		return
	}
	var group errgroup.Group
	for w := range workers {
		group.Go(func() error {
			do(n*w/workers, n*(w+1)/workers)
			return nil
		})
	}
	_ = group.Wait() // do has no errors
}

// middle is the mean of rows' residuals.
func (c *clusterer) middle(sums []float32, rows []uint32) {
	clear(sums)
	for _, row := range rows {
		c.space.addResidual(sums, c.record(row))
	}
	for i := range sums {
		sums[i] /= float32(max(len(rows), 1))
	}
}

// means is k-means over a sample of rows. It may return fewer than k.
func (c *clusterer) means(rows []uint32, k int) centroids {
	sample := c.sample(rows, k*sampleEach)
	k = min(k, len(sample))
	found := newCentroids(c.space)
	r := make([]float32, len(c.space.mean))
	for _, row := range sample[:k] {
		c.middle(r, []uint32{row})
		found.add(r)
	}
	for range iterations {
		if c.ctx.Err() != nil {
			break
		}
		members := make([][]uint32, found.count())
		for i, list := range c.assign(&found, sample) {
			members[list] = append(members[list], sample[i])
		}
		found = newCentroids(c.space)
		for _, m := range members {
			if len(m) > 0 {
				c.middle(r, m)
				found.add(r)
			}
		}
	}
	return found
}

// sample returns n different rows, all if there are no more, in no order.
func (c *clusterer) sample(rows []uint32, n int) []uint32 {
	all := append([]uint32(nil), rows...)
	n = min(n, len(all))
	for i := range n {
		j := i + c.random.IntN(len(all)-i)
		all[i], all[j] = all[j], all[i]
	}
	return all[:n]
}

// split divides rows until no list has more than it should.
func (c *clusterer) split(rows []uint32) [][]uint32 {
	if len(rows) <= c.target {
		return [][]uint32{rows}
	}
	if c.ctx.Err() != nil {
		return halves(rows, c.target)
	}
	to := c.means(rows, min(splitMost, (len(rows)+c.target-1)/c.target+1))
	lists := make([][]uint32, to.count())
	for i, list := range c.assign(&to, rows) {
		lists[list] = append(lists[list], rows[i])
	}
	var all [][]uint32
	for _, list := range lists {
		switch {
		case len(list) == 0:
		case len(list) == len(rows):
			return halves(rows, c.target) // they are all alike
		default:
			all = append(all, c.split(list)...)
		}
	}
	return all
}

// halves cuts rows that cannot be told apart.
func halves(rows []uint32, most int) [][]uint32 {
	var all [][]uint32
	for len(rows) > 0 {
		n := min(most, len(rows))
		all, rows = append(all, rows[:n:n]), rows[n:]
	}
	return all
}

// cluster divides all rows into lists: splits them from the top down, lets each
// row go where it is nearest to, and splits what has grown too long by that.
func (c *clusterer) cluster(rows []uint32) [][]uint32 {
	return c.settle(rows, c.middles(c.split(rows)))
}

// middles are the centroids of lists.
func (c *clusterer) middles(lists [][]uint32) *centroids {
	found := newCentroids(c.space)
	r := make([]float32, len(c.space.mean))
	for _, list := range lists {
		c.middle(r, list)
		found.add(r)
	}
	return &found
}

// settle divides rows among centroids, and splits lists that are too long.
func (c *clusterer) settle(rows []uint32, to *centroids) [][]uint32 {
	c.group(to)
	lists := make([][]uint32, to.count())
	for i, list := range c.assign(to, rows) {
		lists[list] = append(lists[list], rows[i])
	}
	var all [][]uint32
	for _, list := range lists {
		switch {
		case len(list) == 0:
		case len(list) > listGrowth*c.target:
			all = append(all, c.split(list)...)
		default:
			all = append(all, list)
		}
	}
	return all
}

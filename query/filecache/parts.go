package filecache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/parquetfile"
)

const (
	requestsMax     = 32      // range requests at once
	requestBytesMax = 4 << 20 // of one
	gapBytesMax     = 1 << 20 // between parts that one request fetches
)

// Parts are some row groups and columns of a Parquet file.
type Parts struct {
	Footer *parquetfile.Footer
	Groups []int  // ascending
	Leaves []bool // by their places in Footer.Leaves
}

// Bytes is what the parts take in the object.
func (p Parts) Bytes() (bytes int64) {
	for _, g := range p.Groups {
		for leaf, wanted := range p.Leaves {
			if wanted {
				bytes += p.Footer.Chunk(g, leaf).Length
			}
		}
	}
	return bytes
}

// Rows is how many rows the row groups have.
func (p Parts) Rows() (rows int64) {
	for _, g := range p.Groups {
		rows += p.Footer.Rows(g)
	}
	return rows
}

// key names the parts of an object.
func (p Parts) key(object string) string {
	b := append([]byte(object), 0)
	for _, g := range p.Groups {
		b = binary.AppendUvarint(b, uint64(g)+1)
	}
	b = append(b, 0)
	for leaf, wanted := range p.Leaves {
		if wanted {
			b = binary.AppendUvarint(b, uint64(leaf)+1)
		}
	}
	return keyOf(string(b))
}

// assembly is what a cached file has of an object, and where.
type assembly struct {
	object string // the object's key
	places map[[2]int]int64
	groups map[int]bool
	leaves []bool
}

func (p Parts) assembly(object string, plan parquetfile.Assembly) *assembly {
	a := &assembly{object: object, places: make(map[[2]int]int64, len(plan.Pieces)), groups: map[int]bool{}, leaves: p.Leaves}
	for _, piece := range plan.Pieces {
		a.places[[2]int{piece.Group, piece.Leaf}] = piece.At
	}
	for _, g := range p.Groups {
		a.groups[g] = true
	}
	return a
}

// covers reports whether a file has all that is wanted. One with more will do:
// more rows are filtered, more columns not looked at.
func (a *assembly) covers(p Parts) bool {
	for _, g := range p.Groups {
		if !a.groups[g] {
			return false
		}
	}
	for leaf, wanted := range p.Leaves {
		if wanted && !a.leaves[leaf] {
			return false
		}
	}
	return true
}

// AcquireParts returns a local Parquet file that has at least these parts of o,
// with all of its columns by name; to read one that was left out is an error.
// What the cache has of the object already is not fetched again. Every part is
// held against its checksum in the footer. Errors are those of Acquire.
func (c *Cache) AcquireParts(ctx context.Context, o Object, p Parts) (*File, error) {
	return c.present(func() (*File, error) { return c.await(ctx, o, c.partsEntry(o, p)) })
}

// Whole reports whether the cache has an object whole, or is about to.
func (c *Cache) Whole(o Object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[o.key()] != nil
}

// partsEntry returns an entry that has the parts, with one user more.
func (c *Cache) partsEntry(o Object, p Parts) *entry {
	object, key := keyOf(o.Name), p.key(o.Name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.covering(object, p); e != nil {
		c.use(e)
		c.counts.Hits++
		return e
	}
	plan := p.Footer.Assemble(p.Groups, p.Leaves)
	e := c.entries[key]
	if e == nil {
		e = &entry{key: key, users: 1, ready: make(chan struct{})}
		c.entries[key] = e
		c.counts.Misses++
	} else {
		c.use(e)
		c.counts.Hits++
	}
	if e.parts != nil {
		return e // on its way
	}
	// A new one, or a file of a former process of which only the key is known.
	e.parts = p.assembly(object, plan)
	c.assembled[object] = append(c.assembled[object], e)
	if e.path == "" {
		c.start(e, func() error { return c.assemble(e, o, plan) })
		return e
	}
	e.ready = make(chan struct{})
	c.start(e, func() error {
		return c.recheck(e, Object{Name: o.Name, Size: plan.Size}, func() error { return c.assemble(e, o, plan) })
	})
	return e
}

// covering is the smallest file at hand that has the parts. The caller holds mu.
func (c *Cache) covering(object string, p Parts) (best *entry) {
	for _, e := range c.assembled[object] {
		if e.checked && e.parts.covers(p) && (best == nil || e.size < best.size) {
			best = e
		}
	}
	return best
}

// assemble makes the file of e as planned.
func (c *Cache) assemble(e *entry, o Object, plan parquetfile.Assembly) (err error) {
	out, err := c.temporary("parts-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	missing, err := c.copyLocal(out, keyOf(o.Name), plan.Pieces)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	crc, err := c.fill(out, o, plan, missing)
	if errors.Is(err, format.ErrCorrupt) && len(missing) < len(plan.Pieces) {
		// What was copied may be what is damaged: then so are the files that have it.
		c.count(func(n *Counts) { n.Damaged++ })
		c.dropParts(e)
		crc, err = c.fill(out, o, plan, plan.Pieces)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return c.damage(o, err)
	}
	if err := c.place(e, out.Name(), plan.Size, crc); err != nil {
		return err
	}
	c.supersede(e)
	return nil
}

// dropParts drops the files that have parts of the same object as e.
func (c *Cache) dropParts(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range slices.Clone(c.assembled[e.parts.object]) {
		if other != e && other.checked {
			c.drop(other)
		}
	}
}

// fill writes what is planned, the missing pieces out of the bucket, and returns
// the checksum of it all.
func (c *Cache) fill(out *os.File, o Object, plan parquetfile.Assembly, missing []parquetfile.Piece) (crc uint32, err error) {
	group, ctx := errgroup.WithContext(c.ctx)
	group.SetLimit(requestsMax)
	for _, request := range parquetfile.Fetches(missing, gapBytesMax, requestBytesMax) {
		for from := int64(0); from < request.Length; from += requestBytesMax {
			part := request
			part.Offset += from
			part.Length = min(requestBytesMax, request.Length-from)
			group.Go(func() error { return c.fetchRange(ctx, out, o, part) })
		}
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if _, err := out.WriteAt(plan.Head, 0); err != nil {
		return 0, err
	}
	if _, err := out.WriteAt(plan.Tail, plan.Size-int64(len(plan.Tail))); err != nil {
		return 0, err
	}
	return checkPieces(out, plan)
}

// fetchRange fetches a range, and writes what of it belongs to pieces to their
// places.
func (c *Cache) fetchRange(ctx context.Context, out *os.File, o Object, r parquetfile.Fetch) error {
	b, err := c.get(ctx, o.Name, r.Offset, r.Length)
	if err != nil {
		return err
	}
	for _, p := range r.Pieces {
		from, to := max(p.Offset, r.Offset), min(p.End(), r.Offset+r.Length)
		if from >= to {
			continue
		}
		if _, err := out.WriteAt(b[from-r.Offset:to-r.Offset], p.At+from-p.Offset); err != nil {
			return err
		}
	}
	return nil
}

// checkPieces reads a file that was assembled once more: the checksum of every
// piece, and that of the file.
func checkPieces(file *os.File, plan parquetfile.Assembly) (uint32, error) {
	whole := crc32.New(format.Castagnoli)
	if _, err := whole.Write(plan.Head); err != nil {
		return 0, err
	}
	buffer := make([]byte, 256<<10)
	for _, p := range plan.Pieces {
		sum := crc32.New(format.Castagnoli)
		n, err := io.CopyBuffer(io.MultiWriter(sum, whole), io.NewSectionReader(file, p.At, p.Length), buffer)
		if err != nil {
			return 0, err
		}
		if n != p.Length || sum.Sum32() != p.CRC {
			return 0, format.Corrupt(p.Offset, "a column chunk's CRC-32C is %08x, the footer says %08x", sum.Sum32(), p.CRC)
		}
	}
	if _, err := whole.Write(plan.Tail); err != nil {
		return 0, err
	}
	return whole.Sum32(), nil
}

// copyLocal writes the pieces that other files of the cache have, and returns
// those that none has.
func (c *Cache) copyLocal(out *os.File, object string, pieces []parquetfile.Piece) (missing []parquetfile.Piece, err error) {
	sources := c.pin(object)
	defer func() {
		for _, e := range sources {
			c.release(e)
		}
	}()
	files := make([]*os.File, len(sources))
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for _, p := range pieces {
		copied := false
		for i, e := range sources {
			at, has := e.parts.places[[2]int{p.Group, p.Leaf}]
			if !has {
				continue
			}
			if files[i] == nil {
				if files[i], err = os.Open(e.path); err != nil {
					break // it was deleted under us: fetch
				}
			}
			n, err := io.Copy(io.NewOffsetWriter(out, p.At), io.NewSectionReader(files[i], at, p.Length))
			if copied = err == nil && n == p.Length; copied {
				break
			}
		}
		if !copied {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// pin returns the files that have parts of an object, each with one user more.
func (c *Cache) pin(object string) (sources []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.assembled[object] {
		if e.checked && e.path != "" {
			c.use(e)
			sources = append(sources, e)
		}
	}
	return sources
}

// supersede drops the files that have nothing which e has not.
func (c *Cache) supersede(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, old := range append([]*entry(nil), c.assembled[e.parts.object]...) {
		if old == e || !old.checked || len(old.parts.places) > len(e.parts.places) {
			continue
		}
		within := true
		for place := range old.parts.places {
			if _, has := e.parts.places[place]; !has {
				within = false
				break
			}
		}
		for g := range old.parts.groups {
			within = within && e.parts.groups[g]
		}
		if within {
			c.drop(old)
		}
	}
}

// place gives a temporary file its name.
func (c *Cache) place(e *entry, temp string, size int64, crc uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial++
	path := filepath.Join(c.options.Dir, fileName(e.key, size, crc, c.serial))
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("put a file into the cache: %w", err)
	}
	e.path, e.size = path, size
	c.bytes += size
	return nil
}

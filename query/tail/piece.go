package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/textindex"
)

// piece is a split of the records with offsets in [first, next): in memory while
// it grows and until it was written, or else a file that is mapped.
type piece struct {
	index       *index
	options     textindex.Options
	first, next int64
	raw         int64 // bytes of its records
	memory      *textindex.Memory
	snapshot    textindex.Split // of memory, when a query came last
	file        *textindex.File
	mapping     *disk.Mapping

	bytes int64 // as the budget has them
	users int
	gone  bool // not part of the tail any more: it goes with its last user
}

func (p *piece) documents() int {
	if p.memory != nil {
		return p.memory.Documents()
	}
	return int(p.file.Bounds().Documents)
}

// split is what there is now.
func (p *piece) split() textindex.Split {
	if p.memory == nil {
		return p.file
	}
	if p.snapshot == nil || int(p.snapshot.Bounds().Documents) < p.memory.Documents() {
		p.snapshot = p.memory.Snapshot()
	}
	return p.snapshot
}

// has reports whether the offset lies within the piece, and not where it begins.
func (p *piece) has(offset int64) bool { return p.first < offset && offset < p.next }

// count tells the budget what the piece takes now.
func (p *piece) count(bytes int64) {
	p.index.budget.add(bytes - p.bytes)
	p.bytes = bytes
}

// drop takes the piece out of the tail. The caller holds the index's lock.
func (p *piece) drop() {
	p.gone = true
	if p.users == 0 {
		p.remove()
	}
}

func (p *piece) remove() {
	p.count(0)
	if p.mapping != nil {
		// What cannot be unmapped stays until the process ends.
		_ = p.mapping.Close()
	}
}

// tier is how often the piece was merged, about; at the last one it is not any more.
func (p *piece) tier() (t int) {
	for bound := 2 * p.index.freezeBytes; p.raw >= bound && bound < 2*p.index.pieceBytes; bound *= pieceFan {
		t++
	}
	return t
}

// job is a row of pieces and what comes in their place: one with their records
// from an offset on.
type job struct {
	pieces []*piece
	from   int64
}

// tend sees to it that pieces are written, cut and merged. The caller holds mu.
func (x *index) tend() {
	if x.tending || x.closed || len(x.nextJob().pieces) == 0 {
		return
	}
	x.tending = true
	x.tended.Go(func() {
		for x.step() {
		}
	})
}

// step does the next job, and reports whether there was one.
func (x *index) step() bool {
	x.work.Lock()
	defer x.work.Unlock()
	x.mu.Lock()
	j := x.nextJob()
	if len(j.pieces) == 0 || x.closed {
		x.tending = false
		x.mu.Unlock()
		return false
	}
	x.mu.Unlock()
	err := x.do(x.ctx, j)
	if err == nil {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tending = false // until something changes
	if x.ctx.Err() == nil {
		x.log.Warn("splits of a tail stay as they are", "partition", x.partition, "err", err)
	}
	return false
}

// nextJob is the job to be done next, if there is one. The caller holds mu.
func (x *index) nextJob() job {
	if len(x.frozen) > 0 && x.frozen[0].has(x.mark) {
		return job{[]*piece{x.frozen[0]}, x.mark}
	}
	for _, p := range x.frozen {
		if p.memory != nil {
			return job{[]*piece{p}, p.first}
		}
	}
	begin := len(x.frozen)
	for begin > 0 && x.frozen[begin-1].tier() <= x.frozen[len(x.frozen)-1].tier() &&
		x.frozen[begin-1].options.Settings() == x.frozen[len(x.frozen)-1].options.Settings() {
		begin--
	}
	if len(x.frozen)-begin < pieceFan || x.frozen[len(x.frozen)-1].raw >= x.pieceBytes {
		return job{}
	}
	return job{slices.Clone(x.frozen[begin:]), x.frozen[begin].first}
}

// cut lets the pieces begin at an offset.
func (x *index) cut(ctx context.Context, from int64) error {
	x.work.Lock()
	defer x.work.Unlock()
	x.mu.Lock()
	i := slices.IndexFunc(x.frozen, func(p *piece) bool { return p.has(from) })
	if i < 0 || x.closed {
		x.mu.Unlock()
		return nil // somebody else did it
	}
	j := job{[]*piece{x.frozen[i]}, from}
	x.mu.Unlock()
	return x.do(ctx, j)
}

// do puts a piece in the place of others. The caller holds work.
func (x *index) do(ctx context.Context, j job) error {
	x.mu.Lock()
	for _, p := range j.pieces {
		p.users++
	}
	x.mu.Unlock()
	defer x.release(j.pieces...)
	made, err := x.write(ctx, j)
	if err != nil {
		return fmt.Errorf("write the tail of %s: %w", x.partition, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	made.count(made.file.Size())
	at := slices.Index(x.frozen, j.pieces[0])
	if at < 0 || x.closed { // a mark has overtaken the first of them, or all
		made.drop()
		return nil
	}
	for _, p := range j.pieces {
		p.drop()
	}
	x.frozen = slices.Replace(x.frozen, at, at+len(j.pieces), made)
	if j.from > j.pieces[0].first {
		x.drop(j.from)
		x.forgetEpochs()
	}
	return nil
}

// write makes the piece of a job, a file that has a name no more.
func (x *index) write(ctx context.Context, j job) (made *piece, err error) {
	f, err := os.CreateTemp(x.dir, fmt.Sprintf("%s-%d-*.split", x.partition.Topic, x.partition.Index))
	if err != nil {
		return nil, err
	}
	// It is mapped by then, or of no use.
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	result, err := x.writeTo(ctx, f, j)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	last := j.pieces[len(j.pieces)-1]
	made = &piece{index: x, options: last.options, first: j.from, next: last.next}
	for _, p := range j.pieces {
		made.raw += p.raw
	}
	if whole := last.next - j.pieces[0].first; j.from > j.pieces[0].first {
		made.raw = made.raw * (last.next - j.from) / whole
	}
	if made.mapping, err = disk.Map(f.Name()); err != nil {
		return nil, err
	}
	if made.file, err = textindex.Open(ctx, textindex.Bytes(made.mapping.Bytes()), result.Footer); err != nil {
		return nil, errors.Join(err, made.mapping.Close())
	}
	return made, nil
}

func (x *index) writeTo(ctx context.Context, out io.Writer, j job) (textindex.Result, error) {
	first := j.pieces[0]
	if first.memory != nil && j.from == first.first {
		return first.memory.Write(out)
	}
	files := make([]*textindex.File, len(j.pieces))
	for i, p := range j.pieces {
		if files[i] = p.file; p.memory == nil {
			continue
		}
		var whole bytes.Buffer
		result, err := p.memory.Write(&whole)
		if err != nil {
			return result, err
		}
		if files[i], err = textindex.Open(ctx, textindex.Bytes(whole.Bytes()), result.Footer); err != nil {
			return result, err
		}
	}
	return textindex.Merge(ctx, out, files, textindex.MergeOptions{First: j.from})
}

package tail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
)

const (
	sealBytes = 4 << 20 // of records in memory become a file without a query asking

	// Files are merged by tiers: mergeFan of one tier become one of the next, so a
	// record is written once for each, and each has fewer files than that. Below
	// the first tier a file costs more to begin than to fill, and takes in all of
	// its kind. One of sealBytes is not merged any more.
	firstTier = 256 << 10 // of records
	mergeFan  = 4

	batchRecords = 1_000
	writeBytes   = 32 << 10 // at once; pages are larger where there is much to write
	decodedMax   = 1 << 30  // bytes of one batch; ours are made here and are not compressed
)

// part holds the records of one partition from first on as rows, in chunks and
// then in pending, as record batches.
type part struct {
	options columnar.Options
	dir     string
	budget  *budget
	progress

	chunks  []*chunk
	pending []byte // batches that are in no file yet
	sealed  int64  // pending begins here
	builder batch.Builder
	decoder *batch.Decoder
	out     *bufio.Writer // of the file that is written
}

// chunk is a file, with the batches that it was made of while it may still be
// merged.
type chunk struct {
	File
	part  *part
	raw   []byte
	users int
	gone  bool // not part of the tail any more: the file goes with its last user
}

func newPart(dir string, o columnar.Options, first int64, b *budget) *part {
	p := &part{
		options: o, dir: dir, budget: b, sealed: first, decoder: batch.NewDecoder(decodedMax),
		out: bufio.NewWriterSize(nil, writeBytes),
	}
	p.begin(first)
	return p
}

// append implements store.
func (p *part) append(records []*kgo.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	defer func() { p.at.Store(p.next) }()
	for len(records) > 0 {
		r := records[0]
		if r.Offset < p.next {
			records = records[1:]
			continue
		}
		n := 1
		if !r.Attrs.IsControl() {
			n = alike(records)
			if err := p.build(records[:n]); err != nil {
				return err
			}
		}
		p.next = records[n-1].Offset + 1
		p.note(r.LeaderEpoch)
		records = records[n:]
	}
	if len(p.pending) >= sealBytes {
		return p.seal(context.Background())
	}
	return nil
}

// alike counts the leading records that one batch can hold: offsets without a
// gap, one epoch, one timestamp type, and one time when the broker gave it.
func alike(records []*kgo.Record) int {
	head := records[0]
	n := 1
	for ; n < min(len(records), batchRecords); n++ {
		r := records[n]
		if r.Offset != head.Offset+int64(n) || r.Attrs.IsControl() || r.LeaderEpoch != head.LeaderEpoch || r.Attrs.TimestampType() != head.Attrs.TimestampType() {
			break
		}
		if head.Attrs.TimestampType() == logAppendTime && !r.Timestamp.Equal(head.Timestamp) {
			break
		}
	}
	return n
}

// logAppendTime is what a record's timestamp type is when the broker set it.
const logAppendTime = 1

// build adds one batch to pending.
func (p *part) build(records []*kgo.Record) error {
	p.builder.Reset(batch.Options{})
	var headers []batch.RecordHeader
	for _, r := range records {
		headers = headers[:0]
		for _, h := range r.Headers {
			headers = append(headers, batch.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		p.builder.Append(r.Timestamp.UnixMilli(), r.Key, r.Value, headers...)
	}
	start := len(p.pending)
	grown, err := p.builder.Build(p.pending)
	if err != nil {
		return fmt.Errorf("keep records of %s from offset %d: %w", p.options.Partition, records[0].Offset, err)
	}
	p.pending = grown
	batch.PatchOffset(p.pending[start:], records[0].Offset, records[0].LeaderEpoch)
	if records[0].Attrs.TimestampType() == logAppendTime {
		batch.PatchLogAppendTime(p.pending[start:], records[0].Timestamp.UnixMilli())
	}
	p.budget.add(int64(len(p.pending) - start))
	return nil
}

// take implements store.
func (p *part) take(ctx context.Context, w Want) (held, error) {
	chunks, next, err := p.hold(ctx, w)
	h := held{start: p.start.Load(), next: next, release: func() {
		for _, c := range chunks {
			c.release()
		}
	}}
	for _, c := range chunks {
		h.files = append(h.files, c.File)
	}
	return h, err
}

// hold returns the files that have rows from w.First on, and the offset up to
// which they are complete. The caller releases each.
func (p *part) hold(ctx context.Context, w Want) (held []*chunk, next int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, 0, errRestarted
	case max(w.First, p.start.Load()) < p.first:
		return nil, 0, fmt.Errorf("%w: %s begins at %d, not at %d", ErrTrimmed, p.options.Partition, p.first, w.First)
	case p.cutOff(w.EpochEnd):
		return nil, 0, fmt.Errorf("%w: records of %s were cut off", errRestarted, p.options.Partition)
	}
	// What another query has put into files since this one began to wait is enough.
	if w.Target == 0 || p.sealed < w.Target {
		if err := p.seal(ctx); err != nil {
			return nil, 0, err
		}
	}
	for _, c := range p.chunks {
		if c.Next > w.First {
			c.users++
			held = append(held, c)
		}
	}
	return held, p.filed(), nil
}

// filed is the offset up to which all is in files: markers alone need none.
func (p *part) filed() int64 {
	if len(p.pending) == 0 {
		return p.next
	}
	return p.sealed
}

// mergeable is how many of the last chunks a new one of size takes in.
func (p *part) mergeable(size int) (n int) {
	for {
		t, alike, sum := tier(size), n, size
		for alike < len(p.chunks) {
			raw := len(p.chunks[len(p.chunks)-1-alike].raw)
			if raw == 0 || tier(raw) > t {
				break
			}
			sum += raw
			alike++
		}
		if alike == n || t > 0 && alike-n < mergeFan-1 {
			return n
		}
		n, size = alike, sum
	}
}

// tier is that of a file with so many bytes of records.
func tier(size int) (t int) {
	for bound := firstTier; size >= bound && bound < sealBytes; bound *= mergeFan {
		t++
	}
	return t
}

// seal writes pending to a file, together with files before it. After an error everything is as it was.
func (p *part) seal(ctx context.Context) error {
	if len(p.pending) == 0 {
		return nil
	}
	from, size := len(p.chunks)-p.mergeable(len(p.pending)), len(p.pending)
	merged := p.chunks[from:]
	for _, old := range merged {
		size += len(old.raw)
	}
	c := &chunk{part: p, raw: make([]byte, 0, size)}
	c.First, c.Next, c.Partition = p.sealed, p.next, p.options.Partition.Index
	for _, old := range merged {
		c.First = min(c.First, old.First)
		c.raw = append(c.raw, old.raw...)
	}
	c.raw = append(c.raw, p.pending...)
	if err := c.write(ctx); err != nil {
		return fmt.Errorf("write the tail of %s: %w", p.options.Partition, err)
	}
	p.budget.add(c.Size)
	if size >= sealBytes {
		c.raw = nil
		p.budget.add(-int64(size))
	}
	p.chunks = append(p.chunks[:from:from], c)
	p.pending, p.sealed = p.pending[:0], p.next
	for _, old := range merged {
		old.raw = nil // its batches are counted with c now
		old.drop()
	}
	return nil
}

// write makes the chunk's file.
func (c *chunk) write(ctx context.Context) (err error) {
	f, err := os.CreateTemp(c.part.dir, fmt.Sprintf("%s-%d-*.parquet", c.part.options.Partition.Topic, c.Partition))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	out := c.part.out
	out.Reset(f)
	result, err := columnar.Write(ctx, columnar.Of(c.raw), c.part.decoder, c.part.options, func(string) (io.Writer, error) { return out, nil })
	if err = errors.Join(err, out.Flush(), f.Close()); err != nil {
		return err
	}
	if len(result.Files) != 1 || len(result.Unreadable) > 0 {
		return fmt.Errorf("%d files and %d unreadable batches came of records that were decoded before", len(result.Files), len(result.Unreadable))
	}
	c.Path, c.Size, c.Columns = f.Name(), result.Files[0].Size, result.Files[0].Columns
	return nil
}

// drop takes the chunk out of the tail. The caller holds the part's lock.
func (c *chunk) drop() {
	c.part.budget.add(-int64(len(c.raw)))
	c.raw, c.gone = nil, true
	if c.users == 0 {
		c.remove()
	}
}

// remove deletes the file.
func (c *chunk) remove() {
	// What cannot be deleted is not read again, and the next Open tries again.
	_ = os.Remove(c.Path)
	c.part.budget.add(-c.Size)
}

// release is the end of one hold.
func (c *chunk) release() {
	c.part.mu.Lock()
	defer c.part.mu.Unlock()
	if c.users--; c.users == 0 && c.gone {
		c.remove()
	}
}

// delete takes note that the log begins at start now, beyond what was read. Of what
// was deleted all is dropped, so that no snapshot has some of it.
func (p *part) delete(start int64) {
	p.start.Store(start)
	p.trim(start)
}

// trim implements store: it drops the files whose rows are all below mark.
func (p *part) trim(mark int64) (overtaken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := 0
	for keep < len(p.chunks) && p.chunks[keep].Next <= mark {
		p.chunks[keep].drop()
		keep++
	}
	p.chunks = p.chunks[keep:]
	if p.next <= mark {
		overtaken = p.next < mark
		p.budget.add(-int64(len(p.pending)))
		p.pending, p.sealed, p.next = p.pending[:0], mark, mark
		p.at.Store(mark)
	}
	p.first = max(p.first, p.sealed)
	if len(p.chunks) > 0 {
		p.first = p.chunks[0].First
	}
	p.forgetEpochs()
	return overtaken
}

// close drops everything; held files stay until they are released.
func (p *part) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, c := range p.chunks {
		c.drop()
	}
	p.budget.add(-int64(len(p.pending)))
	p.chunks, p.pending = nil, nil
}

package compactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/objstore"
)

// Damage is never rewritten under a new checksum, and does not hold up a
// partition either. A pass that meets some fails and is tried again, as with any
// other failure: it may have happened on the way. When it has met some mendAfter
// times in a row, it looks at what it reads more closely. What is the same
// damage each time that it is read is left out of the log file, batch by batch
// where a block can still be told apart into batches that are whole. The offsets
// left out are a hole, named in the log and counted; the bytes are kept in an
// object of their own.
//
// Log files and columnar files that are there stay as they are: a merge leaves
// out what is damaged, and readers refuse the damaged block alone.
//
// An object that is missing is no damage: a bucket that is the wrong one, or is
// restored in part, would empty the log. Its partition waits until it is back,
// or until somebody deletes the records up to it.

const (
	// mendAfter is how many passes in a row fail before damage is believed.
	mendAfter = 3
	// mendReads is how often the same bytes have to come.
	mendReads = 3
	// damagedFor is how long a damaged file is left out of merges before it is
	// tried again: somebody may have put it right.
	damagedFor = 6 * time.Hour
)

// lost is what damage has taken from a partition.
type lost struct {
	span
	object   string // that is damaged, from position on
	position int64
	data     []byte
}

// noteDamage remembers a damaged object after a failure, once it is believed.
func (c *Compactor) noteDamage(f *failure, err error) {
	var damage *format.Error
	if !errors.As(err, &damage) || !errors.Is(err, format.ErrCorrupt) {
		f.damage = 0
		return
	}
	if f.damage++; f.damage >= mendAfter {
		c.damaged[damage.Name] = c.now().Add(damagedFor)
	}
}

// stillDamaged returns the files that merges leave out.
func (c *Compactor) stillDamaged(now time.Time) map[string]bool {
	out := make(map[string]bool, len(c.damaged))
	for object, until := range c.damaged {
		if now.After(until) {
			delete(c.damaged, object)
			continue
		}
		out[object] = true
	}
	return out
}

// mendedExtents is source.extents without what is damaged, which it adds to p.lost.
func (p *pass) mendedExtents(ctx context.Context, sp span) ([]extent, error) {
	var out []extent
	for _, f := range p.snap.section.Log {
		if f.First >= sp.next || f.Next <= sp.first {
			continue
		}
		// Only without a missing offset does a batch outside a sound block say
		// which offsets it has.
		o := mendable{object: f.Object, size: f.Size, span: span{f.First, f.Next}, dense: f.Records == f.Next-f.First,
			position: segment.HeaderSize, length: f.Size - segment.HeaderSize - segment.TrailerSize, epoch: -1}
		some, err := p.mend(ctx, o)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	mark := p.snap.view.Manifest.Marks.Log
	for _, r := range p.snap.view.Ranges {
		if r.Next <= mark || r.First >= sp.next || r.Next <= sp.first {
			continue
		}
		o := mendable{object: r.Segment.Object, size: r.Segment.Size, span: span{r.First, r.Next}, dense: true,
			position: r.Position, length: r.Length, epoch: int32(r.Epoch)}
		some, err := p.mend(ctx, o)
		if err != nil && !unreadableBelowStart(p.snap, r.Next, err) {
			return nil, err
		}
		for _, e := range some {
			if e.First = max(e.First, mark); e.First <= e.Next {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// mendable is a part of an object that is to be read with its damage.
type mendable struct {
	object string
	size   int64
	span
	dense            bool
	position, length int64 // where the batches lie
	epoch            int32 // −1: as the batches say
}

func (p *pass) mend(ctx context.Context, o mendable) ([]extent, error) {
	footer, err := p.source.footer(ctx, o.object, o.size)
	for range mendReads - 1 {
		if !errors.Is(err, format.ErrCorrupt) {
			break
		}
		first := err
		if footer, err = p.source.footer(ctx, o.object, o.size); err != nil && err.Error() != first.Error() {
			return nil, err // it changes: it is not what lies there
		}
	}
	switch {
	case errors.Is(err, format.ErrCorrupt):
		return p.mendWithoutFooter(ctx, o)
	case err != nil:
		return nil, err
	}
	var out []extent
	found := false
	for i := range footer.Ranges {
		r := &footer.Ranges[i]
		if r.Partition != p.snap.view.Partition || r.First >= o.next || r.Next <= o.first {
			continue
		}
		found = true
		some, err := p.mendRange(ctx, o, r)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	if !found {
		return nil, format.In(o.object, format.Corrupt(0, "it has nothing of %v in [%d,%d), but the metadata says so", p.snap.view.Partition, o.first, o.next))
	}
	return out, nil
}

// mendRange returns what of a range can be trusted: its sound blocks, and the
// sound batches at both ends of the others.
func (p *pass) mendRange(ctx context.Context, o mendable, r *segment.Range) ([]extent, error) {
	whole := extent{o.object, *r}
	var out []extent
	for i, b := range r.Blocks {
		next := blockNext(whole, r.Blocks[i:])
		data, err := p.rest(ctx, o.object, b.Position, b.Length)
		if err != nil {
			return nil, err
		}
		if err := b.Verify(data); err == nil {
			out = join(out, whole, b, next, r.Epoch)
			continue
		}
		if err := p.sameAgain(ctx, o.object, b.Position, b.Length, data); err != nil {
			return nil, err
		}
		sound := rescue(data, b.Position, span{b.First, next}, r.Epoch, o.dense)
		for _, s := range sound {
			out = join(out, whole, s.Block, s.next, s.epoch)
		}
		p.lose(o.object, b.Position, data, span{b.First, next}, sound)
	}
	if len(out) == 0 || out[len(out)-1].Next < r.Next {
		out = append(out, extent{o.object, segment.Range{Partition: r.Partition, Epoch: r.Epoch, First: r.Next, Next: r.Next}})
	}
	out[len(out)-1].Producers = r.Producers
	return out, nil
}

// mendWithoutFooter goes through the batches of an object whose index is lost.
// The metadata says where they lie and which offsets they have, and each batch
// has a checksum of its own.
func (p *pass) mendWithoutFooter(ctx context.Context, o mendable) ([]extent, error) {
	data, err := p.rest(ctx, o.object, o.position, o.length)
	if err != nil {
		return nil, err
	}
	if err := p.sameAgain(ctx, o.object, o.position, o.length, data); err != nil {
		return nil, err
	}
	whole := extent{o.object, segment.Range{Partition: p.snap.view.Partition}}
	var out []extent
	sound := rescue(data, o.position, o.span, o.epoch, o.dense)
	for _, s := range sound {
		out = join(out, whole, s.Block, s.next, s.epoch)
	}
	table := producer.NewTable(nil)
	for _, s := range sound {
		_ = batch.Each(data[s.Position-o.position:][:s.Length], func(h batch.Header, _ []byte) error { // it has been gone through
			if h.Idempotent() {
				a := producer.Append{ID: h.ProducerID, Epoch: h.ProducerEpoch, FirstSequence: h.BaseSequence, LastSequence: h.LastSequence()}
				table.Apply(a, h.BaseOffset, h.MaxTimestamp, p.now.UnixMilli())
			}
			return nil
		})
	}
	if len(out) > 0 {
		out[len(out)-1].Producers = table.Snapshot()
	}
	p.lose(o.object, o.position, data, o.span, sound)
	return out, nil
}

// rest reads what there is of a part of an object, which may be cut off.
func (p *pass) rest(ctx context.Context, object string, position, length int64) ([]byte, error) {
	attributes, err := p.bucket.Head(ctx, object)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", object, err)
	}
	if length = min(length, attributes.Size-position); length <= 0 {
		return nil, nil
	}
	data, err := p.bucket.Get(ctx, object, position, length)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	return data, nil
}

// sameAgain reads bytes again until they have come mendReads times, and fails
// when they are others: then it is not the object that is damaged.
func (p *pass) sameAgain(ctx context.Context, object string, position, length int64, data []byte) error {
	for range mendReads - 1 {
		again, err := p.rest(ctx, object, position, length)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, again) {
			return format.In(object, format.Corrupt(position, "it is read differently each time"))
		}
	}
	return nil
}

// join adds a block to the last extent if it goes on there, else a new extent.
func join(out []extent, whole extent, b segment.Block, next int64, epoch int32) []extent {
	if n := len(out); n > 0 && out[n-1].Next == b.First && out[n-1].Epoch == epoch {
		last := &out[n-1]
		last.Blocks = append(last.Blocks, b)
		last.Next = next
		return out
	}
	return append(out, extent{whole.object, segment.Range{
		Partition: whole.Partition, Epoch: epoch, First: b.First, Next: next, Position: b.Position, Blocks: []segment.Block{b},
	}})
}

// lose notes the offsets of a span that no sound part has.
func (p *pass) lose(object string, position int64, data []byte, sp span, sound []soundPart) {
	add := func(gone span) {
		// A second read, for columnar files, meets the same.
		if !gone.empty() && !slices.ContainsFunc(p.lost, func(l lost) bool { return l.span == gone }) {
			p.lost = append(p.lost, lost{gone, object, position, data})
		}
	}
	at := sp.first
	for _, s := range sound {
		add(span{at, s.First})
		at = s.next
	}
	add(span{at, sp.next})
}

// soundPart is a run of whole batches, as a block of its own.
type soundPart struct {
	segment.Block
	next  int64
	epoch int32
}

// rescue finds the batches in data, the bytes at position of an object, that are
// certainly what was written there: their checksums are right and, since those do
// not cover it, their offsets follow from the first or from the end of the span
// without a gap. So where offsets may be missing there is nothing to go by.
func rescue(data []byte, position int64, sp span, epoch int32, dense bool) []soundPart {
	if !dense {
		return nil
	}
	all := wholeBatches(data, position, epoch)
	n, at, first := 0, position, sp.first
	for n < len(all) && all[n].Position == at && all[n].First == first && all[n].next <= sp.next {
		at, first = at+all[n].Length, all[n].next
		n++
	}
	m, end, next := len(all), position+int64(len(data)), sp.next
	for m > n && all[m-1].Position+all[m-1].Length == end && all[m-1].next == next && all[m-1].First >= first {
		m--
		end, next = all[m].Position, all[m].First
	}
	return append(all[:n:n], all[m:]...)
}

// searchTimes bounds the bytes that are read while batches are looked for, in times
// of those that there are: what lies there may look like headers of batches.
const searchTimes = 16

// wholeBatches finds the batches whose checksums are right. Behind one that is not
// whole the next is looked for byte by byte: its length may be what is wrong.
func wholeBatches(data []byte, position int64, epoch int32) (all []soundPart) {
	budget := searchTimes * len(data)
	for at := 0; at < len(data) && budget > 0; at++ {
		h, err := batch.ParseHeader(data[at:])
		if err != nil || h.Size() > len(data)-at || epoch >= 0 && h.LeaderEpoch != epoch {
			continue
		}
		raw := data[at : at+h.Size()]
		budget -= len(raw)
		if _, err := batch.Verify(raw); err != nil {
			continue
		}
		all = append(all, soundPart{
			Block: segment.Block{First: h.BaseOffset, Position: position + int64(at), Length: int64(len(raw)), MaxTimestamp: h.MaxTimestamp, CRC: crc32.Checksum(raw, format.Castagnoli)},
			next:  h.Next(), epoch: h.LeaderEpoch,
		})
		at += len(raw) - 1
	}
	return all
}

// keepLost stores what was lost, before the manifest goes on without it.
func (p *pass) keepLost(ctx context.Context) error {
	for _, l := range p.lost {
		name := objstore.DamagedName(p.section.Partition, l.first, l.next, p.newID())
		if _, err := p.bucket.Put(ctx, name, objstore.Bytes(l.data), objstore.Condition{IfAbsent: true}); err != nil {
			return fmt.Errorf("keep what is damaged as %s: %w", name, err)
		}
		p.metrics.wrote("damaged", int64(len(l.data)))
		p.log.Error("offsets are lost, since their bytes are damaged; these are kept", "partition", partitionOf(p.snap), "first", l.first, "next", l.next,
			"object", l.object, "byte", l.position, "kept", name)
	}
	return nil
}

// countLost adds to the metrics what is lost for good.
func (p *pass) countLost() {
	for _, l := range p.lost {
		p.metrics.lostOffsets.Add(float64(l.next - l.first))
	}
}

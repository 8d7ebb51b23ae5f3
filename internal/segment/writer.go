package segment

import (
	"fmt"
	"hash/crc32"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
)

// Writer lays out one object without copying its batches:
//
//	w.Begin(p, epoch)
//	w.Append(h, raw) …
//	w.End(producers)
//	…
//	parts, footer, err := w.Finish()
//
// Ranges come in the order of the footer: by partition, then offset. The first
// mistake is kept and returned by Finish. A Writer is for one object and not
// for concurrent use.
type Writer struct {
	parts  [][]byte
	footer Footer
	at     int64  // position of the next byte
	open   *Range // between Begin and End; not yet in footer.Ranges
	err    error
}

// NewWriter begins an object.
func NewWriter(m Meta) *Writer {
	w := &Writer{footer: Footer{Meta: m}, at: HeaderSize}
	w.parts = append(w.parts, appendHeader(nil, m.Kind))
	if m.Kind != KindSegment && m.Kind != KindLog {
		w.fail("%v", m.Kind)
	}
	if len(m.ID) > idBytesMax {
		w.fail("an id of %d bytes", len(m.ID))
	}
	return w
}

// Begin starts the range of a partition under a leader epoch.
func (w *Writer) Begin(p topic.Partition, epoch int32) {
	if w.open != nil {
		w.fail("range of %v begins within that of %v", p, w.open.Partition)
	}
	w.open = &Range{Partition: p, Epoch: epoch, Position: w.at}
	if n := len(w.footer.Ranges); n > 0 {
		last := w.footer.Ranges[n-1].Partition
		if c := last.Compare(p); c > 0 || c != 0 && w.footer.Kind == KindLog {
			w.fail("range of %v follows that of %v in a %v", p, last, w.footer.Kind)
		}
	}
}

// Append adds a batch to the open range. raw is kept, not copied, until the
// object has been stored; h is its parsed header. Offsets must rise.
func (w *Writer) Append(h batch.Header, raw []byte) error {
	r := w.open
	switch {
	case w.err != nil:
	case r == nil:
		w.fail("batch outside a range")
	case len(raw) != h.Size():
		w.fail("%d bytes for a batch of %d", len(raw), h.Size())
	case len(r.Blocks) > 0 && h.BaseOffset < r.Next:
		w.fail("%v: batch at offset %d after one that ends at %d", r.Partition, h.BaseOffset, r.Next)
	}
	if w.err != nil {
		return w.err
	}
	minTimestamp, maxTimestamp := times(h)
	if len(r.Blocks) == 0 {
		r.First, r.MinTimestamp, r.MaxTimestamp = h.BaseOffset, minTimestamp, maxTimestamp
	}
	if n := len(r.Blocks); n == 0 || r.Blocks[n-1].Length+int64(len(raw)) > BlockBytes {
		r.Blocks = append(r.Blocks, Block{First: h.BaseOffset, Position: w.at, MaxTimestamp: maxTimestamp})
	}
	b := &r.Blocks[len(r.Blocks)-1]
	b.Length += int64(len(raw))
	b.MaxTimestamp = max(b.MaxTimestamp, maxTimestamp)
	b.CRC = crc32.Update(b.CRC, format.Castagnoli, raw)
	r.Next = h.Next()
	r.Length += int64(len(raw))
	if r.Records == 0 { // batches without records do not count
		r.MinTimestamp = minTimestamp
	} else if h.Records > 0 {
		r.MinTimestamp = min(r.MinTimestamp, minTimestamp)
	}
	r.MaxTimestamp = max(r.MaxTimestamp, maxTimestamp)
	r.Records += int64(h.Records)
	w.parts = append(w.parts, raw)
	w.at += int64(len(raw))
	return nil
}

// times are the least and the greatest timestamp that a header tells of its
// records, −1 both when there are none.
func times(h batch.Header) (least, greatest int64) {
	switch {
	case h.Records == 0:
		return -1, -1
	case h.Attributes.LogAppendTime(), h.Attributes.DeleteHorizon():
		return h.MaxTimestamp, h.MaxTimestamp // the base is the client's, or no time of a record
	}
	return h.BaseTimestamp, h.MaxTimestamp
}

// End closes the range. producers are the states, after the range, of the
// producers that occur in it; they are kept, not copied. A range that got no
// batch leaves no trace.
func (w *Writer) End(producers []producer.State) {
	r := w.open
	w.open = nil
	if r == nil {
		w.fail("end of a range that did not begin")
		return
	}
	if len(r.Blocks) == 0 {
		return
	}
	if n := len(w.footer.Ranges); n > 0 {
		if last := &w.footer.Ranges[n-1]; last.Partition == r.Partition && last.Next > r.First {
			w.fail("%v: range at offset %d after one that ends at %d", r.Partition, r.First, last.Next)
		}
	}
	r.Producers = producers
	w.footer.Ranges = append(w.footer.Ranges, *r)
}

// Finish returns the object as parts to be stored one after the other, and its
// footer. The parts alias what Append was given. An object without any range is
// an error.
func (w *Writer) Finish() (parts [][]byte, footer *Footer, err error) {
	if w.open != nil {
		w.fail("range of %v has no end", w.open.Partition)
	}
	if len(w.footer.Ranges) == 0 {
		w.fail("it would be empty")
	}
	if w.err != nil {
		return nil, nil, w.err
	}
	end := appendFooter(nil, &w.footer)
	if len(end) > footerBytesMax {
		w.fail("a footer of %d bytes", len(end))
		return nil, nil, w.err
	}
	return append(w.parts, end), &w.footer, nil
}

func (w *Writer) fail(reason string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("writing %v %s: %s", w.footer.Kind, w.footer.ID, fmt.Sprintf(reason, args...))
	}
}

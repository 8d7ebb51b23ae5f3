package textindex

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/geopoint"
)

// Dump prints what a file is, by its footer. With verify it reads everything:
// every page against its CRC, every term, posting, position, column and record.
// It is for people; damage of all kinds is in the error.
func Dump(ctx context.Context, out io.Writer, name string, b Blob, verify bool) error {
	f, err := Open(ctx, b, 0)
	if err != nil {
		return format.In(name, err)
	}
	bounds := f.Bounds()
	fmt.Fprintf(out, "%s: split version %d, %d documents in [%d,%d), %s to %s, %d bytes, analyzer %s\n", name, version, bounds.Documents,
		bounds.First, bounds.Next, format.Time(bounds.TimestampMin), format.Time(bounds.TimestampMax), f.size, f.Analyzer())
	body := f.pages.body
	fmt.Fprintf(out, "footer %d bytes, records %d, values beyond the limit of fields %d\n", f.size-body, f.footer.sources.length+f.footer.sourceAt.length, f.Overflow())
	for _, field := range f.footer.fields {
		fmt.Fprintf(out, "%s: documents=%d values=%d least=%s greatest=%s column=%d", field.Field, field.Documents, field.Values,
			shownValue(field.Kind, field.Least), shownValue(field.Kind, field.Greatest), field.column.length)
		if field.Kind.HasTerms() {
			fmt.Fprintf(out, " distinct=%d dictionary=%d in %d blocks, postings=%d", field.Distinct, field.dict.length, len(field.blocks), field.postings.length)
		}
		if field.Kind == Text {
			fmt.Fprintf(out, " terms=%d positions=%d", field.Terms, field.positions.length)
		}
		fmt.Fprintln(out)
	}
	if !verify {
		return nil
	}
	if damage := f.Verify(ctx); len(damage) > 0 {
		for _, err := range damage {
			fmt.Fprintf(out, "damage: %v\n", format.In(name, err))
		}
		return errors.Join(damage...)
	}
	fmt.Fprintln(out, "verified: everything read")
	return nil
}

func shownValue(k Kind, v int64) string {
	switch k {
	case Double:
		return fmt.Sprint(DoubleOf(v))
	case Date:
		return format.Time(v)
	case GeoPoint:
		p := geopoint.Decode(v)
		return fmt.Sprintf("%.6f,%.6f", p.Lat, p.Lon)
	}
	return fmt.Sprint(v)
}

// Verify reads everything and returns the damage, of each field the first.
func (f *File) Verify(ctx context.Context) []error {
	var damage []error
	note := func(err error) {
		if err != nil {
			damage = append(damage, err)
		}
	}
	for n := range f.pages.crcs {
		at := int64(n) * pageBytes
		_, err := f.pages.read(ctx, section{at, min(pageBytes, f.pages.body-at)})
		note(err)
	}
	if len(damage) > 0 {
		return damage // the rest would only say it again
	}
	for i := range f.footer.fields {
		note(f.verifyField(ctx, &f.footer.fields[i]))
	}
	if f.footer.sources.length > 0 {
		note(f.verifySources(ctx))
	}
	return damage
}

func (f *File) verifyField(ctx context.Context, field *fileField) error {
	c, err := f.column(ctx, field.Field)
	if err != nil {
		return err
	}
	docs, values := c.all()
	s := statsOf(field.Field, docs, values)
	s.Distinct = field.Distinct
	if s != field.Stats {
		return format.Corrupt(field.column.at, "the column of field %s has %+v, the footer says %+v", field.Field, s, field.Stats)
	}
	if !field.Kind.HasTerms() {
		return nil
	}
	var before *Term
	for t, err := range f.Terms(ctx, field.Field, nil) {
		if err != nil {
			return err
		}
		if before != nil && string(t.Bytes) <= string(before.Bytes) {
			return format.Corrupt(field.dict.at, "term %q of field %s after %q", t.Bytes, field.Field, before.Bytes)
		}
		if err := f.verifyPostings(ctx, t, c); err != nil {
			return err
		}
		t.Bytes = append([]byte(nil), t.Bytes...)
		before = &t
	}
	return nil
}

// verifyPostings reads the postings of a term, and whether its impacts bound them.
func (f *File) verifyPostings(ctx context.Context, t Term, c *fileColumn) error {
	p, err := f.Postings(ctx, t, Positions)
	if err != nil {
		return err
	}
	var positions []uint32
	n, before := uint32(0), int64(-1)
	for d := p.Next(); d != Done; d = p.Next() {
		length, ok := c.Value(d)
		if int64(d) <= before || !ok {
			return format.Corrupt(t.postings.at, "term %q of field %s is in document %d, after %d", t.Bytes, t.Field, d, before)
		}
		before = int64(d)
		n++
		if t.Field.Kind != Text {
			continue
		}
		if positions = p.Positions(positions[:0]); len(positions) != int(p.Freq()) {
			break
		}
		if _, impacts := p.Bound(d); !bounded(impacts, p.Freq(), length) || !bounded(p.Impacts(), p.Freq(), length) {
			return format.Corrupt(t.postings.at, "impacts of term %q of field %s do not bound document %d", t.Bytes, t.Field, d)
		}
	}
	if err := p.Err(); err != nil {
		return format.At("", t.postings.at, err)
	}
	if n != t.Documents {
		return format.Corrupt(t.postings.at, "term %q of field %s is in %d documents instead of %d", t.Bytes, t.Field, n, t.Documents)
	}
	return nil
}

func bounded(impacts []Impact, freq uint32, length int64) bool {
	for _, i := range impacts {
		if i.Freq >= freq && int64(i.Length) <= length {
			return true
		}
	}
	return false
}

func (f *File) verifySources(ctx context.Context) error {
	frames, err := f.sourceFrames(ctx)
	if err != nil {
		return err
	}
	first := uint32(0)
	for _, fr := range frames {
		if _, err := f.records(ctx, fr, first); err != nil {
			return err
		}
		first = fr.next
	}
	if first != f.footer.bounds.Documents {
		return format.Corrupt(f.footer.sourceAt.at, "%d records of %d documents", first, f.footer.bounds.Documents)
	}
	return nil
}

package manifest

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronik-stream/chronik/internal/format"
)

// Dump writes the sections of an object as text: a line for the partition, and
// one for each file and producer. It goes on after a section whose payload is
// damaged, and returns all the damage with the object's name.
func Dump(w io.Writer, name string, object []byte) error {
	out := &printer{w: w}
	out.printf("%s\n", name)
	if len(object) == 0 {
		return format.In(name, format.Corrupt(0, "no manifest: it is empty"))
	}
	var damage []error
	for at := 0; at < len(object); {
		length, err := frame(object[at:])
		if err != nil {
			return errors.Join(append(damage, format.At(name, int64(at), err), out.err)...)
		}
		s, err := unmarshal(object[at+4], object[at+FrameSize:at+length])
		if err != nil {
			damage = append(damage, format.At(name, int64(at), err))
		} else {
			out.section(&s, at, length)
		}
		at += length
	}
	return errors.Join(append(damage, out.err)...)
}

type printer struct {
	w   io.Writer
	err error // the first
}

func (p *printer) printf(text string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, text, args...)
	}
}

func (p *printer) section(s *Section, at, length int) {
	p.printf("section %v topic=%q version=%d bytes=%d+%d log-start=%d\n", s.Partition, s.Topic, s.Version, at, length, s.LogStart)
	for _, k := range s.kinds() {
		p.printf("  %s mark=%d files=%d\n", k.name, k.mark, len(k.files))
		for _, f := range k.files {
			p.printf("    [%d,%d) records=%d size=%d time=%s..%s created=%s %s", f.First, f.Next, f.Records, f.Size,
				format.Time(f.MinTimestamp), format.Time(f.MaxTimestamp), format.Time(f.CreatedAt), f.Object)
			if f.Masked > 0 {
				p.printf(" masked=%d", f.Masked)
			}
			if f.Settings != "" {
				p.printf(" footer=%d settings=%q", f.Footer, f.Settings)
			}
			if f.TimePartition != "" {
				p.printf(" in=%s", f.TimePartition)
			}
			for i, c := range f.Columns {
				p.printf("%s%s:%s", separator(i), c.Name, c.Type)
			}
			p.printf("\n")
		}
	}
	if c := s.Clean; c != (Clean{}) {
		p.printf("  clean next=%d through=%d at=%d horizon=%s\n", c.Next, c.Through, c.At, format.Time(c.Horizon))
	}
	for _, g := range s.Pages {
		p.printf("  page of %s files=%d skip=%d size=%d %s\n", g.Kind, g.Files, g.Skip, g.Size, g.Object)
	}
	for _, m := range s.Masks {
		p.printf("  mask [%d,%d) records=%d size=%d %s\n", m.First, m.Next, m.Records, m.Size, m.Object)
	}
	for _, c := range s.Collections {
		p.printf("  collection %s start=%d ranges=%v masks=%d settings=%q\n", c.Name, c.Start, c.Ranges, len(c.Masks), c.Settings)
	}
	for _, s := range s.Producers {
		p.printf("  producer %d epoch=%d used=%s", s.ID, s.Epoch, format.Time(s.LastUsed))
		for _, b := range s.Batches {
			p.printf(" %d..%d@%d", b.FirstSequence, b.LastSequence, b.First)
		}
		if s.Run > s.Remembered() {
			p.printf(" run=%d", s.Run)
		}
		for _, r := range s.Past {
			p.printf(" past=%d:%d-%d", r.Epoch, r.Last, r.N)
		}
		p.printf("\n")
	}
}

func separator(i int) string {
	if i == 0 {
		return " columns="
	}
	return ","
}

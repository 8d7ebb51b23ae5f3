package manifest

import (
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/internal/producer"
)

// ErrInvariant is wrapped by every error of Check: the swap would lose or
// repeat records. It is a bug of the caller, and trying again does not help.
var ErrInvariant = errors.New("manifest invariant broken")

// Check says whether next may replace old. A partition's first manifest
// replaces the zero Section. The rules, and what breaks without them:
//
//   - the version rises by one: a swap that was prepared on another manifest
//     would drop what came between;
//   - the log start and the log mark never go back: segments below the mark
//     are deleted, nobody could write those log files again;
//   - another mark goes back only together with all files of its kind, as when
//     a feature is turned off, else records would be derived twice;
//   - files end at or below their mark: readers take what is above it from the
//     log, and would see those records twice;
//   - what files covered at or above the new log start stays covered: a merge
//     replaces files, it does not lose any. Derived files may go where cleaning
//     has been, which may leave nothing of them;
//   - cleaning never goes back: tombstones are dropped because of what it did.
func Check(old, next Section) error {
	if err := check(&old, &next); err != nil {
		return fmt.Errorf("%w: %v, version %d after %d: %w", ErrInvariant, next.Partition, next.Version, old.Version, err)
	}
	return nil
}

func check(old, next *Section) error {
	if err := next.validate(); err != nil {
		return err
	}
	if next.Version != old.Version+1 {
		return errors.New("versions do not follow each other")
	}
	if old.Version > 0 && old.Partition != next.Partition {
		return fmt.Errorf("the manifest of %v", old.Partition)
	}
	if next.LogStart < old.LogStart {
		return fmt.Errorf("log start %d after %d", next.LogStart, old.LogStart)
	}
	if next.Clean.Next < old.Clean.Next {
		return fmt.Errorf("clean up to %d after %d", next.Clean.Next, old.Clean.Next)
	}
	before, after := old.kinds(), next.kinds()
	for i, k := range after {
		was := before[i]
		if k.mark < was.mark && (k.name == "log" || len(k.files) > 0) {
			return fmt.Errorf("%s mark %d after %d", k.name, k.mark, was.mark)
		}
		if k.name == "log" || len(k.files) > 0 {
			start := next.LogStart
			if k.name != "log" {
				start = max(start, next.Clean.Next, next.Clean.At)
			}
			if first, lost := uncovered(was.files, k.files, start); lost {
				return fmt.Errorf("%s files no longer cover offset %d", k.name, first)
			}
		}
	}
	return nil
}

// kind is one sort of file with its mark.
type kind struct {
	name  string
	mark  int64
	files []File
}

func (s *Section) kinds() [4]kind {
	return [4]kind{
		{"log", s.Marks.Log, s.Log},
		{"columnar", s.Marks.Columnar, s.Columnar},
		{"text", s.Marks.Text, s.Text},
		{"vector", s.Marks.Vector, s.Vector},
	}
}

// validate checks a section on its own.
func (s *Section) validate() error {
	switch {
	case s.Partition.Topic.IsZero() || s.Partition.Index < 0:
		return fmt.Errorf("partition %v", s.Partition)
	case s.Version < 1:
		return fmt.Errorf("version %d", s.Version)
	case s.LogStart < 0 || s.LogStart > offsetMax:
		return fmt.Errorf("log start %d", s.LogStart)
	}
	for _, k := range s.kinds() {
		if k.mark < 0 || k.mark > offsetMax {
			return fmt.Errorf("%s mark %d", k.name, k.mark)
		}
		if err := k.validate(); err != nil {
			return fmt.Errorf("%s file %w", k.name, err)
		}
	}
	if err := s.validateClean(); err != nil {
		return err
	}
	if err := s.validatePages(); err != nil {
		return err
	}
	if err := validateCollections(s.Collections); err != nil {
		return err
	}
	return validateProducers(s.Producers)
}

// validateClean checks how far cleaning has come, and the masks.
func (s *Section) validateClean() error {
	c := s.Clean
	if c.Next < 0 || c.Next > s.Marks.Log || c.Through < 0 || c.Through > s.Marks.Log || c.At < 0 || c.At > s.Marks.Log || c.Horizon < 0 ||
		c.Through > 0 && c.Through < c.Next || c.Through == 0 && c.At > 0 {
		return fmt.Errorf("clean up to %d, and at %d on the way to %d, horizon %d, the log mark is %d", c.Next, c.At, c.Through, c.Horizon, s.Marks.Log)
	}
	objects := make(map[string]bool, len(s.Masks))
	for i := range s.Masks {
		m := &s.Masks[i]
		switch {
		case m.Object == "" || objects[m.Object]:
			return fmt.Errorf("mask %d has the name %q", i, m.Object)
		case m.Size <= 0 || m.First < 0 || m.Next <= m.First || m.Next > s.Marks.Log || m.Records <= 0 || m.Records > m.Next-m.First || m.Masked != 0:
			return fmt.Errorf("mask %s takes %d records out of [%d,%d) in %d bytes, the log mark is %d", m.Object, m.Records, m.First, m.Next, m.Size, s.Marks.Log)
		case i > 0 && m.First < s.Masks[i-1].First:
			return fmt.Errorf("mask %s is out of order", m.Object)
		}
		objects[m.Object] = true
	}
	return nil
}

// Objects calls f for every object that the section names, until it says no.
func (s *Section) Objects(f func(name string) bool) {
	for _, files := range [...][]File{s.Log, s.Columnar, s.Text, s.Vector, s.Masks} {
		for i := range files {
			if !f(files[i].Object) {
				return
			}
		}
	}
	for _, p := range s.Pages {
		if !f(p.Object) {
			return
		}
	}
}

// validate checks files in their order: sound by themselves, below the mark,
// sorted, and disjoint among those of one time partition.
func (k kind) validate() error {
	objects := make(map[string]bool, len(k.files))
	nexts := map[string]int64{} // time partition → end of the last file
	for i := range k.files {
		f := &k.files[i]
		span := f.Next - f.First
		switch {
		case f.Object == "":
			return fmt.Errorf("%d has no name", i)
		case objects[f.Object]:
			return fmt.Errorf("%s is named twice", f.Object)
		case f.Size <= 0:
			return fmt.Errorf("%s has %d bytes", f.Object, f.Size)
		case f.First < 0 || span <= 0 || f.Next > k.mark:
			return fmt.Errorf("%s covers [%d,%d), the mark is %d", f.Object, f.First, f.Next, k.mark)
		case f.Records < 0 || f.Records > span:
			return fmt.Errorf("%s has %d records in %d offsets", f.Object, f.Records, span)
		case f.Masked < 0 || f.Masked > f.Records || f.Masked > 0 && k.name == "log":
			return fmt.Errorf("%s has %d of %d records masked", f.Object, f.Masked, f.Records)
		case f.Footer < 0 || f.Footer > f.Size || f.Footer > 0 && k.name != "text" && k.name != "vector", f.Settings != "" && k.name == "log":
			return fmt.Errorf("%s has a footer of %d of %d bytes and the settings %q", f.Object, f.Footer, f.Size, f.Settings)
		case i > 0 && before(f, &k.files[i-1]):
			return fmt.Errorf("%s is out of order", f.Object)
		}
		class := f.TimePartition
		if k.name == "log" {
			class = ""
		}
		if next, ok := nexts[class]; ok && f.First < next {
			return fmt.Errorf("%s begins at offset %d, the one before it ends at %d", f.Object, f.First, next)
		}
		objects[f.Object] = true
		nexts[class] = f.Next
	}
	return nil
}

func before(a, b *File) bool {
	return a.First < b.First || a.First == b.First && a.TimePartition < b.TimePartition
}

func validateProducers(states []producer.State) error {
	for i := range states {
		if i > 0 && states[i].ID <= states[i-1].ID {
			return fmt.Errorf("producer %d after %d", states[i].ID, states[i-1].ID)
		}
		if n := len(states[i].Batches); n > producer.BatchesMax {
			return fmt.Errorf("producer %d has %d batches", states[i].ID, n)
		}
		if err := states[i].ValidateRuns(); err != nil {
			return fmt.Errorf("producer %d has %w", states[i].ID, err)
		}
	}
	return nil
}

// uncovered finds the first offset from start on that files of old cover and
// those of next do not. Both are sorted by First.
func uncovered(old, next []File, start int64) (first int64, lost bool) {
	n := 0
	covered := int64(0) // [.., covered) of the run that next covers without a gap
	for i := range old {
		at := max(old[i].First, start)
		for at < old[i].Next {
			if at < covered {
				at = covered
				continue
			}
			for n < len(next) && next[n].Next <= at {
				n++
			}
			if n == len(next) || next[n].First > at {
				return at, true
			}
			covered = next[n].Next
		}
	}
	return 0, false
}

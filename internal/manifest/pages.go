package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/format"
)

// PageFiles is how many files a page takes. A section keeps about twice as many
// of a kind in itself, the newest among them, so its size does not grow with the
// log but for one line a page.
const PageFiles = 256

// pageFilesMin is the least that is worth an object.
const pageFilesMin = 32

// Page names a run of a section's files that lies in an object of its own. The
// files of a long log hardly change any more, so they are written once and not
// with each swap. The object is a section, of those files alone.
//
// A page stays in use as long as its files are in the section as they are in the
// page, but for first ones, which retention takes. Otherwise the section has
// them in itself again.
type Page struct {
	Kind   string `json:"kind"` // log, columnar, text, vector
	Object string `json:"object"`
	Size   int64  `json:"size"`
	Skip   int    `json:"skip,omitempty"` // first files of the page that the section has no longer
	Files  int    `json:"files"`          // those behind them, which it has

	run []File // these; nil in a page that has not been read
}

// PageReader returns all files of a page, as DecodePage does.
type PageReader func(Page) ([]File, error)

// NewPage is a page that has to be stored before the section that names it.
type NewPage struct {
	Object string
	Body   []byte
}

// filesOf returns the list of a kind.
func (s *Section) filesOf(kind string) *[]File {
	switch kind {
	case "log":
		return &s.Log
	case "columnar":
		return &s.Columnar
	case "text":
		return &s.Text
	case "vector":
		return &s.Vector
	}
	return nil
}

// CutPages brings the pages up to date with the files: it drops those that the
// files have moved away from, returning their objects, and takes runs of older
// files into new pages, under names that newName gives, when there are many.
// The new pages are to be stored before the section is.
func (s *Section) CutPages(newName func() string) (stored []NewPage, gone []string, err error) {
	kept, covered := s.paged()
	for _, p := range s.Pages {
		if !slices.ContainsFunc(kept, func(k Page) bool { return k.Object == p.Object }) {
			gone = append(gone, p.Object)
		}
	}
	s.Pages = kept
	for _, k := range s.kinds() {
		runs, inside := k.settled(covered[k.name])
		for _, run := range runs {
			for chunk := range slices.Chunk(run, PageFiles) {
				if len(chunk) < pageFilesMin || inside <= 2*PageFiles {
					continue
				}
				page, body, err := s.newPage(k.name, newName(), chunk)
				if err != nil {
					return nil, nil, err
				}
				s.Pages = append(s.Pages, page)
				stored = append(stored, NewPage{page.Object, body})
				inside -= len(chunk)
			}
		}
	}
	return stored, gone, nil
}

func (s *Section) newPage(kind, object string, files []File) (Page, []byte, error) {
	only := Section{Partition: s.Partition, Topic: s.Topic, Version: s.Version, Marks: s.Marks}
	*only.filesOf(kind) = files
	body, _, err := Encode([]Section{only})
	if err != nil {
		return Page{}, nil, err
	}
	return Page{Kind: kind, Object: object, Size: int64(len(body)), Files: len(files), run: slices.Clone(files)}, body, nil
}

// paged returns the pages that still stand, with what of them is left, and for
// each kind by which places of its list they are covered.
func (s *Section) paged() (kept []Page, covered map[string][]bool) {
	covered = make(map[string][]bool, 4)
	for _, k := range s.kinds() {
		covered[k.name] = make([]bool, len(k.files))
	}
	places := make(map[string]map[string]int)
	for _, p := range s.Pages {
		files := s.filesOf(p.Kind)
		if files == nil {
			continue
		}
		if places[p.Kind] == nil {
			places[p.Kind] = make(map[string]int, len(*files))
			for i := range *files {
				places[p.Kind][(*files)[i].Object] = i
			}
		}
		skip := slices.IndexFunc(p.run, func(f File) bool { _, ok := places[p.Kind][f.Object]; return ok })
		if skip < 0 {
			continue
		}
		run := p.run[skip:]
		at := places[p.Kind][run[0].Object]
		if at+len(run) > len(*files) || !slices.EqualFunc(run, (*files)[at:at+len(run)], unchanged) {
			continue
		}
		for i := range run {
			covered[p.Kind][at+i] = true
		}
		p.Skip, p.Files, p.run = p.Skip+skip, len(run), run
		kept = append(kept, p)
	}
	return kept, covered
}

// unchanged compares what of a file can change under one name.
func unchanged(a, b File) bool {
	return a.Object == b.Object && a.First == b.First && a.Next == b.Next && a.Records == b.Records && a.Masked == b.Masked
}

// settled returns the runs of neighbours that are in no page, without the newest
// files, which are still merged and masked, and the number of all that are in none.
func (k kind) settled(paged []bool) (runs [][]File, inside int) {
	for _, p := range paged {
		if !p {
			inside++
		}
	}
	left := inside - PageFiles
	for i := 0; i < len(k.files) && left > 0; i++ {
		n := i
		for n < len(k.files) && !paged[n] && left > 0 {
			n++
			left--
		}
		if n > i {
			runs = append(runs, k.files[i:n])
			i = n
		}
	}
	return runs, inside
}

// inside returns the section as it is written: without the files in pages.
func (s *Section) inside() Section {
	out := *s
	kept, covered := s.paged()
	out.Pages = kept
	for _, k := range s.kinds() {
		var own []File
		for i, f := range k.files {
			if !covered[k.name][i] {
				own = append(own, f)
			}
		}
		*out.filesOf(k.name) = own
	}
	return out
}

// expand puts the files of the pages into the section.
func (s *Section) expand(read PageReader) error {
	for i := range s.Pages {
		p := &s.Pages[i]
		if read == nil {
			return errors.New("reading a manifest: it has pages, which are to be read too")
		}
		all, err := read(*p)
		if err != nil {
			return err
		}
		if len(all) != p.Skip+p.Files {
			return format.In(p.Object, format.Corrupt(0, "a page of %d files, the manifest has %d of it and skips %d", len(all), p.Files, p.Skip))
		}
		p.run = all[p.Skip:]
		files := s.filesOf(p.Kind)
		*files = append(*files, p.run...)
	}
	if len(s.Pages) == 0 {
		return nil
	}
	for _, k := range s.kinds() {
		slices.SortStableFunc(k.files, func(a, b File) int {
			return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.TimePartition, b.TimePartition))
		})
	}
	if err := s.validate(); err != nil {
		return format.Corrupt(FrameSize, "payload and pages: %v", err)
	}
	return nil
}

// DecodePage reads the object of a page.
func DecodePage(p Page, object []byte) ([]File, error) {
	only, err := Decode(object)
	if err != nil {
		return nil, format.In(p.Object, err)
	}
	files := only.filesOf(p.Kind)
	if files == nil || len(*files) != p.Skip+p.Files {
		return nil, format.In(p.Object, format.Corrupt(0, "no page of %d %s files", p.Skip+p.Files, p.Kind))
	}
	return *files, nil
}

// validatePages checks what a section says of its pages.
func (s *Section) validatePages() error {
	objects := make(map[string]bool, len(s.Pages))
	for _, p := range s.Pages {
		if p.Object == "" || objects[p.Object] || s.filesOf(p.Kind) == nil || p.Size <= 0 || p.Skip < 0 || p.Files <= 0 {
			return fmt.Errorf("page %q of %d %s files after %d, of %d bytes", p.Object, p.Files, p.Kind, p.Skip, p.Size)
		}
		objects[p.Object] = true
	}
	return nil
}

package manifest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
)

// shelf is where pages lie.
type shelf struct {
	pages map[string][]byte
	named int
	reads int
}

func (s *shelf) name() string { s.named++; return fmt.Sprintf("page/%d", s.named) }

func (s *shelf) read(p manifest.Page) ([]manifest.File, error) {
	s.reads++
	return manifest.DecodePage(p, s.pages[p.Object])
}

// swap writes a section and its pages, and reads it back.
func (s *shelf) swap(t *testing.T, section *manifest.Section) (size int) {
	t.Helper()
	stored, gone, err := section.CutPages(s.name)
	require.NoError(t, err)
	for _, p := range stored {
		s.pages[p.Object] = p.Body
	}
	for _, name := range gone {
		require.Contains(t, s.pages, name)
		delete(s.pages, name)
	}
	require.Len(t, section.Pages, len(s.pages), "a page is named or gone")
	section.Version++
	b, _, err := manifest.Encode([]manifest.Section{*section})
	require.NoError(t, err)
	back, err := manifest.DecodePaged(b, s.read)
	require.NoError(t, err)
	require.Equal(t, *section, back)
	require.NoError(t, manifest.Check(func() manifest.Section { before := *section; before.Version--; return before }(), back))
	return len(b)
}

func TestAManifestDoesNotGrowWithItsLog(t *testing.T) {
	s := &shelf{pages: map[string][]byte{}}
	section := manifest.Section{Partition: partition(0), Topic: "t", Version: 1}
	sizes := map[int]int{}
	for i := range int64(8_000) {
		section.Log = append(section.Log, logFile(i*10, i*10+10))
		section.Columnar = append(section.Columnar, parquet(i*10, i*10+10, "2026-11-23", columns...))
		section.Marks.Log, section.Marks.Columnar = i*10+10, i*10+10
		if i%500 == 499 {
			sizes[int(i+1)] = s.swap(t, &section)
		}
	}
	require.Less(t, sizes[8000], 2*sizes[2000], "%v", sizes)
	require.Less(t, sizes[8000], 400<<10, "%v", sizes)
	t.Logf("bytes by files of each of two kinds: %d at 1000, %d at 5000, %d at 8000", sizes[1000], sizes[5000], sizes[8000])
	reads := s.reads
	s.swap(t, &section)
	require.Equal(t, reads+len(s.pages), s.reads, "pages are read once each")
}

// Whatever happens to files, a section reads back as it was, and no page is lost
// or left.
func TestPagesFollowTheirFiles(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := &shelf{pages: map[string][]byte{}}
		section := manifest.Section{Partition: partition(0), Topic: "t", Version: 1}
		at, merges := int64(0), 0
		for range 60 {
			for range r.IntN(60) {
				section.Log = append(section.Log, logFile(at, at+10))
				for _, day := range []string{"2026-11-23", "2026-11-24"} {
					section.Columnar = append(section.Columnar, parquet(at, at+10, day, columns[:1+r.IntN(2)]...))
				}
				at += 10
			}
			section.Marks.Log, section.Marks.Columnar = at, at
			switch n := len(section.Log); {
			case r.IntN(3) == 0 && n > 20: // a merge, mostly of young files
				i := n - 5 - r.IntN(min(n-10, 10))
				if r.IntN(4) == 0 {
					i = r.IntN(n - 5)
				}
				merged := logFile(section.Log[i].First, section.Log[i+4].Next)
				merges++
				merged.Object = fmt.Sprintf("merged/%d", merges)
				section.Log = slices.Replace(slices.Clone(section.Log), i, i+5, merged)
			case r.IntN(3) == 0 && n > 100: // retention
				gone := r.IntN(40)
				section.LogStart = section.Log[gone].First
				below := func(f manifest.File) bool { return f.Next <= section.LogStart }
				section.Log = slices.DeleteFunc(slices.Clone(section.Log), below)
				section.Columnar = slices.DeleteFunc(slices.Clone(section.Columnar), below)
			case r.IntN(10) == 0 && n > 0: // cleaning masks records of an old file
				section.Columnar = slices.Clone(section.Columnar)
				section.Columnar[r.IntN(len(section.Columnar))].Masked = 1
			case r.IntN(30) == 0: // the table is turned off
				section.Columnar = nil
			}
			s.swap(t, &section)
		}
	}
}

func TestDamagedAndMissingPagesAreRefused(t *testing.T) {
	s := &shelf{pages: map[string][]byte{}}
	section := manifest.Section{Partition: partition(0), Topic: "t", Version: 1}
	for i := range int64(700) {
		section.Log = append(section.Log, logFile(i, i+1))
		section.Marks.Log = i + 1
	}
	s.swap(t, &section)
	require.NotEmpty(t, section.Pages)
	b, places, err := manifest.Encode([]manifest.Section{section, {Partition: partition(1), Version: 1}})
	require.NoError(t, err)
	first := b[:places[0].Length]
	_, err = manifest.Decode(first)
	require.ErrorContains(t, err, "it has pages")
	_, err = manifest.DecodeAll(b)
	require.ErrorContains(t, err, "it has pages")

	name := section.Pages[0].Object
	whole := s.pages[name]
	for n, spoiled := range map[string][]byte{
		"a flipped bit": append(slices.Clone(whole[:50]), append([]byte{whole[50] ^ 1}, whole[51:]...)...),
		"cut off":       whole[:len(whole)-1],
		"another page":  s.other(t, section),
		"nothing":       nil,
	} {
		s.pages[name] = spoiled
		_, err = manifest.DecodePaged(first, s.read)
		require.ErrorIs(t, err, format.ErrCorrupt, n)
		require.ErrorContains(t, err, name, n)
	}
}

// other is a sound page that has other files.
func (s *shelf) other(t *testing.T, section manifest.Section) []byte {
	section.Pages, section.Log = nil, section.Log[:10]
	b, _, err := manifest.Encode([]manifest.Section{section})
	require.NoError(t, err)
	return b
}

func TestPagesAsTheyAreWritten(t *testing.T) {
	head := `{"topic_id":"09000000-0000-4000-8000-000000000001","partition":0,"topic":"t","version":1,"log_start":0,"marks":{"log":40,"columnar":0,"text":0,"vector":0}`
	page := manifest.Section{Partition: partition(0), Version: 1, Marks: manifest.Marks{Log: 40}, Log: []manifest.File{logFile(0, 10), logFile(10, 20)}}
	body, _, err := manifest.Encode([]manifest.Section{page})
	require.NoError(t, err)
	s := &shelf{pages: map[string][]byte{"page/1": body}}
	written := head + `,"log":[{"object":"a","size":1,"first":20,"next":30,"records":1}],"pages":[{"kind":"log","object":"page/1","size":9,"skip":1,"files":1}]}`
	got, err := manifest.DecodePaged(framed(2, written), s.read)
	require.NoError(t, err)
	require.Len(t, got.Log, 2)
	require.Equal(t, int64(10), got.Log[0].First)
	_, err = manifest.Decode(framed(1, written))
	require.ErrorContains(t, err, "version 1 knows nothing of pages")
	for _, bad := range []string{
		`{"kind":"log","object":"","size":9,"files":1}`, `{"kind":"cake","object":"page/1","size":9,"files":1}`,
		`{"kind":"log","object":"page/1","size":9,"files":0}`, `{"kind":"log","object":"page/1","size":9,"files":1,"skip":-1}`,
		`{"kind":"log","object":"page/1","size":9,"files":2},{"kind":"log","object":"page/1","size":9,"files":2}`,
	} {
		_, err := manifest.DecodePaged(framed(2, head+`,"pages":[`+bad+`]}`), s.read)
		require.ErrorIs(t, err, format.ErrCorrupt, bad)
	}
}

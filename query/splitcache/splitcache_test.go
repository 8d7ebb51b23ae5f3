package splitcache

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/indexcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*Cache
	t      *testing.T
	bucket objstore.Bucket
	files  *filecache.Cache
	dir    string
}

func newWorld(t *testing.T, o Options) *world {
	w := &world{t: t, bucket: memory.New(), dir: filepath.Join(t.TempDir(), "objects")}
	var err error
	w.files, err = filecache.Open(w.bucket, filecache.Options{Dir: w.dir})
	require.NoError(t, err)
	w.Cache = New(w.files, o)
	t.Cleanup(w.Cache.Close)
	t.Cleanup(w.files.Close)
	return w
}

// put stores a split of some records.
func (w *world) put(records int) manifest.File {
	o, err := textindex.TopicOptions("standard", []string{"value"}, nil)
	require.NoError(w.t, err)
	m := textindex.NewMemory(o)
	for i := range int64(records) {
		require.NoError(w.t, m.Append(textindex.Record{Offset: 2 * i, Timestamp: i, Value: fmt.Appendf(nil, `{"word":"w%d common","n":%d}`, i, i*7919%1000)}))
	}
	var out bytes.Buffer
	r, err := m.Write(&out)
	require.NoError(w.t, err)
	f := manifest.File{
		Object: objstore.SplitName(topic.Partition{Topic: topic.ID{1}}, ulid.Make()), Size: r.Size, Footer: r.Footer,
		CRC: crc32.Checksum(out.Bytes(), format.Castagnoli), First: 0, Next: 2 * int64(records),
	}
	_, err = w.bucket.Put(w.t.Context(), f.Object, objstore.Bytes(out.Bytes()), objstore.Condition{})
	require.NoError(w.t, err)
	return f
}

func (w *world) open(f manifest.File) *Split {
	s, err := w.Open(w.t.Context(), f)
	require.NoError(w.t, err)
	return s
}

// word looks a word up, and returns its document.
func (w *world) word(s *Split, word string) uint32 {
	terms, err := s.Lookup(w.t.Context(), textindex.Field{Name: "word", Kind: textindex.Text}, []byte(word))
	require.NoError(w.t, err)
	postings, err := s.Postings(w.t.Context(), terms[0], textindex.Documents)
	require.NoError(w.t, err)
	return postings.Next()
}

func TestASmallSplitIsFetchedWholeAndMapped(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.put(100)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := w.Open(t.Context(), f)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Release()
			if doc := w.word(s, "w42"); doc != 42 {
				t.Errorf("document %d", doc)
			}
		})
	}
	all.Wait()
	require.Equal(t, indexcache.Counts{Files: 1, Mapped: 1, MemoryBytes: 4 * f.Footer, MappedBytes: f.Size}, w.Counts())
	counts := w.files.Counts()
	require.Equal(t, f.Size, counts.BytesFetched)
	require.Zero(t, counts.Ranges)
}

// A large split is read by ranges, of which its footer is read once, until so much
// was read that it is fetched whole.
func TestALargeSplitIsReadByRangesUntilItIsHot(t *testing.T) {
	w := newWorld(t, Options{WholeBytes: 1})
	f := w.put(20_000)
	s := w.open(f)
	require.EqualValues(t, 4242, w.word(s, "w4242"))
	cold := w.files.Counts()
	require.Less(t, cold.BytesFetched, f.Size/4, "of %d bytes", f.Size)
	require.LessOrEqual(t, cold.Ranges, int64(3))
	t.Logf("a term of a cold split of %d bytes: %d ranges, %d bytes, of which the footer has %d", f.Size, cold.Ranges, cold.BytesFetched, f.Footer)
	s.Release()
	s = w.open(f)
	require.EqualValues(t, 4242, w.word(s, "w4242"))
	require.Equal(t, cold, w.files.Counts(), "footer and term are in memory")
	require.Zero(t, w.Counts().Mapped)

	object := filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC}
	for i := 0; !w.files.Here(object); i++ {
		require.EqualValues(t, i%20_000, w.word(s, fmt.Sprintf("w%d", i%20_000)))
	}
	whole := w.open(f)
	require.Equal(t, 1, w.Counts().Mapped)
	ranges := w.files.Counts().Ranges
	require.EqualValues(t, 77, w.word(whole, "w77"))
	require.Equal(t, ranges, w.files.Counts().Ranges)
	require.EqualValues(t, 78, w.word(s, "w78"), "who has it open reads on")
	require.LessOrEqual(t, w.files.Counts().BytesFetched, f.Size+f.Size/4+64<<10, "once whole, and not much more than a quarter by ranges")
	s.Release()
	whole.Release()
	w.Cache.Close()
	require.Equal(t, indexcache.Counts{}, w.Counts())
}

func TestALocalCopyThatIsDamagedIsFetchedAgain(t *testing.T) {
	w := newWorld(t, Options{})
	f := w.put(100)
	w.open(f).Release()
	files, err := os.ReadDir(w.dir)
	require.NoError(t, err)
	require.Len(t, files, 1)
	w.Forget(f.Object)
	require.Zero(t, w.Counts().Files)
	require.Eventually(t, func() bool { left, err := os.ReadDir(w.dir); return err == nil && len(left) == 0 }, 10*time.Second, time.Millisecond)
	s := w.open(f)
	require.EqualValues(t, 5, w.word(s, "w5"))
	w.Forget(f.Object)
	require.EqualValues(t, 6, w.word(s, "w6"), "who has it open is not disturbed")
	s.Release()

	require.NoError(t, w.bucket.Delete(t.Context(), f.Object))
	_, err = w.Open(t.Context(), f)
	require.ErrorIs(t, err, objstore.ErrNotFound)
	require.Equal(t, indexcache.Counts{}, w.Counts())
}

func TestHiddenAreTheDeletedAndTheMasked(t *testing.T) {
	w := newWorld(t, Options{})
	s := w.open(w.put(10)) // offsets 0, 2, 4, …
	defer s.Release()
	none, err := s.Hidden(t.Context(), 0, nil, nil)
	require.NoError(t, err)
	require.Nil(t, none)
	for range 2 {
		hidden, err := s.Hidden(t.Context(), 5, []string{"a", "b"}, [][]int64{{1, 6, 8}, {-4, 3, 18, 30}})
		require.NoError(t, err)
		require.Equal(t, []uint32{0, 1, 2, 3, 4, 9}, hidden.ToArray())
	}
	hidden, err := s.Hidden(t.Context(), 2, nil, nil)
	require.NoError(t, err)
	require.Equal(t, []uint32{0}, hidden.ToArray())
	hidden, err = s.Hidden(t.Context(), 0, []string{"a"}, [][]int64{{1, 3}})
	require.NoError(t, err)
	require.Nil(t, hidden)
}

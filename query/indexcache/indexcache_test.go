package indexcache

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/blob"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/query/filecache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// footer is how long those of the files here are.
const footer = 100

// numbers is a file of 8-byte numbers, each of which is its own place, and of a
// footer.
type numbers struct{ blob blob.Blob }

func openNumbers(ctx context.Context, b blob.Blob, n int64) (*numbers, error) {
	end, err := b.Read(ctx, b.Size()-n, n)
	if err == nil && end[0] != 'F' {
		err = format.Corrupt(b.Size()-n, "no footer")
	}
	return &numbers{b}, err
}

type world struct {
	*Cache[*numbers]
	t      *testing.T
	bucket objstore.Bucket
	files  *filecache.Cache
}

func newWorld(t *testing.T, o Options) *world {
	w := &world{t: t, bucket: memory.New()}
	var err error
	w.files, err = filecache.Open(w.bucket, filecache.Options{Dir: filepath.Join(t.TempDir(), "objects")})
	require.NoError(t, err)
	w.Cache = New(w.files, openNumbers, o)
	t.Cleanup(w.Cache.Close)
	t.Cleanup(w.files.Close)
	return w
}

// put stores a file of so many numbers.
func (w *world) put(count int) manifest.File {
	content := make([]byte, 8*count, 8*count+footer)
	for i := range count {
		binary.LittleEndian.PutUint64(content[8*i:], uint64(i))
	}
	content = append(content, make([]byte, footer)...)
	content[8*count] = 'F'
	f := manifest.File{
		Object: objstore.SplitName(topic.Partition{Topic: topic.ID{1}}, ulid.Make()), Size: int64(len(content)), Footer: footer,
		CRC: crc32.Checksum(content, format.Castagnoli),
	}
	_, err := w.bucket.Put(w.t.Context(), f.Object, objstore.Bytes(content), objstore.Condition{})
	require.NoError(w.t, err)
	return f
}

// use opens a file, reads some numbers from a place on, and releases it.
func (w *world) use(f manifest.File, place, count int64) {
	file, release, err := w.Open(w.t.Context(), f)
	require.NoError(w.t, err)
	defer release()
	w.read(w.t.Context(), file, place, count)
}

func (w *world) read(ctx context.Context, file *numbers, place, count int64) {
	b, err := file.blob.Read(ctx, 8*place, 8*count)
	require.NoError(w.t, err)
	for i := range count {
		require.EqualValues(w.t, place+i, binary.LittleEndian.Uint64(b[8*i:]))
	}
}

func TestFilesThatNobodyUsesGiveWay(t *testing.T) {
	w := newWorld(t, Options{MappedBytesMax: 8*100 + footer})
	first, second := w.put(100), w.put(100)
	held, release, err := w.Open(t.Context(), first)
	require.NoError(t, err)
	w.use(second, 0, 1)
	require.Equal(t, Counts{Files: 1, Mapped: 1, MemoryBytes: footerFactor * footer, MappedBytes: first.Size}, w.Counts(), "the one in use stays")
	w.read(t.Context(), held, 3, 1)
	release()
	require.Equal(t, 1, w.Counts().Files)

	small := newWorld(t, Options{MemoryBytesMax: 1})
	small.use(small.put(100), 0, 100)
	require.Equal(t, Counts{}, small.Counts())
}

// What was read of a file goes before its footer does, and how hot it is is not
// forgotten.
func TestRangesGiveWayBeforeFooters(t *testing.T) {
	w := newWorld(t, Options{WholeBytes: 1, MemoryBytesMax: 4000, KeepBytesMin: 80})
	f := w.put(10_000)
	w.use(f, 0, 300)
	require.EqualValues(t, footerFactor*footer+2400, w.Counts().MemoryBytes-footer, "the footer was read by a range too")
	w.use(f, 1000, 9)
	ranges := w.files.Counts().Ranges
	w.use(f, 0, 300)
	require.Equal(t, ranges, w.files.Counts().Ranges, "it is in memory")
	w.use(f, 1000, 9)
	require.Equal(t, ranges+1, w.files.Counts().Ranges, "too short to be kept")
	w.use(f, 1000, 100)
	require.Equal(t, Counts{Files: 1, MemoryBytes: footerFactor * footer}, w.Counts())
	for place := int64(0); !w.files.Here(filecache.Object{Name: f.Object, Size: f.Size}); place += 300 {
		w.use(f, place, 300)
		require.Less(t, place, int64(4000))
	}
	w.use(f, 5, 10)
	require.Equal(t, 1, w.Counts().Mapped)
}

// While a large file is fetched, searches go on with ranges.
func TestNobodyWaitsForALargeFile(t *testing.T) {
	w := newWorld(t, Options{WholeBytes: 1, MemoryBytesMax: 1 << 20})
	f := w.put(awaitBytes/8 + 1)
	file, release, err := w.Open(t.Context(), f)
	require.NoError(t, err)
	const step = 1 << 20 // numbers
	for place := int64(0); place <= f.Size/heat/8; place += step {
		w.read(t.Context(), file, place, step)
	}
	require.Zero(t, w.Counts().Mapped)
	var meter Meter
	w.read(WithMeter(t.Context(), &meter), file, 7, 2)
	if meter.Requests() > 0 {
		require.EqualValues(t, 16, meter.Bytes(), "not the whole")
	}
	object := filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC}
	require.Eventually(t, func() bool { return w.files.Here(object) }, time.Minute, time.Millisecond)
	w.use(f, 77, 3)
	require.Equal(t, 1, w.Counts().Mapped)
	w.read(t.Context(), file, 78, 3)
	release()
}

// One that is larger than all that may be mapped is never fetched whole.
func TestAFileThatIsTooLargeIsReadByRangesForEver(t *testing.T) {
	w := newWorld(t, Options{WholeBytes: 1, MappedBytesMax: 1000})
	f := w.put(1000)
	for range 20 {
		w.use(f, 0, 900)
		w.use(f, 1, 900)
	}
	require.False(t, w.files.Here(filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC}))
	require.Zero(t, w.Counts().Mapped)
}

func TestAMeterCountsWhatIsFetched(t *testing.T) {
	w := newWorld(t, Options{WholeBytes: 1000})
	for _, c := range []struct {
		count           int
		requests, bytes int64
	}{
		{100, 1, 8*100 + footer},
		{1000, 2, footer + 80},
	} {
		f := w.put(c.count)
		for _, again := range []bool{false, true} {
			var meter Meter
			ctx := WithMeter(t.Context(), &meter)
			file, release, err := w.Open(ctx, f)
			require.NoError(t, err)
			w.read(ctx, file, 5, 10)
			release()
			if again {
				c.requests, c.bytes = 0, 0
			}
			require.Equal(t, c.requests, meter.Requests())
			require.Equal(t, c.bytes, meter.Bytes())
		}
	}
}

func TestOneThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	for _, whole := range []int64{1, 1 << 20} {
		w := newWorld(t, Options{WholeBytes: whole})
		f := w.put(100)
		bad := f
		bad.Footer = 60
		for range 2 {
			_, _, err := w.Open(t.Context(), bad)
			require.ErrorIs(t, err, format.ErrCorrupt)
			require.Equal(t, Counts{}, w.Counts())
		}
		w.use(f, 0, 3)
	}
}

func TestFilesAreUsedAtOnce(t *testing.T) {
	for _, whole := range []int64{1, 1 << 20} {
		w := newWorld(t, Options{WholeBytes: whole, MemoryBytesMax: 3000, MappedBytesMax: 20_000})
		files := []manifest.File{w.put(1000), w.put(1000), w.put(1000), w.put(1000)}
		var all sync.WaitGroup
		for n := range int64(8) {
			all.Go(func() {
				for i := range int64(100) {
					file, release, err := w.Open(t.Context(), files[(n+i)%4])
					if err != nil {
						t.Error(err)
						return
					}
					b, err := file.blob.Read(t.Context(), 8*i, 80)
					if err != nil || binary.LittleEndian.Uint64(b) != uint64(i) {
						t.Errorf("%v, %v", b, err)
					}
					release()
				}
			})
		}
		all.Wait()
		w.Close()
		require.Equal(t, Counts{}, w.Counts())
	}
}

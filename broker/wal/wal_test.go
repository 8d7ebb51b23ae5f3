package wal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/walfile"
)

type entry struct{ Frame }

func (e *entry) WAL() *Frame { return &e.Frame }

const testFileBytes = 64 << 10

// journal drives a log and remembers what it acknowledged.
type journal struct {
	t     *testing.T
	log   *Log
	rec   *Recovery
	next  map[topic.Partition]int64
	mu    sync.Mutex
	acked []*entry
}

func openJournal(t *testing.T, fs disk.FS) *journal {
	t.Helper()
	return openJournalAt(t, fs, "wal")
}

func openJournalAt(t *testing.T, fs disk.FS, dir string) *journal {
	t.Helper()
	j := &journal{t: t, next: map[topic.Partition]int64{}}
	var err error
	j.log, j.rec, err = Open(Options{Dir: dir, FS: fs, FileBytes: testFileBytes, Log: slog.New(slog.DiscardHandler), Synced: j.synced})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range j.rec.Frames {
		j.next[r.Frame.Partition] = r.Header.Next()
	}
	return j
}

func (j *journal) synced(records []Record, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range records {
		if err == nil {
			j.acked = append(j.acked, r.(*entry))
		}
	}
}

func partition(i int) topic.Partition {
	return topic.Partition{Topic: topic.ID{1, 2, 3}, Index: int32(i)}
}

func testBatch(t testing.TB, first int64, records, bytes int) []byte {
	t.Helper()
	var b batch.Builder
	b.Reset(batch.Options{})
	for range records {
		b.Append(1000, nil, make([]byte, bytes))
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	batch.PatchOffset(raw, first, 0)
	return raw
}

func (j *journal) append(p, records, size int) (*entry, *Group, error) {
	id := partition(p)
	first := j.next[id]
	e := &entry{Frame{Partition: id, First: first}}
	g, err := j.log.Append(e, testBatch(j.t, first, records, size))
	if err == nil {
		j.next[id] += int64(records)
	}
	return e, g, err
}

func (j *journal) mustAppend(p, records, size int) *entry {
	j.t.Helper()
	e, g, err := j.append(p, records, size)
	if err != nil {
		j.t.Fatal(err)
	}
	<-g.Done()
	if err := g.Err(); err != nil {
		j.t.Fatal(err)
	}
	return e
}

func TestRecoveryFindsEveryAckedBatchInOrder(t *testing.T) {
	fs := disk.NewMemory()
	j := openJournal(t, fs)
	for i := range 300 {
		j.mustAppend(i%3, 1+i%4, 10+i*7%900) // over several files
	}
	if err := j.log.Close(); err != nil {
		t.Fatal(err)
	}
	k := openJournal(t, fs)
	defer k.log.Close()
	if len(k.rec.Frames) != 300 || len(k.rec.Damage) != 0 {
		t.Fatalf("recovered %d frames, damage %v", len(k.rec.Frames), k.rec.Damage)
	}
	for i, r := range k.rec.Frames {
		if want := j.acked[i]; r.Frame.Position != want.Position || r.Header.BaseOffset != want.First {
			t.Fatalf("frame %d: %+v, want %+v", i, r.Frame, want.Frame)
		}
		if got, err := k.log.Read(&r.Frame); err != nil || !bytes.Equal(got, j.acked[i].Batch) {
			t.Fatalf("frame %d reads differently: %v", i, err)
		}
	}
	k.mustAppend(0, 1, 10)
}

func TestReleasedFilesAreUsedAgainAndOldFramesStayDead(t *testing.T) {
	fs := disk.NewMemory()
	j := openJournal(t, fs)
	for range 40 {
		var generations []uint64
		for range 50 {
			generations = append(generations, j.mustAppend(0, 1, 2000).Position.Generation)
		}
		for _, g := range generations {
			j.log.Release(g, 1)
		}
	}
	if names, _ := fs.List("wal"); len(names) > 2+spareFilesMax+2 {
		t.Errorf("%d files for a log of which nothing is needed: %v", len(names), names)
	}
	last := j.mustAppend(1, 1, 10)
	if err := j.log.Close(); err != nil {
		t.Fatal(err)
	}
	k := openJournal(t, fs)
	defer k.log.Close()
	if len(k.rec.Damage) != 0 {
		t.Fatalf("damage in a healthy log: %v", k.rec.Damage)
	}
	if got := k.rec.Frames[len(k.rec.Frames)-1].Frame; got.Position != last.Position {
		t.Errorf("last frame recovered at %+v, want %+v", got.Position, last.Position)
	}
	for i := 1; i < len(k.rec.Frames)-1; i++ {
		// Released files that were not used again are still there, whole: gaps
		// are what it takes to be found, going back would be an old frame.
		if k.rec.Frames[i].Frame.First <= k.rec.Frames[i-1].Frame.First {
			t.Fatalf("a frame of an earlier use came back: offset %d behind %d", k.rec.Frames[i].Frame.First, k.rec.Frames[i-1].Frame.First)
		}
	}
}

// slowFS takes its time to sync, each time another.
type slowFS struct {
	disk.FS
	rng *rand.Rand
	mu  sync.Mutex
}

func (s *slowFS) Create(name string) (disk.File, error) { return s.slow(s.FS.Create(name)) }
func (s *slowFS) Open(name string) (disk.File, error)   { return s.slow(s.FS.Open(name)) }

func (s *slowFS) slow(f disk.File, err error) (disk.File, error) { return &slowFile{f, s}, err }

func (s *slowFS) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

type slowFile struct {
	disk.File
	fs *slowFS
}

func (f *slowFile) Datasync() error {
	time.Sleep(time.Duration(f.fs.draw(1000)) * time.Microsecond)
	return f.File.Datasync()
}

// The file that is prepared ahead of time may be overtaken by one that is made on
// the spot, and that one may be released before the prepared one is written.
func TestGenerationsRiseInTheOrderOfUseHoweverSoonFilesAreReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &slowFS{FS: disk.NewMemory(), rng: rand.New(rand.NewPCG(1, 2))}
		for round := range 100 {
			j := openJournal(t, fs)
			if len(j.rec.Damage) != 0 {
				t.Fatalf("damage in a healthy log: %v", j.rec.Damage)
			}
			for _, f := range j.rec.Frames {
				j.log.Release(f.Frame.Position.Generation, 1)
			}
			var kept []uint64
			for range 10 + round {
				// Two frames do not fit into a file.
				kept = append(kept, j.mustAppend(0, 1, testFileBytes/2).Position.Generation)
				for len(kept) > 0 && fs.draw(3) > 0 {
					j.log.Release(kept[0], 1)
					kept = kept[1:]
				}
			}
			if err := j.log.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Power is cut at a random moment, again and again on what the last cut left:
// what was acked is there, once, in order, and nothing is taken for damage.
func TestPowerLossKeepsWhatWasAcked(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			fs := disk.NewMemory()
			want := map[topic.Partition]int64{} // acked next
			for life := range 5 {
				j := openJournal(t, fs)
				if len(j.rec.Damage) != 0 {
					t.Fatalf("life %d: damage %v", life, j.rec.Damage)
				}
				seen := map[topic.Partition]int64{}
				for _, r := range j.rec.Frames {
					if r.Frame.First != seen[r.Frame.Partition] {
						t.Fatalf("life %d: %s goes on at %d, want %d", life, r.Frame.Partition, r.Frame.First, seen[r.Frame.Partition])
					}
					seen[r.Frame.Partition] = r.Header.Next()
				}
				for p, next := range want {
					if seen[p] < next {
						t.Fatalf("life %d: %s acked up to %d, recovered up to %d", life, p, next, seen[p])
					}
				}
				maps.Copy(want, seen) // and read by consumers: it must not vanish, acknowledged or not
				var last *Group
				for range rng.IntN(2) * rng.IntN(80) {
					_, g, err := j.append(rng.IntN(3), 1+rng.IntN(5), rng.IntN(3000))
					if err != nil {
						t.Fatal(err)
					}
					if last = g; rng.IntN(4) == 0 {
						<-g.Done()
					}
				}
				if last != nil && rng.IntN(2) == 0 {
					<-last.Done()
				}
				j.mu.Lock()
				for _, e := range j.acked {
					h, _ := batch.ParseHeader(e.Batch)
					want[e.Partition] = h.Next()
				}
				after := fs.Kill() // of the process alone: the power may fail right after the next recovery
				if rng.IntN(2) == 0 {
					after = fs.Crash(seed*31 + uint64(life))
				}
				j.mu.Unlock()
				j.log.Close()
				fs = after
			}
		})
	}
}

func TestFlippedByteIsReportedAndTheRestIsServed(t *testing.T) {
	for _, at := range []struct {
		name   string
		offset int64 // within the frame
		named  bool  // the partition can be told
	}{{"in the batch", walfile.FrameHeaderSize + 70, true}, {"in the frame header", 12, false}} {
		t.Run(at.name, func(t *testing.T) {
			fs := disk.NewMemory()
			j := openJournal(t, fs)
			var victim *entry
			for i := range 20 {
				if e := j.mustAppend(i%2, 1, 100); i == 7 {
					victim = e
				}
			}
			j.log.Close()
			names, _ := fs.List("wal")
			for _, name := range names {
				buf := make([]byte, walfile.HeaderSize)
				f, _ := fs.Open(filepath.Join("wal", name))
				if _, err := f.ReadAt(buf, 0); err != nil {
					t.Fatal(err)
				}
				if g, err := walfile.ParseHeader(buf); err == nil && g == victim.Position.Generation {
					if err := fs.Flip(filepath.Join("wal", name), victim.Position.Offset+at.offset, 0x10); err != nil {
						t.Fatal(err)
					}
				}
			}
			k := openJournal(t, fs)
			defer k.log.Close()
			if len(k.rec.Frames) != 19 || len(k.rec.Damage) != 1 {
				t.Fatalf("%d frames and damage %v, want 19 and one", len(k.rec.Frames), k.rec.Damage)
			}
			d := k.rec.Damage[0]
			if d.Position != victim.Position.Offset || (d.Frame != nil) != at.named {
				t.Errorf("reported %s, want byte %d", d, victim.Position.Offset)
			}
			if at.named && !strings.Contains(d.String(), "offset 3") {
				t.Errorf("report does not name the offset: %s", d)
			}
		})
	}
}

func TestForeignAndTruncatedFilesAreErrorsThatNameThem(t *testing.T) {
	fs := disk.NewMemory()
	f, _ := fs.Create("wal/00000001.wal")
	if _, err := f.WriteAt(bytes.Repeat([]byte("this is not a write-ahead log. "), 50), 0); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, fs)
	defer j.log.Close()
	if len(j.rec.Damage) != 1 || !strings.Contains(j.rec.Damage[0].String(), "00000001.wal") {
		t.Errorf("damage %v", j.rec.Damage)
	}
	j.mustAppend(0, 1, 1)
}

func TestAfterAFailedSyncEverythingIsRefusedUntilOpenedAgain(t *testing.T) {
	memory := disk.NewMemory()
	broken := errors.New("I/O error")
	var fail sync.Map
	fs := disk.Faults(memory, func(site disk.Site, name string, n int) *disk.Fault {
		if _, on := fail.Load("on"); on && site == disk.SiteDatasync {
			return &disk.Fault{Err: broken}
		}
		return nil
	})
	j := openJournal(t, fs)
	j.mustAppend(0, 1, 10)
	fail.Store("on", true)
	_, g, err := j.append(0, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	<-g.Done()
	if !errors.Is(g.Err(), broken) {
		t.Errorf("group error %v", g.Err())
	}
	fail.Delete("on")
	if _, _, err := j.append(0, 1, 10); !errors.Is(err, ErrFailed) {
		t.Errorf("append after a failed sync: %v, want ErrFailed", err)
	}
	j.log.Close()
	k := openJournal(t, memory.Crash(1))
	defer k.log.Close()
	if len(k.rec.Damage) != 0 || len(k.rec.Frames) < 1 {
		t.Errorf("opened again: %d frames, damage %v", len(k.rec.Frames), k.rec.Damage)
	}
	k.mustAppend(0, 1, 10)
}

func TestAppendsDuringASyncShareTheNext(t *testing.T) {
	release := make(chan struct{})
	fs := disk.Faults(disk.NewMemory(), func(site disk.Site, name string, n int) *disk.Fault {
		if site == disk.SiteWrite && name == "wal/00000001.wal" && n == 3 {
			<-release
		}
		return nil
	})
	j := openJournal(t, fs)
	defer j.log.Close()
	_, first, _ := j.append(0, 1, 10)
	groups := map[*Group]bool{}
	for range 50 {
		_, g, err := j.append(0, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		groups[g] = true
	}
	close(release)
	for g := range groups {
		<-g.Done()
	}
	<-first.Done()
	if len(groups) > 3 {
		t.Errorf("50 appends during a sync took %d groups", len(groups))
	}
}

func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, _, err := Open(Options{Dir: filepath.Join(b.TempDir(), "wal"), FS: disk.OS(), Log: slog.New(slog.DiscardHandler), Synced: func([]Record, error) {}})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			raw := testBatch(b, 0, 1, size)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					e := &entry{Frame{Partition: partition(0)}}
					g, err := l.Append(e, raw)
					if err != nil {
						b.Fatal(err)
					}
					<-g.Done()
					if g.Err() != nil {
						b.Fatal(g.Err())
					}
					l.Release(e.Position.Generation, 1)
				}
			})
		})
	}
}

func TestSettleWaitsForAppendsThatAreOnTheirWay(t *testing.T) {
	fs := disk.NewMemory()
	j := openJournal(t, fs)
	defer j.log.Close()
	j.log.Settle() // nothing to wait for
	for range 100 {
		_, g, err := j.append(0, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		j.log.Settle()
		select {
		case <-g.Done():
		default:
			t.Fatal("Settle returned before the outcome of an append was known")
		}
	}
}

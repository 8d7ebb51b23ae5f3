package wal

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chronik-stream/chronik/internal/disk"
)

// limited is a disk of so many bytes.
type limited struct {
	disk.FS
	mu    sync.Mutex
	limit int64
	sizes map[string]int64
}

func (l *limited) Create(name string) (disk.File, error) {
	f, err := l.FS.Create(name)
	return &limitedFile{f, l, name}, err
}

func (l *limited) Open(name string) (disk.File, error) {
	f, err := l.FS.Open(name)
	return &limitedFile{f, l, name}, err
}

func (l *limited) Remove(name string) error {
	l.mu.Lock()
	delete(l.sizes, name)
	l.mu.Unlock()
	return l.FS.Remove(name)
}

func (l *limited) Space(string) (total, usable int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	usable = l.limit
	for _, size := range l.sizes {
		usable -= size
	}
	return l.limit, usable, nil
}

func (l *limited) set(limit int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
}

type limitedFile struct {
	disk.File
	fs   *limited
	name string
}

func (f *limitedFile) WriteAt(p []byte, offset int64) (int, error) {
	f.fs.mu.Lock()
	used := int64(0)
	for name, size := range f.fs.sizes {
		if name != f.name {
			used += size
		}
	}
	size := max(f.fs.sizes[f.name], offset+int64(len(p)))
	fits := used+size <= f.fs.limit || size == f.fs.sizes[f.name]
	if fits {
		f.fs.sizes[f.name] = size
	}
	f.fs.mu.Unlock()
	if !fits {
		return 0, disk.ErrFull
	}
	return f.File.WriteAt(p, offset)
}

// fill appends until the disk is full, and returns how many batches it took. A
// refusal may be too early by the file that is just being prepared: settle waits
// for that.
func (j *journal) fill(t *testing.T, settle func()) int {
	t.Helper()
	again := true
	for n := 0; ; n++ {
		_, g, err := j.append(0, 1, 1000)
		if errors.Is(err, disk.ErrFull) {
			if !again {
				return n
			}
			settle()
			again = false
			n--
			continue
		}
		again = true
		if err != nil {
			t.Fatal(err)
		}
		<-g.Done()
		if g.Err() != nil {
			t.Fatalf("batch %d was taken and then lost: %v", n, g.Err())
		}
	}
}

// A full disk costs what has no room, and nothing that was taken: the log does not
// fail, gives no offset that it cannot keep, and goes on by itself.
func TestAFullDiskRefusesWhatHasNoRoomAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &limited{FS: disk.NewMemory(), limit: 3*testFileBytes + testFileBytes/2, sizes: map[string]int64{}}
		j := openJournal(t, fs)
		synctest.Wait() // the first file is prepared
		filled := j.fill(t, synctest.Wait)
		if least := 2 * testFileBytes / 1100; filled < least {
			t.Errorf("%d batches, want %d and more: two files and what is left of the third", filled, least)
		}
		if err := j.log.Failed(); err != nil {
			t.Fatalf("the log failed: %v", err)
		}
		if _, _, err := j.append(0, 1, 1000); !errors.Is(err, disk.ErrFull) {
			t.Fatalf("still full: %v", err)
		}

		// After a restart on the full disk everything is there.
		if err := j.log.Close(); err != nil {
			t.Fatal(err)
		}
		j = openJournal(t, fs)
		if len(j.rec.Frames) != filled || len(j.rec.Damage) != 0 {
			t.Fatalf("%d frames and damage %v, want %d", len(j.rec.Frames), j.rec.Damage, filled)
		}
		synctest.Wait()
		if _, _, err := j.append(0, 1, 1000); !errors.Is(err, disk.ErrFull) {
			t.Fatalf("full from the start: %v", err)
		}

		// What is committed makes room, at the latest after a second.
		for _, f := range j.rec.Frames {
			j.log.Release(f.Frame.Position.Generation, 1)
		}
		time.Sleep(1100 * time.Millisecond)
		j.mustAppend(0, 1, 1000)
		if n := j.fill(t, synctest.Wait); n == 0 {
			t.Error("no room for a second batch")
		}
		// And so does somebody who makes space.
		fs.set(20 * testFileBytes)
		time.Sleep(1100 * time.Millisecond)
		j.mustAppend(0, 1, 1000)
		if err := j.log.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The same on a disk of the system's, which is full for real.
func TestAFullFileSystemRefusesAndHeals(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=224k"); err != nil {
		t.Skipf("no file system of its own can be had: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "wal")
	j := openJournalAt(t, disk.OS(), path)
	filled := j.fill(t, func() { <-time.After(100 * time.Millisecond) })
	if err := j.log.Failed(); err != nil || filled < 50 {
		t.Fatalf("%d batches, failed: %v", filled, err)
	}
	if err := j.log.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournalAt(t, disk.OS(), path)
	if len(j.rec.Frames) != filled || len(j.rec.Damage) != 0 {
		t.Fatalf("%d frames and damage %v, want %d", len(j.rec.Frames), j.rec.Damage, filled)
	}
	for _, f := range j.rec.Frames {
		j.log.Release(f.Frame.Position.Generation, 1)
	}
	deadline := time.After(20 * time.Second)
	for {
		_, g, err := j.append(0, 1, 1000)
		if err == nil {
			<-g.Done()
			if g.Err() != nil {
				t.Fatal(g.Err())
			}
			break
		}
		select {
		case <-deadline:
			t.Fatalf("no room again: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := j.log.Close(); err != nil {
		t.Fatal(err)
	}
}

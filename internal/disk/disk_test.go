package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

// contract is what every FS promises; it runs in a folder of its own.
func contract(t *testing.T, f FS, dir string) {
	if err := f.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "b.wal")
	if _, err := f.Open(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of a missing file: %v", err)
	}
	file, err := f.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("world"), 6); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("hello "), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Datasync(), file.DropCache(), f.SyncDir(dir)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 11)
	if n, err := file.ReadAt(got, 0); n != 11 || string(got) != "hello world" {
		t.Errorf("read %q, %v", got[:n], err)
	}
	if size, err := file.Size(); size != 11 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Rename(name, filepath.Join(dir, "a.wal")); err != nil {
		t.Fatal(err)
	}
	if names, err := f.List(dir); err != nil || len(names) != 1 || names[0] != "a.wal" {
		t.Errorf("list %v, %v", names, err)
	}
	if err := errors.Join(f.Remove(filepath.Join(dir, "a.wal")), f.Remove(filepath.Join(dir, "a.wal"))); err != nil {
		t.Errorf("remove, twice: %v", err)
	}
}

func TestContract(t *testing.T) {
	t.Run("os", func(t *testing.T) { contract(t, OS(), filepath.Join(t.TempDir(), "x", "y")) })
	t.Run("memory", func(t *testing.T) { contract(t, NewMemory(), "x/y") })
	t.Run("faults without a fault", func(t *testing.T) {
		contract(t, Faults(NewMemory(), func(Site, string, int) *Fault { return nil }), "x/y")
	})
}

func TestCrashKeepsWhatWasSyncedAndNoOtherBytes(t *testing.T) {
	old, young := bytes.Repeat([]byte{'o'}, 3*page), bytes.Repeat([]byte{'y'}, 3*page)
	kept, lost, torn := false, false, false
	for seed := range uint64(50) {
		m := NewMemory()
		f, _ := m.Create("d/f")
		if _, err := f.WriteAt(old, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Datasync(), m.SyncDir("d")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(young, page); err != nil {
			t.Fatal(err)
		}
		after, err := m.Crash(seed).Open("d/f")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4*page)
		n, _ := after.ReadAt(got, 0) // may end early: the file had grown unsynced
		if !bytes.Equal(got[:page], old[:page]) {
			t.Fatalf("seed %d: a synced page changed", seed)
		}
		for i, b := range got[page:n] {
			if b != 'o' && b != 'y' && b != 0 {
				t.Fatalf("seed %d: byte %d is %q, which nobody wrote", seed, i, b)
			}
		}
		second := got[page : 2*page]
		kept = kept || second[page-1] == 'y'
		lost = lost || second[0] == 'o'
		torn = torn || second[0] == 'y' && second[page-1] == 'o'
	}
	if !kept || !lost || !torn {
		t.Errorf("50 crashes kept a page: %v, lost one: %v, tore one: %v", kept, lost, torn)
	}
}

func TestFaultsStrikeBeforeAfterAndInTheMiddle(t *testing.T) {
	bad := errors.New("bad disk")
	var next *Fault
	f := Faults(NewMemory(), func(site Site, _ string, _ int) *Fault {
		if site == SiteWrite {
			return next
		}
		return nil
	})
	file, err := f.Create("d/f")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fault  Fault
		stored string
	}{{Fault{Err: bad}, ""}, {Fault{Err: bad, Cut: 3}, "abc"}, {Fault{Err: bad, After: true}, "abcdef"}} {
		next = &c.fault
		if _, err := file.WriteAt([]byte("abcdef"), 0); !errors.Is(err, bad) {
			t.Errorf("%+v: error %v", c.fault, err)
		}
		got := make([]byte, 6)
		n, _ := file.ReadAt(got, 0) // short files end early
		if string(got[:n]) != c.stored {
			t.Errorf("%+v: stored %q, want %q", c.fault, got[:n], c.stored)
		}
	}
}

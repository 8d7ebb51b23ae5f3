package disk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sort"
	"sync"
)

// page is the unit in which a crash keeps or loses what was not synced.
const page = 4096

// Memory is a disk in memory that remembers what was synced. The zero value is
// not usable; make one with NewMemory.
type Memory struct {
	mu    sync.Mutex
	files map[string]*memoryFile
}

// NewMemory returns an empty disk.
func NewMemory() *Memory { return &Memory{files: map[string]*memoryFile{}} }

type memoryFile struct {
	mu      *sync.Mutex // the disk's: a crash strikes all files at one instant
	data    []byte
	durable []byte         // as of the last Datasync
	dirty   map[int64]bool // pages written since
	named   bool           // SyncDir has seen the name
}

// Crash returns the disk as it may be found after a power loss: all that was
// synced, and of each page written since, either the old or the new bytes, or
// the new ones up to a torn point, as the seed says.
func (m *Memory) Crash(seed uint64) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.files))
	for name := range m.files {
		names = append(names, name)
	}
	sort.Strings(names)
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	after := NewMemory()
	for _, name := range names {
		f := m.files[name]
		if f.named || rng.IntN(2) == 0 {
			data := f.afterCrash(rng)
			after.files[name] = &memoryFile{data: data, durable: append([]byte(nil), data...), dirty: map[int64]bool{}, named: true, mu: &after.mu}
		}
	}
	return after
}

// Kill returns the disk as a process leaves it that is killed: all that it wrote can
// be read, and what was not synced is still lost in a power loss.
func (m *Memory) Kill() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := NewMemory()
	for name, f := range m.files {
		after.files[name] = &memoryFile{data: slices.Clone(f.data), durable: slices.Clone(f.durable), dirty: maps.Clone(f.dirty), named: f.named, mu: &after.mu}
	}
	return after
}

func (f *memoryFile) afterCrash(rng *rand.Rand) []byte {
	out := append([]byte(nil), f.durable...)
	pages := make([]int64, 0, len(f.dirty))
	for p := range f.dirty {
		pages = append(pages, p)
	}
	sort.Slice(pages, func(i, j int) bool { return pages[i] < pages[j] })
	for _, p := range pages {
		first, next := p*page, min((p+1)*page, int64(len(f.data)))
		switch rng.IntN(3) {
		case 0:
			continue
		case 1:
			next = first + rng.Int64N(next-first+1)
		}
		if int64(len(out)) < next {
			out = append(out, make([]byte, next-int64(len(out)))...)
		}
		copy(out[first:next], f.data[first:next])
	}
	return out
}

// Flip inverts the bits of mask in one byte, synced or not: bit rot.
func (m *Memory) Flip(name string, offset int64, mask byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return fmt.Errorf("flip %s: %w", name, fs.ErrNotExist)
	}
	if offset >= int64(len(f.data)) {
		return fmt.Errorf("flip %s at %d: file has %d bytes", name, offset, len(f.data))
	}
	f.data[offset] ^= mask
	if offset < int64(len(f.durable)) {
		f.durable[offset] ^= mask
	}
	return nil
}

// MkdirAll implements FS; directories need no making here.
func (m *Memory) MkdirAll(string) error { return nil }

// Create implements FS.
func (m *Memory) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		f = &memoryFile{dirty: map[int64]bool{}, mu: &m.mu}
		m.files[name] = f
	}
	return f, nil
}

// Open implements FS.
func (m *Memory) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[name]; f != nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// List implements FS.
func (m *Memory) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names = append(names, filepath.Base(name))
		}
	}
	sort.Strings(names)
	return names, nil
}

// Rename implements FS.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[from]
	if f == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(m.files, from)
	m.files[to] = f
	return nil
}

// Remove implements FS.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

// SyncDir implements FS.
func (m *Memory) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, f := range m.files {
		if filepath.Dir(name) == filepath.Clean(dir) {
			f.named = true
		}
	}
	return nil
}

func (f *memoryFile) ReadAt(p []byte, offset int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, offset int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := offset + int64(len(p)); end > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, end-int64(len(f.data)))...)
	}
	copy(f.data[offset:], p)
	for at := offset / page; at*page < offset+int64(len(p)); at++ {
		f.dirty[at] = true
	}
	return len(p), nil
}

func (f *memoryFile) Datasync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if grow := len(f.data) - len(f.durable); grow > 0 {
		f.durable = append(f.durable, make([]byte, grow)...)
	}
	for p := range f.dirty {
		first, next := p*page, min((p+1)*page, int64(len(f.data)))
		copy(f.durable[first:next], f.data[first:next])
		delete(f.dirty, p)
	}
	return nil
}

func (f *memoryFile) DropCache() error { return nil }

func (f *memoryFile) Size() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memoryFile) Close() error { return nil }

// Space implements FS: a disk in memory has no size.
func (m *Memory) Space(string) (total, usable int64, err error) { return -1, -1, nil }

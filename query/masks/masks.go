// Package masks reads the masks of manifests: the offsets that compaction by key
// took out of the log, and that files of other kinds, made before it, still have.
package masks

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// offsetsMax bounds the offsets that are kept in memory.
const offsetsMax = 16 << 20

// Masks are those that were read. All methods may be called at once.
type Masks struct {
	files *filecache.Cache

	mu      sync.Mutex
	of      map[string][]int64 // by object
	objects []string           // the oldest first
	total   int
}

// New returns masks that are read through a cache of files.
func New(files *filecache.Cache) *Masks {
	return &Masks{files: files, of: map[string][]int64{}}
}

// Over returns the masks that may have taken records out of a file, and the
// offsets that each names, which rise. Damage of one is an error of
// snapshot.OfFile.
func (m *Masks) Over(ctx context.Context, f manifest.File, masks []manifest.File) (names []string, offsets [][]int64, err error) {
	for _, mask := range masks {
		if f.Masked == 0 || mask.Next <= f.First || mask.First >= f.Next {
			continue
		}
		of, err := m.offsets(ctx, mask)
		if err != nil {
			return nil, nil, snapshot.OfFile(mask.Object, err)
		}
		names, offsets = append(names, mask.Object), append(offsets, of)
	}
	return names, offsets, nil
}

// offsets returns those of a mask.
func (m *Masks) offsets(ctx context.Context, f manifest.File) ([]int64, error) {
	m.mu.Lock()
	offsets, known := m.of[f.Object]
	m.mu.Unlock()
	if known {
		return offsets, nil
	}
	offsets, err := m.read(ctx, f)
	if errors.Is(err, format.ErrCorrupt) {
		m.files.Forget(f.Object)
		offsets, err = m.read(ctx, f)
	}
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.of[f.Object]; known {
		return offsets, nil
	}
	m.of[f.Object] = offsets
	m.objects = append(m.objects, f.Object)
	m.total += len(offsets)
	for m.total > offsetsMax && len(m.objects) > 1 {
		m.total -= len(m.of[m.objects[0]])
		delete(m.of, m.objects[0])
		m.objects = m.objects[1:]
	}
	return offsets, nil
}

func (m *Masks) read(ctx context.Context, f manifest.File) (offsets []int64, err error) {
	local, err := m.files.Acquire(ctx, filecache.Object{Name: f.Object, Size: f.Size, CRC: f.CRC})
	if err != nil {
		return nil, err
	}
	defer local.Release()
	file, err := os.Open(local.Path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	offsets, err = columnar.ReadOffsets(file)
	if err != nil {
		return nil, format.In(f.Object, format.Corrupt(0, "%v", err))
	}
	slices.Sort(offsets)
	return offsets, nil
}

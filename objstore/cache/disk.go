package cache

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/format"
)

// A chunk on disk is a file <object key, hex>-<chunk>.chunk in a directory of
// its key's first byte:
//
//	0  magic "CHC1"
//	4  CRC-32C, big endian, of object key, chunk number and data
//	8  data
//
// Nothing is synced: what a crash tears the CRC refuses, and what is refused or
// missing is fetched again. So anyone may delete any of it at any time.
const (
	diskMagic      = "CHC1"
	diskHeader     = 8
	diskExtension  = ".chunk"
	diskTempSuffix = ".tmp"
)

type disk struct {
	dir string

	mu    sync.Mutex
	files *lru[chunkKey, int64] // size of the data
}

// openDisk takes over what an earlier process left in dir, oldest first.
func openDisk(dir string, bytesMax int64) (*disk, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	d := &disk{dir: dir, files: newLRU[chunkKey, int64](bytesMax)}
	found, err := d.scan()
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	slices.SortFunc(found, func(x, y foundChunk) int { return x.modified.Compare(y.modified) })
	for _, f := range found {
		for _, old := range d.files.add(f.key, f.size, f.size+diskHeader) {
			d.unlink(old)
		}
	}
	return d, nil
}

type foundChunk struct {
	key      chunkKey
	size     int64
	modified time.Time
}

func (d *disk) scan() (found []foundChunk, err error) {
	err = filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted under our eyes
		}
		if err != nil || e.IsDir() {
			return err
		}
		if strings.HasSuffix(path, diskTempSuffix) {
			return os.Remove(path) // its writer is gone
		}
		key, ok := parsePath(path)
		info, err := e.Info()
		if !ok || err != nil || info.Size() < diskHeader {
			return nil // not ours, or gone
		}
		found = append(found, foundChunk{key, info.Size() - diskHeader, info.ModTime()})
		return nil
	})
	return found, err
}

func (d *disk) path(k chunkKey) string {
	name := hex.EncodeToString(k.object[:])
	return filepath.Join(d.dir, name[:2], fmt.Sprintf("%s-%d%s", name, k.chunk, diskExtension))
}

func parsePath(path string) (k chunkKey, ok bool) {
	name, isChunk := strings.CutSuffix(filepath.Base(path), diskExtension)
	object, chunk, cut := strings.Cut(name, "-")
	raw, err := hex.DecodeString(object)
	if !isChunk || !cut || err != nil || len(raw) != len(k.object) {
		return k, false
	}
	copy(k.object[:], raw)
	k.chunk, err = strconv.ParseInt(chunk, 10, 64)
	return k, err == nil && k.chunk >= 0
}

func (d *disk) has(k chunkKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files.has(k)
}

// read returns a chunk of the wanted size, or nil when there is none; with an
// error when there was one that cannot be used. That one is removed.
func (d *disk) read(k chunkKey, size int64) ([]byte, error) {
	d.mu.Lock()
	have, ok := d.files.get(k)
	d.mu.Unlock()
	if !ok {
		return nil, nil
	}
	var data []byte
	err := format.Corrupt(0, "chunk of %d bytes, want %d", have, size)
	if have == size {
		data, err = d.load(k, size)
	}
	if err == nil {
		return data, nil
	}
	d.mu.Lock()
	d.files.remove(k)
	d.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // deleting is allowed
	}
	d.unlink(k)
	return nil, format.In(d.path(k), err)
}

func (d *disk) load(k chunkKey, size int64) ([]byte, error) {
	f, err := os.Open(d.path(k))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw := make([]byte, diskHeader+size)
	if n, err := io.ReadFull(f, raw); err != nil {
		return nil, format.Corrupt(int64(n), "chunk ends early: %v", err)
	}
	if string(raw[:4]) != diskMagic {
		return nil, format.Corrupt(0, "magic %q", raw[:4])
	}
	data := raw[diskHeader:]
	if got, want := checksum(k, data), binary.BigEndian.Uint32(raw[4:]); got != want {
		return nil, format.Corrupt(4, "CRC %08x, want %08x", got, want)
	}
	return data, nil
}

// checksum covers the key, so that a chunk under another's name is refused too.
func checksum(k chunkKey, data []byte) uint32 {
	crc := crc32.Update(0, format.Castagnoli, k.object[:])
	crc = crc32.Update(crc, format.Castagnoli, binary.BigEndian.AppendUint64(nil, uint64(k.chunk)))
	return crc32.Update(crc, format.Castagnoli, data)
}

// write keeps a chunk, and removes those that must leave for it.
func (d *disk) write(k chunkKey, data []byte) error {
	path := d.path(k)
	if d.has(k) {
		return nil
	}
	err := d.store(path, k, data)
	if errors.Is(err, fs.ErrNotExist) { // the first of its directory, or someone deleted it
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = d.store(path, k, data)
		}
	}
	if err != nil {
		return fmt.Errorf("cache chunk: %w", err)
	}
	d.mu.Lock()
	evicted := d.files.add(k, int64(len(data)), int64(len(data))+diskHeader)
	d.mu.Unlock()
	for _, old := range evicted {
		d.unlink(old)
	}
	return nil
}

func (d *disk) store(path string, k chunkKey, data []byte) (err error) {
	temp := path + "." + ulid.Make().String() + diskTempSuffix
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	header := binary.BigEndian.AppendUint32([]byte(diskMagic), checksum(k, data))
	_, errHeader := f.Write(header)
	_, errData := f.Write(data)
	if err := errors.Join(errHeader, errData, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// unlink removes a file that the index no longer has. Should that fail, the next
// Open finds it again.
func (d *disk) unlink(k chunkKey) { _ = os.Remove(d.path(k)) }

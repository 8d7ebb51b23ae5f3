// Package disk is the seam to a broker's local disk: the few file operations
// that the WAL needs, so that tests can make them fail, tear and crash.
//
// OS is the real thing, Memory a disk that can lose power (Crash), and Faults
// wraps either. It promises no more than POSIX does: a write is durable after
// Datasync, a new or renamed name after SyncDir.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrFull means that there is no space left. Nothing of the write may be trusted.
var ErrFull = errors.New("disk full")

// FS is a directory tree. Its methods may be called at once.
type FS interface {
	// MkdirAll makes dir and its parents, durably.
	MkdirAll(dir string) error
	// Create opens name for reading and writing and makes it when it is absent.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing; fs.ErrNotExist otherwise.
	Open(name string) (File, error)
	// List returns the names of dir's files, sorted.
	List(dir string) ([]string, error)
	// Rename moves a file within the tree; durable after SyncDir of both ends.
	Rename(from, to string) error
	// Remove deletes a file; one that is absent is no error.
	Remove(name string) error
	// SyncDir makes creations, renames and removals in dir durable.
	SyncDir(dir string) error
	// Space returns the bytes of the disk that dir is on, and how many of them
	// are left to this process; −1, −1 when the system does not say.
	Space(dir string) (total, usable int64, err error)
}

// File is an open file. ReadAt and WriteAt may be called at once on ranges that
// do not overlap.
type File interface {
	ReadAt(p []byte, offset int64) (int, error)
	WriteAt(p []byte, offset int64) (int, error)
	// Datasync returns when every byte written before it is durable. After an
	// error nothing written since the last success may be trusted, ever.
	Datasync() error
	// DropCache forgets cached pages, so that reads show what the disk holds.
	DropCache() error
	Size() (int64, error)
	Close() error
}

// OS returns the operating system's files.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) MkdirAll(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return osFS{}.SyncDir(filepath.Dir(dir))
}

func (osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, full(err)
	}
	return osFile{f}, nil
}

func (osFS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (osFS) Space(dir string) (total, usable int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return -1, -1, fmt.Errorf("space of the disk of %s: %w", dir, err)
	}
	return int64(s.Blocks) * int64(s.Bsize), int64(s.Bavail) * int64(s.Bsize), nil
}

type osFile struct{ f *os.File }

func (o osFile) ReadAt(p []byte, offset int64) (int, error) { return o.f.ReadAt(p, offset) }

func (o osFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := o.f.WriteAt(p, offset)
	return n, full(err)
}

// full makes an error for want of space an ErrFull too.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errors.Join(ErrFull, err)
	}
	return err
}

func (o osFile) Datasync() error {
	for {
		err := unix.Fdatasync(int(o.f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (o osFile) DropCache() error {
	return unix.Fadvise(int(o.f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

func (o osFile) Size() (int64, error) {
	st, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (o osFile) Close() error { return o.f.Close() }

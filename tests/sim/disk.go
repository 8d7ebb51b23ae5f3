package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/chronik-stream/chronik/internal/disk"
)

// seamFS is the disk of one process. Only what waits for the device takes time:
// writes go to the page cache.
type seamFS struct {
	l     *life
	inner disk.FS
}

var errIO = errors.New("input/output error")

func (f *seamFS) wait(what string, effect func() error) error {
	var failed error
	o, err := f.l.do(context.Background(), seamDisk, what, func() { failed = effect() })
	if o != done {
		return fmt.Errorf("%s: %w: %w", what, errIO, err)
	}
	return failed
}

// alive refuses what a dead process does.
func (f *seamFS) alive() error {
	if f.l.isDead() {
		return errDead
	}
	return nil
}

// MkdirAll implements disk.FS.
func (f *seamFS) MkdirAll(dir string) error { return f.inner.MkdirAll(dir) }

// Create implements disk.FS.
func (f *seamFS) Create(name string) (disk.File, error) {
	if err := f.alive(); err != nil {
		return nil, err
	}
	file, err := f.inner.Create(name)
	if err != nil {
		return nil, err
	}
	return &seamFile{File: file, fs: f, name: name}, nil
}

// Open implements disk.FS.
func (f *seamFS) Open(name string) (disk.File, error) {
	file, err := f.inner.Open(name)
	if err != nil {
		return nil, err
	}
	return &seamFile{File: file, fs: f, name: name}, nil
}

// List implements disk.FS.
func (f *seamFS) List(dir string) ([]string, error) { return f.inner.List(dir) }

// Rename implements disk.FS.
func (f *seamFS) Rename(from, to string) error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.inner.Rename(from, to)
}

// Remove implements disk.FS.
func (f *seamFS) Remove(name string) error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

// SyncDir implements disk.FS. It takes no time: the WAL does it under a lock when
// it sets a damaged file aside, and a lock that is waited for stops virtual time.
func (f *seamFS) SyncDir(dir string) error {
	if err := f.alive(); err != nil {
		return err
	}
	return f.inner.SyncDir(dir)
}

// Space implements disk.FS.
func (f *seamFS) Space(dir string) (total, usable int64, err error) { return f.inner.Space(dir) }

type seamFile struct {
	disk.File
	fs   *seamFS
	name string
}

func (f *seamFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.fs.alive(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, offset)
}

func (f *seamFile) Datasync() error { return f.fs.wait("sync "+f.name, f.File.Datasync) }

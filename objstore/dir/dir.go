// Package dir is a bucket in a directory: what `chronik dev` stores in, and
// what shared volumes can serve as.
//
// An object is a plain file at its own name, so that other programs can read
// it in place. A put writes a temporary file beside the objects, syncs it, links
// or renames it to its name and syncs the directories: the object appears whole
// or not at all, and is on disk when Put returns. Several processes may use one
// directory at once; the conditions hold between them, given a file system with
// hard links and working flock (not every NFS has them).
//
// If we crash: before the link there is only a temporary file, which the next
// Open sweeps; after the link and before the directory's sync the object may or
// may not be there, whole, and Put has not returned; after it the object stays.
//
// Not promised: a name cannot be both an object and a directory of others, and
// directories left empty by Delete remain.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/chronik-stream/chronik/objstore"
)

const (
	// private holds temporary files and the lock. No object's name begins so.
	private  = ".chronik"
	tempDir  = private + "/tmp"
	lockFile = private + "/lock"

	// copyBytes is how much is read or written between two looks at the context.
	copyBytes = 256 << 10
)

// Bucket is an objstore.Bucket.
type Bucket struct {
	root *os.Root // refuses every path that leaves it, through symlinks too

	mu      sync.Mutex
	durable map[string]bool // directories known to be on disk, with all parents
}

// Open opens the bucket in a directory, which it makes when absent, and removes
// what crashed puts left behind.
func Open(directory string) (*Bucket, error) {
	if err := makeRoot(filepath.Clean(directory)); err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, fmt.Errorf("open bucket: %w", err)
	}
	b := &Bucket{root: root, durable: map[string]bool{}}
	if err := errors.Join(b.makeDir(tempDir), b.sweep()); err != nil {
		return nil, errors.Join(fmt.Errorf("open bucket %s: %w", directory, err), root.Close())
	}
	return b, nil
}

// makeRoot makes the bucket's own directory and its missing parents, durably.
func makeRoot(directory string) error {
	if info, err := os.Stat(directory); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(directory)
	if parent == directory {
		return fmt.Errorf("%s is not a directory", directory)
	}
	if err := makeRoot(parent); err != nil {
		return err
	}
	if err := os.Mkdir(directory, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close lets go of the directory. Operations after it fail.
func (b *Bucket) Close() error { return b.root.Close() }

// Get implements objstore.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	data, err := b.get(ctx, name, offset, length)
	return data, explain("get", name, err)
}

func (b *Bucket) get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	f, a, err := b.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if length, err = objstore.Within(a.Size, offset, length); err != nil {
		return nil, err
	}
	data := make([]byte, length)
	for done := int64(0); done < length; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := f.ReadAt(data[done:min(done+copyBytes, length)], offset+done)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // somebody cut the file
		}
		if done += int64(n); err != nil && done < length {
			return nil, err
		}
	}
	return data, nil
}

// Open implements objstore.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	f, _, err := b.open(ctx, name)
	if err != nil {
		return nil, explain("open", name, err)
	}
	return &reader{ctx: ctx, f: f, name: name}, nil
}

// reader ends with its context, and gives its errors the meaning of ours.
type reader struct {
	ctx  context.Context
	f    *os.File
	name string
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, explain("read", r.name, err)
	}
	n, err := r.f.Read(p)
	if err == io.EOF {
		return n, err
	}
	return n, explain("read", r.name, err)
}

func (r *reader) Close() error { return r.f.Close() }

// Head implements objstore.Bucket.
func (b *Bucket) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	if err := check(ctx, name); err != nil {
		return objstore.Attributes{}, explain("head", name, err)
	}
	a, err := b.stat(name)
	return a, explain("head", name, err)
}

// Delete implements objstore.Bucket. The object stays deleted after a crash.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	return explain("delete", name, b.delete(ctx, name))
}

func (b *Bucket) delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	switch _, err := b.stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if err := b.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.syncDir(path.Dir(name))
}

// open opens an object for reading. The attributes are those of the very file,
// whatever is put under its name meanwhile.
func (b *Bucket) open(ctx context.Context, name string) (*os.File, objstore.Attributes, error) {
	if err := check(ctx, name); err != nil {
		return nil, objstore.Attributes{}, err
	}
	f, err := b.root.Open(name)
	if err != nil {
		return nil, objstore.Attributes{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, objstore.Attributes{}, err
	}
	return f, attributes(name, info), nil
}

// stat looks an object up; directories and other things are fs.ErrNotExist.
func (b *Bucket) stat(name string) (objstore.Attributes, error) {
	info, err := b.root.Stat(name)
	if err != nil {
		return objstore.Attributes{}, err
	}
	if !info.Mode().IsRegular() {
		return objstore.Attributes{}, fs.ErrNotExist
	}
	return attributes(name, info), nil
}

// attributes derives the ETag from what the file system keeps over restarts:
// the time of the put, which write sets to the nanosecond, the size and the
// inode. A put always makes a new inode, so a replaced object differs from the
// one that it replaced even where the file system's clock is coarse.
func attributes(name string, info fs.FileInfo) objstore.Attributes {
	var inode uint64
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = s.Ino
	}
	return objstore.Attributes{
		Name:     name,
		Size:     info.Size(),
		ETag:     fmt.Sprintf("%x-%x-%x", info.ModTime().UnixNano(), info.Size(), inode),
		Modified: info.ModTime(),
	}
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := objstore.ValidateName(name); err != nil {
		return err
	}
	if strings.HasPrefix(name+"/", private+"/") {
		return fmt.Errorf("%w: %q is the bucket's own", objstore.ErrName, private)
	}
	return nil
}

// explain gives an error its operation and name, and errors of the operating
// system the meaning that callers test for.
func explain(op, name string, err error) error {
	if err == nil {
		return nil
	}
	switch kind := meaning(err); kind {
	case nil:
		return fmt.Errorf("%s %s: %w", op, name, err)
	case objstore.ErrNotFound: // the path of a file adds nothing to its name
		return fmt.Errorf("%s %s: %w", op, name, kind)
	default:
		return fmt.Errorf("%s %s: %w: %w", op, name, kind, err)
	}
}

// meaning is the sentinel for an error of the operating system; nil for errors
// that are ours already and for those that no retry can heal.
func meaning(err error) error {
	var errno unix.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return objstore.ErrNotFound
	case errors.Is(err, fs.ErrPermission), !errors.As(err, &errno):
		return nil
	}
	switch errno {
	case unix.ENOTDIR: // "a/b" where "a" is an object
		return objstore.ErrNotFound
	case unix.EISDIR, unix.ENAMETOOLONG, unix.ELOOP, unix.EROFS:
		return nil
	default:
		return objstore.ErrUnavailable
	}
}

package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/chronik-stream/chronik/objstore"
)

// Put implements objstore.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	a, err := b.put(ctx, name, body, cond)
	return a, explain("put", name, err)
}

func (b *Bucket) put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	if err := check(ctx, name); err != nil {
		return objstore.Attributes{}, err
	}
	tempName := tempDir + "/" + ulid.Make().String()
	temp, err := b.root.OpenFile(tempName, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return objstore.Attributes{}, temporary(err)
	}
	// The lock, held until the file is closed, tells sweeps that its writer lives.
	err = unix.Flock(int(temp.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = write(ctx, temp, body)
	}
	if err == nil {
		// The time is part of the ETag; the kernel's own is too coarse for it.
		now := time.Now()
		err = errors.Join(b.root.Chtimes(tempName, now, now), temp.Sync())
	}
	var a objstore.Attributes
	if err == nil {
		a, err = b.place(tempName, name, cond)
	}
	// After a rename there is nothing to remove. After a link, or a failure, the
	// temporary name is litter: the object's fate does not depend on it, and
	// what stays is swept by the next Open.
	_ = b.root.Remove(tempName)
	return a, errors.Join(err, temp.Close())
}

// write fills a temporary file.
func write(ctx context.Context, f *os.File, body objstore.Body) error {
	r := body.Open()
	buffer := make([]byte, min(copyBytes, body.Size))
	for done := int64(0); done < body.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := buffer[:min(copyBytes, body.Size-done)]
		n, err := io.ReadFull(r, piece)
		if err != nil {
			return fmt.Errorf("body after %d bytes of %d: %w", done+int64(n), body.Size, err)
		}
		if _, err := f.Write(piece); err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}

// place gives the finished temporary file its name, under the condition, and
// makes that durable.
func (b *Bucket) place(temp, name string, cond objstore.Condition) (objstore.Attributes, error) {
	directory := path.Dir(name)
	if err := b.makeDir(directory); err != nil {
		return objstore.Attributes{}, err
	}
	// Of the file itself, before it can be replaced under its name by others.
	info, err := b.root.Stat(temp)
	if err != nil {
		return objstore.Attributes{}, temporary(err)
	}
	if cond.IfAbsent {
		err = b.link(temp, name)
	} else {
		err = b.rename(temp, name, cond)
	}
	if err != nil && !errors.Is(err, objstore.ErrExists) {
		return objstore.Attributes{}, err
	}
	// Also for an object that exists: it may be this put's own, of an attempt
	// that failed right here, and whoever is told of it may build on it.
	if syncErr := b.syncDir(directory); syncErr != nil {
		return objstore.Attributes{}, syncErr
	}
	if err != nil {
		return objstore.Attributes{}, err
	}
	return attributes(name, info), nil
}

// link needs no lock: the kernel lets one of all rivals win, in any process.
func (b *Bucket) link(temp, name string) error {
	err := b.root.Link(temp, name)
	if !errors.Is(err, fs.ErrExist) {
		return temporary(err)
	}
	if _, err := b.stat(name); errors.Is(err, fs.ErrNotExist) {
		if info, err := b.root.Lstat(name); err == nil && info.IsDir() {
			return fmt.Errorf("%w: other objects lie below that name", objstore.ErrName)
		}
	}
	return objstore.ErrExists
}

func (b *Bucket) rename(temp, name string, cond objstore.Condition) error {
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if cond.IfMatch != "" {
		switch a, err := b.stat(name); {
		case errors.Is(err, fs.ErrNotExist):
			return objstore.ErrChanged
		case err != nil:
			return err
		case a.ETag != cond.IfMatch:
			return objstore.ErrChanged
		}
	}
	return temporary(b.root.Rename(temp, name))
}

// lock makes look-and-replace one step among all processes of this bucket. It
// is held for the time of two file system calls; the kernel frees it when its
// holder dies.
func (b *Bucket) lock() (unlock func(), err error) {
	f, err := b.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, temporary(err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lockFile, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks; nothing was written
}

// makeDir makes a directory with its parents and makes them durable. It looks
// once per directory and life: one that exists may come from a process that
// crashed before its sync, or from a put that is just making it.
func (b *Bucket) makeDir(directory string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.makeDirLocked(directory)
}

func (b *Bucket) makeDirLocked(directory string) error {
	if directory == "." || b.durable[directory] {
		return nil
	}
	parent := path.Dir(directory)
	if err := b.makeDirLocked(parent); err != nil {
		return err
	}
	if err := b.root.Mkdir(directory, 0o755); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return temporary(err)
		}
		if info, err := b.root.Stat(directory); err == nil && !info.IsDir() {
			return fmt.Errorf("%w: %q is an object", objstore.ErrName, directory)
		}
	}
	if err := b.syncDir(parent); err != nil {
		return err
	}
	b.durable[directory] = true
	return nil
}

func (b *Bucket) syncDir(directory string) error {
	d, err := b.root.Open(directory)
	if err != nil {
		return temporary(err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// temporary keeps a missing directory or temporary file, which only somebody
// else's hand explains, from reading as a missing object.
func temporary(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %v", objstore.ErrUnavailable, err)
	}
	return err
}

// sweep removes the temporary files whose writers are gone.
func (b *Bucket) sweep() error {
	entries, err := fs.ReadDir(b.root.FS(), tempDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := b.sweepOne(tempDir + "/" + e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep %s: %w", e.Name(), err)
		}
	}
	return nil
}

func (b *Bucket) sweepOne(name string) error {
	f, err := b.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // being written
	}
	// A writer between its create and its lock loses the file here. Its link
	// or rename then fails, before anything was promised.
	return errors.Join(err, b.root.Remove(name))
}

package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/oklog/ulid/v2"
)

// lockDir makes dir and takes it for this process alone, until release. The
// lock is the kernel's: it goes with the process, however that ends.
func lockDir(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	name := filepath.Join(dir, "lock")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, readErr := io.ReadAll(io.LimitReader(file, 32))
		err = errors.Join(err, readErr, file.Close())
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the data folder %s is in use by process %s; --data names another", dir, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	// Whom to blame; the lock itself does not need it.
	err = file.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(file, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), file.Close())
	}
	return file.Close, nil
}

// identity is the name that a data folder has got when it was first used. Two
// processes that were given one broker id by mistake have different ones, and a
// restarted process has its own again.
func identity(dir string) (string, error) {
	name := filepath.Join(dir, "identity")
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(name)
	}
	if err != nil {
		return "", fmt.Errorf("read the identity of the data folder: %w", err)
	}
	id, err := ulid.ParseStrict(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("the identity of the data folder, in %s: %w", name, err)
	}
	return id.String(), nil
}

// newIdentity writes a new one. A crash leaves the old state or the new one.
func newIdentity(name string) (string, error) {
	id := ulid.Make().String()
	file, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return "", fmt.Errorf("give the data folder an identity: %w", err)
	}
	_, err = fmt.Fprintln(file, id)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return "", fmt.Errorf("give the data folder an identity: %w", err)
	}
	return id, nil
}

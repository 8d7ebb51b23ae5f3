package disk

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Mapping is a file mapped into memory, to be read.
type Mapping struct {
	data   []byte
	unmap  sync.Once
	failed error
}

// Map maps a file whose content nobody changes: not its bytes, not its length.
// It may be removed or renamed meanwhile.
func Map(name string) (*Mapping, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m := &Mapping{}
	if info.Size() == 0 {
		return m, nil // the system refuses to map nothing
	}
	m.data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	return m, nil
}

// Bytes are the file's. They are not to be touched after Close.
func (m *Mapping) Bytes() []byte { return m.data }

// Close ends the mapping. It may be called twice.
func (m *Mapping) Close() error {
	m.unmap.Do(func() {
		if m.data != nil {
			m.failed = unix.Munmap(m.data)
			m.data = nil
		}
	})
	return m.failed
}

package wal

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/chronik-stream/chronik/internal/disk"
)

// closing is a file that is closed while it is read.
type closing struct {
	disk.File
	released func()
}

func (c closing) ReadAt([]byte, int64) (int, error) {
	c.released()
	return 0, fs.ErrClosed
}

// What is read while its last frame is released is committed: readers look for it there.
func TestAFileThatIsClosedWhileItIsReadIsGone(t *testing.T) {
	for released, want := range map[bool]error{true: ErrGone, false: fs.ErrClosed} {
		var all files
		all.inUse = map[uint64]*file{7: {File: closing{released: func() {
			if released {
				delete(all.inUse, 7)
			}
		}}}}
		var f Frame
		f.Position.Generation = 7
		if _, err := all.read(&f); !errors.Is(err, want) {
			t.Errorf("released %t: %v, want %v", released, err, want)
		}
	}
}

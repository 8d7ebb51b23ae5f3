package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// dumpSplit shows a split's fields; with verify it reads all of it.
func dumpSplit(out io.Writer, s source, o *dumpOptions) error {
	return textindex.Dump(context.Background(), out, s.name, blob{s}, o.verify)
}

// blob is a source as the readers of splits and shards want it.
type blob struct{ source }

// Size is the length of the whole.
func (b blob) Size() int64 { return b.size }

// Read returns bytes that lie within it.
func (b blob) Read(_ context.Context, offset, length int64) ([]byte, error) {
	data := make([]byte, length)
	if n, err := b.at.ReadAt(data, offset); int64(n) < length {
		return nil, fmt.Errorf("read %s at byte %d: %w", b.name, offset, err)
	}
	return data, nil
}

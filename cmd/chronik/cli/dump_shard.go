package cli

import (
	"context"
	"io"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// dumpShard shows a shard's parts and its measured recall; with verify it reads all
// of it.
func dumpShard(out io.Writer, s source, o *dumpOptions) error {
	return vectorindex.Dump(context.Background(), out, s.name, blob{s}, o.verify)
}

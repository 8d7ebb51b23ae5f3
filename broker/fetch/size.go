package fetch

import (
	"context"
	"fmt"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/topic"
)

// Size implements api.Reader. Objects count whole also where the log start cuts
// into them: that is what they take.
func (r *Reader) Size(ctx context.Context, id topic.Partition) (int64, error) {
	_, p, err := r.partition(id)
	if err != nil {
		return 0, err
	}
	bytes := p.UncommittedBytes()
	view := r.catalog.Partition(id)
	for _, rg := range view.Ranges {
		if rg.Next > view.Manifest.Marks.Log {
			bytes += rg.Length
		}
	}
	if view.Manifest.Object == "" {
		return bytes, nil
	}
	section, _, err := r.committed.Manifest(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", core.ErrStorage, err)
	}
	for _, f := range section.Log {
		bytes += f.Size
	}
	return bytes, nil
}

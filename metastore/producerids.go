package metastore

import (
	"context"
	"fmt"
	"math"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// ProducerIDBlock is how many producer ids one allocation gives.
const ProducerIDBlock = 1000

// producerIDs is the value of producer-ids.
type producerIDs struct {
	Next int64 `json:"next"`
}

// AllocateProducerIDs returns a block of producer ids, [first, first+count),
// that nobody else gets. A block whose answer was lost is never given at all.
func (s *Store) AllocateProducerIDs(ctx context.Context) (first, count int64, err error) {
	const what = "allocate producer ids"
	_, err = s.change(ctx, what, s.keys.producerIDs(), nil, nil, func(old kv.Entry) ([]byte, error) {
		var ids producerIDs
		if old.ModRevision != 0 {
			if err := decode(old, &ids); err != nil {
				return nil, fmt.Errorf("read %s: %w", old.Key, err)
			}
		}
		if ids.Next < 0 || ids.Next > math.MaxInt64-ProducerIDBlock {
			return nil, fmt.Errorf("%w: next producer id is %d", ErrInvalid, ids.Next)
		}
		first = ids.Next
		return encode(producerIDs{Next: first + ProducerIDBlock}), nil
	})
	if err != nil {
		return 0, 0, err
	}
	return first, ProducerIDBlock, nil
}

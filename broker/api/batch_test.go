package api_test

import (
	"github.com/chronik-stream/chronik/internal/batch"
)

// oneBatch is a batch of one record per value.
func oneBatch(values ...string) []byte { return builtBatch(nil, values...) }

// idempotentBatch is the batch of a producer that begins at sequence.
func idempotentBatch(id int64, epoch int16, sequence int32, values ...string) []byte {
	return builtBatch(&batch.Producer{ID: id, Epoch: epoch, Sequence: sequence}, values...)
}

func builtBatch(producer *batch.Producer, values ...string) []byte {
	var b batch.Builder
	b.Reset(batch.Options{Producer: producer})
	for _, v := range values {
		b.Append(1_700_000_000_000, nil, []byte(v))
	}
	raw, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return raw
}

package api

import (
	"context"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// InitProducerId
//
//   - 2 flexible; 3 a producer may raise its own epoch (KIP-360); 4 and 5 for
//     transactions.
//
// Serves idempotent producers. A transactional id is refused: there is no
// transaction coordinator.
func initProducerIDRoute() *route {
	return &route{key: 22, name: "InitProducerId", min: 0, max: 5, start: whole(initProducerID),
		note: "idempotent producers; a transactional id is refused"}
}

func initProducerID(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	id, epoch, err := h.producerID(ctx, req)
	if err != nil {
		resp.ErrorCode = h.code(err)
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, epoch
	return resp
}

func (h *Handler) producerID(ctx context.Context, req *kmsg.InitProducerIDRequest) (int64, int16, error) {
	if req.TransactionalID != nil {
		return 0, 0, errTransactional
	}
	if (req.ProducerID < 0) != (req.ProducerEpoch < 0) {
		return 0, 0, fmt.Errorf("%w: a producer id and an epoch belong together", errRequest)
	}
	// The epoch of an idempotent producer is its own affair: partitions learn of
	// it with its next batch. An exhausted one starts anew under a new id.
	if req.ProducerID >= 0 && req.ProducerEpoch < math.MaxInt16-1 {
		return req.ProducerID, req.ProducerEpoch + 1, nil
	}
	id, err := h.ProducerIDs.NextProducerID(ctx)
	return id, 0, err
}

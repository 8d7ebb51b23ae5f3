package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// DeleteRecords
//
//   - 0 first; 1 the same; 2 flexible.
//
// It raises the log start: to the offset asked for, or with −1 to the high
// watermark. What lies below is refused from then on, also after a restart, and
// its bytes go when compaction comes by. An offset above the high watermark is
// OFFSET_OUT_OF_RANGE, a topic that is only compacted POLICY_VIOLATION.
func deleteRecordsRoute() *route {
	return &route{key: 21, name: "DeleteRecords", min: 0, max: 2, start: whole(deleteRecords)}
}

// deleteRecordsAtOnce is how many partitions of a request are worked on at once:
// each is a write to the metadata store.
const deleteRecordsAtOnce = 16

func deleteRecords(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
	defer cancel()
	resp := kmsg.NewPtrDeleteRecordsResponse()
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	var deletions errgroup.Group
	deletions.SetLimit(deleteRecordsAtOnce)
	for i := range req.Topics {
		asked := &req.Topics[i]
		t, unknown := h.lookup(asked.Topic)
		parts := make([]kmsg.DeleteRecordsResponseTopicPartition, len(asked.Partitions))
		resp.Topics[i].Topic, resp.Topics[i].Partitions = asked.Topic, parts
		for j := range parts {
			part := &parts[j]
			part.Partition, part.LowWatermark = asked.Partitions[j].Partition, -1
			if unknown != nil {
				part.ErrorCode = h.code(unknown)
				continue
			}
			deletions.Go(func() error {
				low, err := h.deleteRecords(ctx, t, part.Partition, asked.Partitions[j].Offset)
				if err != nil {
					h.refused("DeleteRecords", err)
					low = -1
				}
				part.LowWatermark, part.ErrorCode = low, h.code(err)
				return nil
			})
		}
	}
	_ = deletions.Wait() // each partition has its own error
	return resp
}

func (h *Handler) deleteRecords(ctx context.Context, t *metastore.Topic, index int32, before int64) (int64, error) {
	p, err := partition(t, index)
	if err != nil {
		return -1, err
	}
	if !topicconfig.Resolve(t.Config, h.defaults().topic).CleanupDelete {
		return -1, kerr.PolicyViolation
	}
	return h.Log.DeleteRecords(ctx, p, before)
}

package api

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// ListOffsets
//
//   - 1 one offset per partition; 2 isolation level; 4 leader epochs; 6 flexible;
//     7 the largest timestamp; 8 and 9 tiered storage; 10 timeout.
//
// Times are answered with the exact record, found inside its batch; no such
// record is −1 without an error. There is no local tier: its earliest offset is
// the log start, and none is the latest tiered one.
func listOffsetsRoute() *route {
	return &route{key: 2, name: "ListOffsets", min: 1, max: 10, start: whole(listOffsets)}
}

// The special timestamps.
const (
	timeLatest        = -1
	timeEarliest      = -2
	timeMax           = -3
	timeEarliestLocal = -4
	timeLatestTiered  = -5
)

// timeSince is the version from which a special timestamp may be asked for.
func timeSince(timestamp int64) int16 {
	switch timestamp {
	case timeLatest, timeEarliest:
		return 1
	case timeMax:
		return 7
	case timeEarliestLocal:
		return 8
	case timeLatestTiered:
		return 9
	}
	return math.MaxInt16
}

// listOffsetsAtOnce is how many partitions of a request are looked up at once:
// a search by time may have to read objects.
const listOffsetsAtOnce = 8

// listOffsetsWait is how long a search may take when the client does not say.
const listOffsetsWait = 30 * time.Second

func listOffsets(_ context.Context, h *Handler, r *wire.Request, req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	wait := listOffsetsWait // also for older versions, which do not say
	if r.Version >= 10 && req.TimeoutMillis > 0 {
		wait = time.Duration(req.TimeoutMillis) * time.Millisecond
	}
	patience, cancel := context.WithTimeout(r.Conn.Patience(), wait)
	defer cancel()
	var lookups errgroup.Group
	lookups.SetLimit(listOffsetsAtOnce)
	for i := range req.Topics {
		asked := &req.Topics[i]
		t, unknown := h.lookup(asked.Topic)
		parts := make([]kmsg.ListOffsetsResponseTopicPartition, len(asked.Partitions))
		resp.Topics[i].Topic = asked.Topic
		resp.Topics[i].Partitions = parts
		for j := range parts {
			part := &parts[j]
			part.Default()
			part.Partition = asked.Partitions[j].Partition
			if unknown != nil {
				part.ErrorCode = h.code(unknown)
				continue
			}
			lookups.Go(func() error {
				found, err := h.listOffset(patience, r.Version, t, &asked.Partitions[j], req.IsolationLevel == 1)
				part.Offset, part.Timestamp, part.LeaderEpoch = found.Offset, found.Timestamp, int32(found.Epoch)
				part.ErrorCode = h.code(err)
				return nil
			})
		}
	}
	_ = lookups.Wait() // each partition has its own error
	return resp
}

func (h *Handler) listOffset(ctx context.Context, version int16, t *metastore.Topic, asked *kmsg.ListOffsetsRequestTopicPartition, committed bool) (core.RecordTime, error) {
	none := core.RecordTime{Offset: -1, Timestamp: -1, Epoch: -1}
	p, err := partition(t, asked.Partition)
	if err != nil {
		return none, err
	}
	if asked.Timestamp < 0 && version < timeSince(asked.Timestamp) {
		return none, kerr.UnsupportedVersion
	}
	bounds, epoch, err := h.Reader.Bounds(ctx, p, metastore.Epoch(asked.CurrentLeaderEpoch))
	if err != nil {
		return none, err
	}
	var found core.RecordTime
	var ok bool
	switch asked.Timestamp {
	case timeLatest:
		if committed {
			return core.RecordTime{Offset: bounds.LastStable, Timestamp: -1, Epoch: epoch}, nil
		}
		return core.RecordTime{Offset: bounds.HighWatermark, Timestamp: -1, Epoch: epoch}, nil
	case timeEarliest, timeEarliestLocal:
		return core.RecordTime{Offset: bounds.LogStart, Timestamp: -1, Epoch: h.Reader.EpochAt(p, bounds.LogStart)}, nil
	case timeLatestTiered:
		return none, nil
	case timeMax:
		found, ok, err = h.Reader.MaxTimestamp(ctx, p)
	default:
		found, ok, err = h.Reader.OffsetForTime(ctx, p, asked.Timestamp, committed)
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return none, core.ErrTimeout
	case err != nil:
		return none, err
	case !ok:
		return none, nil
	}
	return found, nil
}

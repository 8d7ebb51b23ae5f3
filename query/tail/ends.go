package tail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/topic"
)

// listPause is between two questions while a partition has no leader.
const listPause = 50 * time.Millisecond

// What a question for offsets names in place of a time.
const (
	newest = -1
	oldest = -2
)

// Ends returns, for each of a topic's partitions, the offset below which every
// acknowledged record can be read: the last stable offset. It asks the brokers
// again and again until it has them all or ctx ends, and then returns what it
// has with a *LaggingError that names the rest. ErrGone when the topic is.
func (t *Tails) Ends(ctx context.Context, name string, id topic.ID, partitions int32) (map[int32]End, error) {
	return t.list(ctx, name, id, partitions, newest)
}

// Starts is Ends for where the logs begin: below it everything is deleted. It is a
// question of its own, since a request may name a partition once; whoever needs
// both asks them at once.
func (t *Tails) Starts(ctx context.Context, name string, id topic.ID, partitions int32) (map[int32]int64, error) {
	listed, err := t.list(ctx, name, id, partitions, oldest)
	starts := make(map[int32]int64, len(listed))
	for p, start := range listed {
		starts[p] = start.Offset
	}
	return starts, err
}

func (t *Tails) list(ctx context.Context, name string, id topic.ID, partitions int32, when int64) (map[int32]End, error) {
	client, err := t.adminClient()
	if err != nil {
		return nil, err
	}
	offsets := make(map[int32]End, partitions)
	for {
		err := listOnce(ctx, client, name, partitions, when, offsets)
		switch {
		case t.gone(name, id):
			return nil, ErrGone
		case len(offsets) == int(partitions):
			return offsets, nil
		}
		t.reseed(client)
		select {
		case <-ctx.Done():
			return offsets, missing(name, partitions, offsets, errors.Join(ctx.Err(), err))
		case <-time.After(listPause):
		}
	}
}

// isolationCommitted is what a read_committed consumer asks with.
const isolationCommitted = 1

// listOnce asks for what is not in offsets yet, and puts in what it gets.
func listOnce(ctx context.Context, client *kgo.Client, name string, partitions int32, when int64, offsets map[int32]End) error {
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = name
	for p := range partitions {
		if _, known := offsets[p]; known {
			continue
		}
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp = p, when
		asked.Partitions = append(asked.Partitions, partition)
	}
	request := kmsg.NewPtrListOffsetsRequest()
	request.IsolationLevel = isolationCommitted
	request.Topics = append(request.Topics, asked)
	var failed error
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			failed = errors.Join(failed, shard.Err)
			continue
		}
		for _, topic := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = errors.Join(failed, fmt.Errorf("partition %d: %w", p.Partition, err))
				} else if topic.Topic == name && p.Offset >= 0 {
					offsets[p.Partition] = End{p.Offset, p.LeaderEpoch}
				}
			}
		}
	}
	return failed
}

func missing(name string, partitions int32, known map[int32]End, cause error) error {
	e := &LaggingError{Topic: name, Cause: cause}
	for p := range partitions {
		if _, ok := known[p]; !ok {
			e.Partitions = append(e.Partitions, Lag{Partition: p, Next: -1, Target: -1})
		}
	}
	return e
}

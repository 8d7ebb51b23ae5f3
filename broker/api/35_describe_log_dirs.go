package api

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// DescribeLogDirs
//
//   - 1 first; 2 flexible; 3 an error of the whole; 4 room on the disk.
//
// There is one directory, that of the write-ahead log, with the partitions that
// this broker owns. A partition's size is that of its batches, in the bucket and
// in the write-ahead log; the directory's are those of its disk, which holds
// only the latter.
func describeLogDirsRoute() *route {
	return &route{key: 35, name: "DescribeLogDirs", min: 1, max: 4, start: whole(describeLogDirs)}
}

// logDirSizesAtOnce is how many partitions are measured at once: it may take
// reading their manifests.
const logDirSizesAtOnce = 16

func describeLogDirs(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	place, err := h.Log.LogDir()
	if err == nil {
		done, ok := h.ample(ctx, r, ampleItems)
		if !ok {
			return nil
		}
		defer done()
		dir.Topics, err = h.logDirTopics(ctx, req)
	}
	if err != nil {
		h.refused("DescribeLogDirs", err)
		dir.ErrorCode, dir.Topics = h.code(core.ErrStorage), nil
	}
	if dir.Topics == nil {
		dir.Topics = []kmsg.DescribeLogDirsResponseDirTopic{}
	}
	dir.Dir, dir.TotalBytes, dir.UsableBytes = place.Path, place.Total, place.Usable
	resp.Dirs = []kmsg.DescribeLogDirsResponseDir{dir}
	return resp
}

// logDirTopics measures the partitions that were asked for, all when none were
// named, as far as this broker owns them.
func (h *Handler) logDirTopics(ctx context.Context, req *kmsg.DescribeLogDirsRequest) ([]kmsg.DescribeLogDirsResponseDirTopic, error) {
	var topics []kmsg.DescribeLogDirsResponseDirTopic
	add := func(t *metastore.Topic, indexes []int32) {
		out := kmsg.DescribeLogDirsResponseDirTopic{Topic: t.Name}
		for _, i := range indexes {
			if p, err := partition(t, i); err == nil && h.Cluster.Leader(p).Broker == h.Cluster.Self() {
				out.Partitions = append(out.Partitions, kmsg.DescribeLogDirsResponseDirTopicPartition{Partition: i})
			}
		}
		if len(out.Partitions) > 0 {
			topics = append(topics, out)
		}
	}
	if req.Topics == nil {
		for _, t := range h.Topics.All() {
			all := make([]int32, t.Partitions)
			for i := range all {
				all[i] = int32(i)
			}
			add(t, all)
		}
	}
	for _, asked := range req.Topics {
		if t, err := h.lookup(asked.Topic); err == nil {
			add(t, asked.Partitions)
		}
	}
	var sizes errgroup.Group
	sizes.SetLimit(logDirSizesAtOnce)
	for i := range topics {
		t, ok := h.Topics.Topic(topics[i].Topic)
		if !ok {
			continue
		}
		for j := range topics[i].Partitions {
			part := &topics[i].Partitions[j]
			sizes.Go(func() (err error) {
				part.Size, err = h.Reader.Size(ctx, topic.Partition{Topic: t.ID, Index: part.Partition})
				if errors.Is(err, core.ErrNotOwner) || errors.Is(err, metastore.ErrTopicUnknown) {
					part.Size, err = -1, nil // gone while we looked
				}
				return err
			})
		}
	}
	err := sizes.Wait()
	for i := range topics {
		topics[i].Partitions = slices.DeleteFunc(topics[i].Partitions, func(p kmsg.DescribeLogDirsResponseDirTopicPartition) bool { return p.Size < 0 })
	}
	return topics, err
}

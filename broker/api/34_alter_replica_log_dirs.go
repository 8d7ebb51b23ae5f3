package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// AlterReplicaLogDirs
//
//   - 2 flexible.
//
// Partitions do not lie in directories that they could be moved between: a
// broker has one log for all of them, and the bucket has the rest. To where a
// partition is anyway, the directory that DescribeLogDirs shows, it is moved at
// once; any other is answered LOG_DIR_NOT_FOUND.
func alterReplicaLogDirsRoute() *route {
	return &route{key: 34, name: "AlterReplicaLogDirs", min: 1, max: 2, start: whole(alterReplicaLogDirs),
		note: "there is one directory: any other is answered LOG_DIR_NOT_FOUND"}
}

var errLogDir = errors.New("a broker has one log for all its partitions, there is no other directory")

func alterReplicaLogDirs(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	resp.Topics = []kmsg.AlterReplicaLogDirsResponseTopic{}
	ours, unreadable := h.Log.LogDir()
	for _, dir := range req.Dirs {
		for _, asked := range dir.Topics {
			topic := kmsg.AlterReplicaLogDirsResponseTopic{
				Topic: asked.Topic, Partitions: make([]kmsg.AlterReplicaLogDirsResponseTopicPartition, len(asked.Partitions)),
			}
			t, unknown := h.lookup(asked.Topic)
			for i, index := range asked.Partitions {
				err := unknown
				if err == nil {
					_, err = partition(t, index)
				}
				if err == nil && (unreadable != nil || dir.Dir != ours.Path) {
					err = errLogDir
				}
				topic.Partitions[i] = kmsg.AlterReplicaLogDirsResponseTopicPartition{Partition: index, ErrorCode: h.code(err)}
			}
			resp.Topics = append(resp.Topics, topic)
		}
	}
	return resp
}

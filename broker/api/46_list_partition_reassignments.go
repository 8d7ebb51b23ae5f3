package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// ListPartitionReassignments
//
//   - 0 flexible from the start.
//
// There are none, ever: AlterPartitionReassignments says why.
func listPartitionReassignmentsRoute() *route {
	return &route{key: 46, name: "ListPartitionReassignments", min: 0, max: 0, start: whole(listPartitionReassignments)}
}

func listPartitionReassignments(context.Context, *Handler, *wire.Request, *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	resp.Topics = []kmsg.ListPartitionReassignmentsResponseTopic{}
	return resp
}

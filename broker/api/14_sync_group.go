package api

import (
	"bytes"
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
)

// SyncGroup
//
//   - 3 static members; 4 flexible; 5 protocol type and name, checked when said.
func syncGroupRoute() *route {
	return &route{key: 14, name: "SyncGroup", min: 0, max: 5, start: whole(syncGroup)}
}

func syncGroup(_ context.Context, h *Handler, r *wire.Request, req *kmsg.SyncGroupRequest) kmsg.Response {
	sync := group.SyncRequest{
		MemberID: req.MemberID, InstanceID: text(req.InstanceID), Generation: req.Generation,
		ProtocolType: text(req.ProtocolType), Protocol: text(req.Protocol),
		Assignments: make(map[string][]byte, len(req.GroupAssignment)),
	}
	for _, a := range req.GroupAssignment {
		sync.Assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
	}
	r.Release() // the wait may be long
	synced, err := h.Groups.Sync(r.Conn.Patience(), req.Group, sync)

	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = h.code(err)
	resp.MemberAssignment = []byte{}
	if err == nil {
		resp.ProtocolType, resp.Protocol = &synced.ProtocolType, &synced.Protocol
		resp.MemberAssignment = synced.Assignment
	}
	return resp
}

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
)

// LeaveGroup
//
//   - 3 several members at once, static ones by their instance id; 4 flexible;
//     5 reason.
func leaveGroupRoute() *route {
	return &route{key: 13, name: "LeaveGroup", min: 0, max: 5, start: whole(leaveGroup)}
}

func leaveGroup(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.LeaveGroupRequest) kmsg.Response {
	resp := kmsg.NewPtrLeaveGroupResponse()
	if req.Version < 3 {
		resp.ErrorCode = h.code(h.Groups.Leave(ctx, req.Group, req.MemberID, "", ""))
		return resp
	}
	err := h.Groups.Check(req.Group)
	if req.Group == "" {
		err = group.ErrInvalidGroupID
	}
	if err != nil {
		resp.ErrorCode, resp.Members = h.code(err), []kmsg.LeaveGroupResponseMember{}
		return resp
	}
	resp.Members = make([]kmsg.LeaveGroupResponseMember, len(req.Members))
	for i, m := range req.Members {
		err := h.Groups.Leave(ctx, req.Group, m.MemberID, text(m.InstanceID), text(m.Reason))
		resp.Members[i] = kmsg.LeaveGroupResponseMember{MemberID: m.MemberID, InstanceID: m.InstanceID, ErrorCode: h.code(err)}
	}
	return resp
}

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// Heartbeat
//
//   - 3 static members; 4 flexible.
func heartbeatRoute() *route {
	return &route{key: 12, name: "Heartbeat", min: 0, max: 4, start: whole(heartbeat)}
}

func heartbeat(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.HeartbeatRequest) kmsg.Response {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.ErrorCode = h.code(h.Groups.Heartbeat(ctx, req.Group, req.MemberID, text(req.InstanceID), req.Generation))
	return resp
}

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DeleteGroups
//
//   - 2 flexible.
//
// Only groups without members; their offsets go with them.
func deleteGroupsRoute() *route {
	return &route{key: 42, name: "DeleteGroups", min: 0, max: 2, start: whole(deleteGroups)}
}

func deleteGroups(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.DeleteGroupsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, alterWithin)
	defer cancel()
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	for i, name := range req.Groups {
		err := h.Groups.Delete(ctx, name)
		resp.Groups[i] = kmsg.DeleteGroupsResponseGroup{Group: name, ErrorCode: h.code(err), ErrorMessage: message(err)}
	}
	return resp
}

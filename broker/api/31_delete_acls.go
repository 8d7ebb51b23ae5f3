package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DeleteAcls
//
//   - 1 pattern types; 2 flexible; 3 user resources.
//
// There is no authorizer: every filter is refused.
func deleteACLsRoute() *route {
	return &route{key: 31, name: "DeleteAcls", min: 1, max: 3, start: whole(deleteACLs), note: noAuthorizer}
}

func deleteACLs(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.DeleteACLsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteACLsResponse()
	resp.Results = make([]kmsg.DeleteACLsResponseResult, len(req.Filters))
	for i := range resp.Results {
		resp.Results[i] = kmsg.DeleteACLsResponseResult{
			ErrorCode: h.code(errNoAuthorizer), ErrorMessage: message(errNoAuthorizer),
			MatchingACLs: []kmsg.DeleteACLsResponseResultMatchingACL{},
		}
	}
	return resp
}

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// CreateAcls
//
//   - 1 pattern types; 2 flexible; 3 user resources.
//
// There is no authorizer: every entry is refused, none is kept.
func createACLsRoute() *route {
	return &route{key: 30, name: "CreateAcls", min: 1, max: 3, start: whole(createACLs), note: noAuthorizer}
}

func createACLs(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.CreateACLsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreateACLsResponse()
	resp.Results = make([]kmsg.CreateACLsResponseResult, len(req.Creations))
	for i := range resp.Results {
		resp.Results[i] = kmsg.CreateACLsResponseResult{ErrorCode: h.code(errNoAuthorizer), ErrorMessage: message(errNoAuthorizer)}
	}
	return resp
}

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeAcls
//
//   - 1 pattern types; 2 flexible; 3 user resources.
//
// There is no authorizer, and the answer says so: an empty list would look like
// one that forbids everything.
func describeACLsRoute() *route {
	return &route{key: 29, name: "DescribeAcls", min: 1, max: 3, start: whole(describeACLs), note: noAuthorizer}
}

// noAuthorizer is the remark on the APIs of access control.
const noAuthorizer = "no authorizer: answered SECURITY_DISABLED"

func describeACLs(_ context.Context, h *Handler, _ *wire.Request, _ *kmsg.DescribeACLsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode, resp.ErrorMessage = h.code(errNoAuthorizer), message(errNoAuthorizer)
	resp.Resources = []kmsg.DescribeACLsResponseResource{}
	return resp
}

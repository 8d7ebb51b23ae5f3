package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeUserScramCredentials
//
//   - 0 flexible from the start.
//
// Nobody authenticates: each user that is asked for is answered
// SECURITY_DISABLED. Asked for all users, the list is empty and without an
// error, since kafka-configs asks that beside the quotas of users, and would
// fail at having shown those.
func describeUserSCRAMCredentialsRoute() *route {
	return &route{key: 50, name: "DescribeUserScramCredentials", min: 0, max: 0, start: whole(describeUserSCRAMCredentials),
		note: "no authentication: users are answered SECURITY_DISABLED, all users are none"}
}

func describeUserSCRAMCredentials(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.DescribeUserSCRAMCredentialsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	resp.Results = make([]kmsg.DescribeUserSCRAMCredentialsResponseResult, len(req.Users))
	for i, u := range req.Users {
		resp.Results[i] = kmsg.DescribeUserSCRAMCredentialsResponseResult{
			User: u.Name, ErrorCode: h.code(errNoAuthentication), ErrorMessage: message(errNoAuthentication),
			CredentialInfos: []kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{},
		}
	}
	return resp
}

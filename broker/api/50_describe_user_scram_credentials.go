package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeUserScramCredentials
//
//   - 0 flexible from the start.
//
// Nobody authenticates and nobody has credentials. That is no error, but what
// Kafka answers of users without any: kafka-configs asks beside the quotas of
// users, and would end in a failure after it has shown those. Setting some is
// what is refused with SECURITY_DISABLED.
func describeUserSCRAMCredentialsRoute() *route {
	return &route{key: 50, name: "DescribeUserScramCredentials", min: 0, max: 0, start: whole(describeUserSCRAMCredentials),
		note: "no authentication: no user has any, RESOURCE_NOT_FOUND"}
}

func describeUserSCRAMCredentials(_ context.Context, _ *Handler, _ *wire.Request, req *kmsg.DescribeUserSCRAMCredentialsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	resp.Results = make([]kmsg.DescribeUserSCRAMCredentialsResponseResult, len(req.Users))
	for i, u := range req.Users {
		resp.Results[i] = kmsg.DescribeUserSCRAMCredentialsResponseResult{
			User: u.Name, ErrorCode: kerr.ResourceNotFound.Code, ErrorMessage: message(errNoAuthentication),
			CredentialInfos: []kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo{},
		}
	}
	return resp
}

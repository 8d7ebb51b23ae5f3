package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// AlterUserScramCredentials
//
//   - 0 flexible from the start.
//
// Nobody authenticates: every user is refused, and no credential is kept.
func alterUserSCRAMCredentialsRoute() *route {
	return &route{key: 51, name: "AlterUserScramCredentials", min: 0, max: 0, start: whole(alterUserSCRAMCredentials),
		note: "no authentication: answered SECURITY_DISABLED"}
}

func alterUserSCRAMCredentials(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.AlterUserSCRAMCredentialsRequest) kmsg.Response {
	var users []string
	for _, d := range req.Deletions {
		users = append(users, d.Name)
	}
	for _, u := range req.Upsertions {
		users = append(users, u.Name)
	}
	slices.Sort(users) // each is answered once
	users = slices.Compact(users)
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	resp.Results = make([]kmsg.AlterUserSCRAMCredentialsResponseResult, len(users))
	for i, user := range users {
		resp.Results[i] = kmsg.AlterUserSCRAMCredentialsResponseResult{
			User: user, ErrorCode: h.code(errNoAuthentication), ErrorMessage: message(errNoAuthentication),
		}
	}
	return resp
}

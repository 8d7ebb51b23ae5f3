package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// CreateDelegationToken
//
//   - 2 flexible; 3 tokens for somebody else (KIP-373).
//
// Nobody authenticates, so nobody can lend out who they are.
func createDelegationTokenRoute() *route {
	return &route{key: 38, name: "CreateDelegationToken", min: 1, max: 3, start: whole(createDelegationToken), note: noTokens}
}

// noTokens is the remark on the APIs of delegation tokens.
const noTokens = "answered DELEGATION_TOKEN_AUTH_DISABLED"

func createDelegationToken(context.Context, *Handler, *wire.Request, *kmsg.CreateDelegationTokenRequest) kmsg.Response {
	resp := kmsg.NewPtrCreateDelegationTokenResponse()
	resp.ErrorCode = kerr.DelegationTokenAuthDisabled.Code
	resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp = -1, -1, -1
	resp.HMAC = []byte{}
	return resp
}

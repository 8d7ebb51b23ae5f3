package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// ExpireDelegationToken
//
//   - 2 flexible.
//
// There are no tokens: see CreateDelegationToken.
func expireDelegationTokenRoute() *route {
	return &route{key: 40, name: "ExpireDelegationToken", min: 1, max: 2, start: whole(expireDelegationToken), note: noTokens}
}

func expireDelegationToken(context.Context, *Handler, *wire.Request, *kmsg.ExpireDelegationTokenRequest) kmsg.Response {
	resp := kmsg.NewPtrExpireDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestamp = kerr.DelegationTokenAuthDisabled.Code, -1
	return resp
}

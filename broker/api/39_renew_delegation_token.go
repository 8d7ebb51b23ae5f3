package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// RenewDelegationToken
//
//   - 2 flexible.
//
// There are no tokens: see CreateDelegationToken.
func renewDelegationTokenRoute() *route {
	return &route{key: 39, name: "RenewDelegationToken", min: 1, max: 2, start: whole(renewDelegationToken), note: noTokens}
}

func renewDelegationToken(context.Context, *Handler, *wire.Request, *kmsg.RenewDelegationTokenRequest) kmsg.Response {
	resp := kmsg.NewPtrRenewDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestamp = kerr.DelegationTokenAuthDisabled.Code, -1
	return resp
}

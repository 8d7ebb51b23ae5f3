package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeDelegationToken
//
//   - 2 flexible; 3 tokens for somebody else (KIP-373).
//
// There are no tokens: see CreateDelegationToken.
func describeDelegationTokenRoute() *route {
	return &route{key: 41, name: "DescribeDelegationToken", min: 1, max: 3, start: whole(describeDelegationToken), note: noTokens}
}

func describeDelegationToken(context.Context, *Handler, *wire.Request, *kmsg.DescribeDelegationTokenRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeDelegationTokenResponse()
	resp.ErrorCode = kerr.DelegationTokenAuthDisabled.Code
	resp.TokenDetails = []kmsg.DescribeDelegationTokenResponseTokenDetail{}
	return resp
}

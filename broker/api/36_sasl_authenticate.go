package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// SaslAuthenticate
//
//   - 1 session lifetime (KIP-368); 2 flexible.
//
// Listeners are plain: see SaslHandshake.
func saslAuthenticateRoute() *route {
	return &route{key: 36, name: "SaslAuthenticate", min: 0, max: 2, start: whole(saslAuthenticate),
		note: "listeners are plain: answered ILLEGAL_SASL_STATE"}
}

var errSASLState = errors.New("this listener is plain: there is nothing to authenticate")

func saslAuthenticate(context.Context, *Handler, *wire.Request, *kmsg.SASLAuthenticateRequest) kmsg.Response {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.ErrorCode, resp.ErrorMessage = kerr.IllegalSaslState.Code, message(errSASLState)
	resp.SASLAuthBytes = []byte{}
	return resp
}

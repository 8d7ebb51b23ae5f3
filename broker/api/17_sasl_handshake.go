package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// SaslHandshake
//
//   - 0 would be followed by bare SASL bytes, 1 by SaslAuthenticate. Version 0 is
//     advertised because old librdkafka looks for it.
//
// Listeners are plain: whoever is connected needs no handshake, and one that is
// asked for is out of place. No mechanism is offered, so a client that was told
// to use SASL stops with an error that says so, and does not try again for ever.
func saslHandshakeRoute() *route {
	return &route{key: 17, name: "SaslHandshake", min: 0, max: 1, start: whole(saslHandshake),
		note: "listeners are plain: answered ILLEGAL_SASL_STATE, no mechanisms"}
}

func saslHandshake(context.Context, *Handler, *wire.Request, *kmsg.SASLHandshakeRequest) kmsg.Response {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.ErrorCode = kerr.IllegalSaslState.Code
	resp.SupportedMechanisms = []string{}
	return resp
}

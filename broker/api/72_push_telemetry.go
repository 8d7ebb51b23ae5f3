package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// PushTelemetry
//
//   - 0 flexible from the start (KIP-714).
//
// Nothing is subscribed to, so a push that carries metrics is refused and not
// dropped in silence; an empty one, with which a client may say that it ends, is
// accepted.
func pushTelemetryRoute() *route {
	return &route{key: 72, name: "PushTelemetry", min: 0, max: 0, start: whole(pushTelemetry),
		note: "metrics are not asked for, and refused"}
}

func pushTelemetry(_ context.Context, _ *Handler, _ *wire.Request, req *kmsg.PushTelemetryRequest) kmsg.Response {
	resp := kmsg.NewPtrPushTelemetryResponse()
	switch {
	case req.ClientInstanceID == [16]byte{}:
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.SubscriptionID != telemetrySubscription:
		resp.ErrorCode = kerr.UnknownSubscriptionID.Code
	case req.CompressionType < 0 || req.CompressionType > 4:
		resp.ErrorCode = kerr.UnsupportedCompressionType.Code
	case len(req.Metrics) > telemetryBytesMax:
		resp.ErrorCode = kerr.TelemetryTooLarge.Code
	case len(req.Metrics) > 0:
		resp.ErrorCode = kerr.InvalidRequest.Code
	}
	return resp
}

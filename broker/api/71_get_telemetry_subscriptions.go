package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
)

// GetTelemetrySubscriptions
//
//   - 0 flexible from the start (KIP-714).
//
// A client gets an instance id, which its own clientInstanceId() shows, and the
// subscription to nothing: it sends no metrics and asks again some minutes later.
func getTelemetrySubscriptionsRoute() *route {
	return &route{key: 71, name: "GetTelemetrySubscriptions", min: 0, max: 0, start: whole(getTelemetrySubscriptions),
		note: "an instance id, and no metrics asked for"}
}

// What clients are told of their telemetry, Kafka's defaults. There is one
// subscription, the empty one.
const (
	telemetrySubscription   = 0
	telemetryIntervalMillis = 300_000
	telemetryBytesMax       = 1 << 20
)

func getTelemetrySubscriptions(_ context.Context, _ *Handler, _ *wire.Request, req *kmsg.GetTelemetrySubscriptionsRequest) kmsg.Response {
	resp := kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	resp.ClientInstanceID = req.ClientInstanceID
	if resp.ClientInstanceID == [16]byte{} {
		resp.ClientInstanceID = topic.NewID()
	}
	resp.SubscriptionID = telemetrySubscription
	resp.AcceptedCompressionTypes = []int8{4, 3, 1, 2} // zstd, lz4, gzip, snappy, Kafka's order
	resp.PushIntervalMillis, resp.TelemetryMaxBytes, resp.DeltaTemporality = telemetryIntervalMillis, telemetryBytesMax, true
	resp.RequestedMetrics = []string{}
	return resp
}

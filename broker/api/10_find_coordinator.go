package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// FindCoordinator
//
//   - 1 kinds of coordinators; 3 flexible; 4 several keys at once; 5 and 6 the
//     same on the wire.
//
// A group's coordinator is the broker that owns its slot, whoever is asked. While
// nobody does there is none: that is a moment, when brokers start or slots move,
// for which the answer waits, since many admin clients report that there is none
// instead of asking again. There are no coordinators of transactions or share
// groups. Who asks for the former is told by the code that ends every client's
// attempt at once.
func findCoordinatorRoute() *route {
	return &route{key: 10, name: "FindCoordinator", min: 0, max: 6, busy: true, start: whole(findCoordinator), note: "of consumer groups"}
}

func findCoordinator(_ context.Context, h *Handler, r *wire.Request, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	keys := req.CoordinatorKeys
	if req.Version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	if req.CoordinatorType == coordinatorGroup {
		h.awaitCoordinators(r.Conn.Patience(), keys)
	}
	resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, len(keys))
	for i, key := range keys {
		found := kmsg.FindCoordinatorResponseCoordinator{Key: key, NodeID: -1, Port: -1}
		b, err := h.coordinator(key, req.CoordinatorType)
		if err == nil {
			if h.shared(r) {
				b = h.one(b)
			}
			address := endpoint(b, r.Conn.Listener())
			found.NodeID, found.Host, found.Port = int32(b.ID), address.Host, address.Port
		}
		found.ErrorCode, found.ErrorMessage = h.code(err), message(err)
		resp.Coordinators[i] = found
	}
	if req.Version < 4 {
		one := resp.Coordinators[0]
		resp.NodeID, resp.Host, resp.Port = one.NodeID, one.Host, one.Port
		resp.ErrorCode, resp.ErrorMessage = one.ErrorCode, one.ErrorMessage
	}
	return resp
}

// Kinds of coordinators.
const (
	coordinatorGroup       = 0
	coordinatorTransaction = 1
)

func (h *Handler) coordinator(key string, kind int8) (metastore.Broker, error) {
	switch kind {
	case coordinatorGroup:
	case coordinatorTransaction:
		return metastore.Broker{}, errTransactional
	default:
		return metastore.Broker{}, fmt.Errorf("%w: there are coordinators of groups only", errRequest)
	}
	b, ok := h.Cluster.Coordinator(key)
	if !ok {
		return b, kerr.CoordinatorNotAvailable
	}
	return b, nil
}

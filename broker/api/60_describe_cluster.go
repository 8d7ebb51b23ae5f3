package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeCluster
//
//   - 1 may ask for controllers; 2 for fenced brokers, of which there are none:
//     a broker whose session is over is not there.
//
// The controller that is named is a listed broker: clients send administration
// to it, and any broker does that.
func describeClusterRoute() *route {
	return &route{key: 60, name: "DescribeCluster", min: 0, max: 2, busy: true, start: whole(describeCluster)}
}

func describeCluster(_ context.Context, h *Handler, r *wire.Request, req *kmsg.DescribeClusterRequest) kmsg.Response {
	brokers := h.brokersFor(r)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.EndpointType = 1
	resp.ClusterID = h.Cluster.ClusterID()
	resp.ControllerID = controller(brokers)
	resp.ClusterAuthorizedOperations = operationsUnasked
	resp.Brokers = []kmsg.DescribeClusterResponseBroker{}
	if err := checkEndpointType(req.EndpointType); err != nil {
		resp.ErrorCode, resp.ErrorMessage = h.code(err), message(err)
		return resp
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = operationsCluster
	}
	for _, b := range brokers {
		address := endpoint(b, r.Conn.Listener())
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{
			NodeID: int32(b.ID), Host: address.Host, Port: address.Port, Rack: rackOf(b),
		})
	}
	return resp
}

// checkEndpointType refuses to answer as what this is not.
func checkEndpointType(kind int8) error {
	const brokers, controllers = 1, 2
	switch kind {
	case brokers:
		return nil
	case controllers:
		return fmt.Errorf("%w: this is a broker, and there are no separate controllers", kerr.MismatchedEndpointType)
	}
	return fmt.Errorf("%w: type %d", kerr.UnsupportedEndpointType, kind)
}

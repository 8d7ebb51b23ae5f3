package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// ElectLeaders
//
//   - 1 the kind of election, and an error for all of it; 2 flexible.
//
// Nobody is elected: a live broker takes what has no owner by itself, and any
// broker can, as the log is in the bucket. So a partition with a leader needs no
// election of either kind, and one without is about to have one.
func electLeadersRoute() *route {
	return &route{key: 43, name: "ElectLeaders", min: 0, max: 2, start: whole(electLeaders)}
}

func electLeaders(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.Topics = []kmsg.ElectLeadersResponseTopic{}
	const preferred, unclean = 0, 1
	missing := kerr.PreferredLeaderNotAvailable
	switch req.ElectionType {
	case preferred:
	case unclean:
		missing = kerr.EligibleLeadersNotAvailable
	default:
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	answer := func(index int32, err error) kmsg.ElectLeadersResponseTopicPartition {
		return kmsg.ElectLeadersResponseTopicPartition{Partition: index, ErrorCode: h.code(err), ErrorMessage: message(err)}
	}
	// All partitions: those that need no election are not told, as in Kafka.
	if req.Topics == nil {
		for _, t := range h.Topics.All() {
			var needy []kmsg.ElectLeadersResponseTopicPartition
			for i := range t.Partitions {
				if err := elect(h.leader(t, i), t.Name, i, missing); err != nil && h.code(err) != kerr.ElectionNotNeeded.Code {
					needy = append(needy, answer(i, err))
				}
			}
			if len(needy) > 0 {
				resp.Topics = append(resp.Topics, kmsg.ElectLeadersResponseTopic{Topic: t.Name, Partitions: needy})
			}
		}
		return resp
	}
	for _, asked := range req.Topics {
		answered := kmsg.ElectLeadersResponseTopic{Topic: asked.Topic, Partitions: []kmsg.ElectLeadersResponseTopicPartition{}}
		t, err := h.lookup(asked.Topic)
		for _, i := range asked.Partitions {
			answered.Partitions = append(answered.Partitions, answer(i, func() error {
				if err != nil {
					return err
				}
				if _, err := partition(t, i); err != nil {
					return err
				}
				return elect(h.leader(t, i), t.Name, i, missing)
			}()))
		}
		resp.Topics = append(resp.Topics, answered)
	}
	return resp
}

// elect says why no election takes place.
func elect(leader core.Leader, name string, index int32, missing *kerr.Error) error {
	if leader.Broker == metastore.NoBroker {
		return fmt.Errorf("%w: %s-%d has no leader at the moment; a live broker takes it without being asked", missing, name, index)
	}
	return fmt.Errorf("%w: broker %d leads %s-%d", kerr.ElectionNotNeeded, leader.Broker, name, index)
}

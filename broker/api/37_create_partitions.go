package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// CreatePartitions
//
//   - 2 flexible; 3 the same on the wire.
//
// Partitions are only ever added. Clients notice when they refresh metadata.
func createPartitionsRoute() *route {
	return &route{key: 37, name: "CreatePartitions", min: 0, max: 3, start: whole(createPartitions)}
}

func createPartitions(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
	defer cancel()
	resp := kmsg.NewPtrCreatePartitionsResponse()
	resp.Topics = make([]kmsg.CreatePartitionsResponseTopic, len(req.Topics))
	for i, asked := range req.Topics {
		twice := slices.ContainsFunc(req.Topics[:i], func(t kmsg.CreatePartitionsRequestTopic) bool { return t.Topic == asked.Topic })
		err := h.growTopic(ctx, asked, req.ValidateOnly, twice)
		resp.Topics[i] = kmsg.CreatePartitionsResponseTopic{Topic: asked.Topic, ErrorCode: h.code(err), ErrorMessage: message(err)}
	}
	return resp
}

func (h *Handler) growTopic(ctx context.Context, asked kmsg.CreatePartitionsRequestTopic, validateOnly, twice bool) error {
	if twice {
		return fmt.Errorf("%w: topic %q is named twice", errRequest, asked.Topic)
	}
	t, err := h.lookup(asked.Topic)
	if err != nil {
		return err
	}
	check := func(t *metastore.Topic) error {
		switch {
		case asked.Count <= t.Partitions:
			return fmt.Errorf("%w: %q has %d partitions already, %d were asked for", errPartitions, t.Name, t.Partitions, asked.Count)
		case asked.Count > h.cfg.PartitionsMax:
			return fmt.Errorf("%w: %d, a topic has at most %d", errPartitions, asked.Count, h.cfg.PartitionsMax)
		case len(asked.Assignment) > 0 && len(asked.Assignment) != int(asked.Count-t.Partitions):
			return fmt.Errorf("%w: %d new partitions, %d assigned", errAssignment, asked.Count-t.Partitions, len(asked.Assignment))
		}
		return nil
	}
	brokers := h.Cluster.Brokers()
	for _, a := range asked.Assignment {
		if err := checkReplicas(a.Replicas, brokers); err != nil {
			return err
		}
	}
	if err := check(t); err != nil || validateOnly {
		return err
	}
	err = h.Topics.UpdateTopic(ctx, t.ID, func(t *metastore.Topic) error {
		if err := check(t); err != nil {
			return err
		}
		t.Partitions = asked.Count
		return nil
	})
	if err != nil {
		return err
	}
	h.log.Info("topic has more partitions", "topic", t.Name, "partitions", asked.Count)
	h.waitLeaders(ctx, t.ID)
	return nil
}

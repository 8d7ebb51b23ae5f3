package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
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

func createPartitions(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
	defer cancel()
	times := make(map[string]int, len(req.Topics))
	for _, asked := range req.Topics {
		times[asked.Topic]++
	}
	resp := kmsg.NewPtrCreatePartitionsResponse()
	resp.Topics = make([]kmsg.CreatePartitionsResponseTopic, 0, len(req.Topics))
	var grown []topic.ID
	changes := h.mutations(r, 3)
	for _, asked := range req.Topics {
		var t *metastore.Topic
		var err error
		switch n := times[asked.Topic]; {
		case n == 0:
			continue // named several times, answered once
		case n > 1:
			err = fmt.Errorf("%w: topic %q is named %d times", errRequest, asked.Topic, n)
		default:
			if t, err = h.lookup(asked.Topic); err == nil {
				err = h.growTopic(ctx, t, asked, changes, req.ValidateOnly)
			}
		}
		times[asked.Topic] = 0
		if err == nil && !req.ValidateOnly {
			grown = append(grown, t.ID)
		}
		resp.Topics = append(resp.Topics, kmsg.CreatePartitionsResponseTopic{Topic: asked.Topic, ErrorCode: h.code(err), ErrorMessage: message(err)})
	}
	h.awaitNew(ctx, grown...)
	resp.ThrottleMillis = changes.millis()
	return resp
}

func (h *Handler) growTopic(ctx context.Context, t *metastore.Topic, asked kmsg.CreatePartitionsRequestTopic, changes *mutations, validateOnly bool) error {
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
	brokers := h.brokersFor(changes.r)
	for _, a := range asked.Assignment {
		if err := checkReplicas(a.Replicas, brokers); err != nil {
			return err
		}
		if have := len(replicas(t, metastore.NoBroker, brokers)); len(a.Replicas) != have {
			return fmt.Errorf("%w: %d replicas, the topic's other partitions have %d", errAssignment, len(a.Replicas), have)
		}
	}
	if err := check(t); err != nil || validateOnly {
		return err
	}
	if err := changes.take(asked.Count - t.Partitions); err != nil {
		return err
	}
	err := h.Topics.UpdateTopic(ctx, t.ID, func(t *metastore.Topic) error {
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
	return nil
}

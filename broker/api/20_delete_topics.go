package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// DeleteTopics
//
//   - 4 flexible; 5 error messages; 6 topics by name or by id.
//
// A deletion is by id in the end: a younger topic of the same name stays.
func deleteTopicsRoute() *route {
	return &route{key: 20, name: "DeleteTopics", min: 1, max: 6, start: whole(deleteTopics)}
}

func deleteTopics(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout(req.TimeoutMillis))
	defer cancel()
	asked := req.Topics
	if req.Version < 6 {
		for i := range req.TopicNames {
			asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: &req.TopicNames[i]})
		}
	}
	// A topic that is named several times, be it once by name and once by id, is
	// answered once and not deleted: as in Kafka.
	found, failed := make([]*metastore.Topic, len(asked)), make([]error, len(asked))
	times := make(map[topic.ID]int, len(asked))
	for i, a := range asked {
		if found[i], failed[i] = h.namedTopic(a.Topic, a.TopicID); failed[i] == nil {
			times[found[i].ID]++
		}
	}
	changes := h.mutations(r, 5)
	resp := kmsg.NewPtrDeleteTopicsResponse()
	resp.Topics = make([]kmsg.DeleteTopicsResponseTopic, 0, len(asked))
	for i, a := range asked {
		answer := kmsg.DeleteTopicsResponseTopic{Topic: a.Topic, TopicID: a.TopicID}
		t, err := found[i], failed[i]
		if err == nil {
			answer.Topic, answer.TopicID = &t.Name, t.ID
			switch n := times[t.ID]; {
			case n == 0:
				continue // answered
			case n > 1:
				times[t.ID] = 0
				err = fmt.Errorf("%w: topic %q is named %d times", errRequest, t.Name, n)
			default:
				if err = changes.take(t.Partitions); err == nil {
					err = h.Topics.DeleteTopic(ctx, t.ID)
				}
			}
		}
		if errors.Is(err, metastore.ErrTopicUnknown) && a.Topic == nil {
			err = kerr.UnknownTopicID
		}
		if err == nil {
			h.limits.forget(t.ID)
			h.log.Info("topic deleted", "topic", t.Name, "id", t.ID)
		}
		if answer.Topic == nil && req.Version < 6 {
			answer.Topic = new(string)
		}
		answer.ErrorCode, answer.ErrorMessage = h.code(err), message(err)
		resp.Topics = append(resp.Topics, answer)
	}
	resp.ThrottleMillis = changes.millis()
	return resp
}

// namedTopic finds a topic that is named either way, but not both.
func (h *Handler) namedTopic(name *string, id topic.ID) (*metastore.Topic, error) {
	switch {
	case name != nil && !id.IsZero():
		return nil, fmt.Errorf("%w: a topic by name and by id", errRequest)
	case name != nil:
		return h.lookup(*name)
	case id.IsZero():
		return nil, fmt.Errorf("%w: a topic without name and id", errRequest)
	}
	return h.lookupID(id)
}

package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// IncrementalAlterConfigs
//
//   - 1 flexible.
//
// Sets, deletes, appends to and subtracts from a topic's keys; the result is
// validated as a whole and stored by compare-and-swap, so two clients that
// change different keys at once both succeed. Brokers have nothing to alter.
func incrementalAlterConfigsRoute() *route {
	return &route{key: 44, name: "IncrementalAlterConfigs", min: 0, max: 1, start: whole(incrementalAlterConfigs),
		note: "topics"}
}

func incrementalAlterConfigs(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resp.Resources = make([]kmsg.IncrementalAlterConfigsResponseResource, len(req.Resources))
	for i, asked := range req.Resources {
		err := h.alterConfigs(ctx, asked, req.ValidateOnly)
		resp.Resources[i] = kmsg.IncrementalAlterConfigsResponseResource{
			ResourceType: asked.ResourceType, ResourceName: asked.ResourceName, ErrorCode: h.code(err), ErrorMessage: message(err),
		}
	}
	return resp
}

func (h *Handler) alterConfigs(ctx context.Context, asked kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	if asked.ResourceType != kmsg.ConfigResourceTypeTopic {
		return fmt.Errorf("%w: only topics have a configuration that can be altered", errRequest)
	}
	t, err := h.lookup(asked.ResourceName)
	if err != nil {
		return err
	}
	altered, err := h.alteredConfig(t.Config, asked.Configs)
	if err != nil || validateOnly {
		return err
	}
	err = h.Topics.UpdateTopic(ctx, t.ID, func(t *metastore.Topic) error {
		altered, err = h.alteredConfig(t.Config, asked.Configs)
		t.Config = altered
		return err
	})
	if err == nil {
		h.log.Info("topic configuration altered", "topic", t.Name, "config", altered)
	}
	return err
}

// alteredConfig applies changes to a topic's set of keys.
func (h *Handler) alteredConfig(set map[string]string, changes []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]string, error) {
	altered := maps.Clone(set)
	if altered == nil {
		altered = make(map[string]string)
	}
	for i, c := range changes {
		if slices.ContainsFunc(changes[:i], func(before kmsg.IncrementalAlterConfigsRequestResourceConfig) bool { return before.Name == c.Name }) {
			return nil, fmt.Errorf("%w: %q is named twice", errRequest, c.Name)
		}
		if c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete {
			return nil, fmt.Errorf("%w: %q has no value", errConfig, c.Name)
		}
		key, ok := topicconfig.Lookup(c.Name)
		if !ok { // Validate says it best
			_, err := topicconfig.Validate(map[string]string{c.Name: ""}, h.cfg.TopicDefaults)
			return nil, err
		}
		switch c.Op {
		case kmsg.IncrementalAlterConfigOpSet:
			altered[key.Name] = *c.Value
		case kmsg.IncrementalAlterConfigOpDelete:
			delete(altered, key.Name)
		case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
			if key.Type != topicconfig.List {
				return nil, fmt.Errorf("%w: %q is not a list", errConfig, c.Name)
			}
			items := h.listItems(altered, key.Name)
			for _, item := range strings.Split(*c.Value, ",") {
				items = slices.DeleteFunc(items, func(have string) bool { return have == item })
				if c.Op == kmsg.IncrementalAlterConfigOpAppend {
					items = append(items, item)
				}
			}
			altered[key.Name] = strings.Join(items, ",")
		default:
			return nil, fmt.Errorf("%w: operation %d on %q", errRequest, c.Op, c.Name)
		}
	}
	return topicconfig.Validate(altered, h.cfg.TopicDefaults)
}

// listItems is a list's value in force.
func (h *Handler) listItems(set map[string]string, name string) []string {
	for _, e := range topicconfig.Entries(set, h.cfg.TopicDefaults) {
		if e.Name == name && e.Value != "" {
			return strings.Split(e.Value, ",")
		}
	}
	return nil
}

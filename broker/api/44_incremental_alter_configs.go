package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// IncrementalAlterConfigs
//
//   - 1 flexible.
//
// Sets, deletes, appends to and subtracts from a resource's keys.
func incrementalAlterConfigsRoute() *route {
	return &route{key: 44, name: "IncrementalAlterConfigs", min: 0, max: 1, start: whole(incrementalAlterConfigs)}
}

func incrementalAlterConfigs(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	alterations := make([]configAlteration, len(req.Resources))
	for i, asked := range req.Resources {
		alterations[i] = configAlteration{configResource{asked.ResourceType, asked.ResourceName},
			func(keys configKeys, set map[string]string) (map[string]string, error) {
				return alteredConfig(keys, set, asked.Configs)
			}}
	}
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resp.Resources = make([]kmsg.IncrementalAlterConfigsResponseResource, len(req.Resources))
	for i, err := range h.alterResources(ctx, alterations, req.ValidateOnly) {
		resp.Resources[i] = kmsg.IncrementalAlterConfigsResponseResource{
			ResourceType: req.Resources[i].ResourceType, ResourceName: req.Resources[i].ResourceName,
			ErrorCode: h.code(err), ErrorMessage: message(err),
		}
	}
	return resp
}

// alteredConfig applies changes to a set of keys.
func alteredConfig(keys configKeys, set map[string]string, changes []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]string, error) {
	altered := cloned(set)
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		name, list, err := keys.lookup(c.Name, c.Op == kmsg.IncrementalAlterConfigOpDelete)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, fmt.Errorf("%w: %q is named twice", errRequest, c.Name)
		}
		seen[name] = true
		if c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete {
			return nil, fmt.Errorf("%w: %q has no value", errRequest, c.Name)
		}
		switch c.Op {
		case kmsg.IncrementalAlterConfigOpSet:
			altered[name] = *c.Value
		case kmsg.IncrementalAlterConfigOpDelete:
			delete(altered, name)
		case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
			if !list {
				return nil, fmt.Errorf("%w: %q is not a list, nothing can be appended to or subtracted from it", errConfig, c.Name)
			}
			altered[name] = changedList(keys.inForce(altered, name), *c.Value, c.Op == kmsg.IncrementalAlterConfigOpAppend)
		default:
			return nil, fmt.Errorf("%w: operation %d on %q", errRequest, c.Op, c.Name)
		}
	}
	return keys.validate(altered)
}

// changedList adds the items of a comma list to another, those that it does not
// have, or takes them away.
func changedList(list, items string, add bool) string {
	var have []string
	if list != "" {
		have = strings.Split(list, ",")
	}
	for item := range strings.SplitSeq(items, ",") {
		item = strings.TrimSpace(item)
		switch i := slices.Index(have, item); {
		case add && i < 0:
			have = append(have, item)
		case !add && i >= 0:
			have = slices.Delete(have, i, i+1)
		}
	}
	return strings.Join(have, ",")
}

package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// AlterConfigs
//
//   - 2 flexible; 1 the same on the wire.
//
// The legacy way: what is sent replaces all that was set on the resource, and a
// key that is not sent goes back to its default. IncrementalAlterConfigs changes
// single keys.
func alterConfigsRoute() *route {
	return &route{key: 33, name: "AlterConfigs", min: 0, max: 2, start: whole(alterConfigs)}
}

func alterConfigs(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.AlterConfigsRequest) kmsg.Response {
	alterations := make([]configAlteration, len(req.Resources))
	for i, asked := range req.Resources {
		resource := configResource{asked.ResourceType, asked.ResourceName}
		alterations[i] = configAlteration{resource, func(keys configKeys, _ map[string]string) (map[string]string, error) {
			if resource.kind == kmsg.ConfigResourceTypeBrokerLogger {
				return nil, fmt.Errorf("%w: loggers are altered by IncrementalAlterConfigs only", errRequest)
			}
			return replacedConfig(keys, asked.Configs)
		}}
	}
	resp := kmsg.NewPtrAlterConfigsResponse()
	resp.Resources = make([]kmsg.AlterConfigsResponseResource, len(req.Resources))
	for i, err := range h.alterResources(ctx, alterations, req.ValidateOnly) {
		resp.Resources[i] = kmsg.AlterConfigsResponseResource{
			ResourceType: req.Resources[i].ResourceType, ResourceName: req.Resources[i].ResourceName,
			ErrorCode: h.code(err), ErrorMessage: message(err),
		}
	}
	return resp
}

// replacedConfig is the set that takes the place of another.
func replacedConfig(keys configKeys, configs []kmsg.AlterConfigsRequestResourceConfig) (map[string]string, error) {
	set := make(map[string]string, len(configs))
	for _, c := range configs {
		name, _, err := keys.lookup(c.Name, false)
		switch _, twice := set[name]; {
		case err != nil:
			return nil, err
		case twice:
			return nil, fmt.Errorf("%w: %q is named twice", errRequest, c.Name)
		case c.Value == nil:
			return nil, fmt.Errorf("%w: %q has no value", errRequest, c.Name)
		}
		set[name] = *c.Value
	}
	return keys.validate(set)
}

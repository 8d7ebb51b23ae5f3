package api

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeConfigs
//
//   - 1 sources and synonyms; 3 types and documentation; 4 flexible.
//
// Every key of a resource with the value in force, where that comes from, and
// what would hold in its place. Of all brokers (the empty name) only what is
// set on them, as in Kafka. No key holds a secret, so no value is left out.
func describeConfigsRoute() *route {
	return &route{key: 32, name: "DescribeConfigs", min: 1, max: 4, busy: true, start: whole(describeConfigs)}
}

// configsOfResource is about how many configurations a resource has.
const configsOfResource = 50

func describeConfigs(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	req.Resources = distinct(req.Resources, func(asked *kmsg.DescribeConfigsRequestResource) any {
		return [...]any{asked.ResourceType, asked.ResourceName, strings.Join(asked.ConfigNames, ",")}
	})
	done, ok := h.ample(ctx, r, len(req.Resources)*configsOfResource)
	if !ok {
		return nil
	}
	defer done()
	resp := kmsg.NewPtrDescribeConfigsResponse()
	resp.Resources = make([]kmsg.DescribeConfigsResponseResource, len(req.Resources))
	for i, asked := range req.Resources {
		entries, err := h.configEntries(configResource{asked.ResourceType, asked.ResourceName})
		answer := kmsg.DescribeConfigsResponseResource{
			ResourceType: asked.ResourceType, ResourceName: asked.ResourceName,
			ErrorCode: h.code(err), ErrorMessage: message(err),
			Configs: []kmsg.DescribeConfigsResponseResourceConfig{},
		}
		for _, e := range entries {
			if len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, e.Name) {
				answer.Configs = append(answer.Configs, describedConfig(e, req))
			}
		}
		resp.Resources[i] = answer
	}
	return resp
}

func describedConfig(e configEntry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	described := kmsg.DescribeConfigsResponseResourceConfig{
		Name: e.Name, Value: &e.Value, ReadOnly: e.readOnly, IsDefault: e.IsDefault,
		Source: kmsg.ConfigSource(e.Source), ConfigType: kmsg.ConfigType(e.Type),
		ConfigSynonyms: []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{},
	}
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			described.ConfigSynonyms = append(described.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: s.Name, Value: &s.Value, Source: kmsg.ConfigSource(s.Source),
			})
		}
	}
	if req.IncludeDocumentation {
		described.Documentation = &e.Documentation
	}
	return described
}

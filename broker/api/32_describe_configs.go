package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// DescribeConfigs
//
//   - 1 sources and synonyms; 3 types and documentation; 4 flexible.
//
// For topics: every key with the value in force and where it comes from. For
// brokers: what a client can act on, read-only; the operator's own settings are
// in the configuration file.
func describeConfigsRoute() *route {
	return &route{key: 32, name: "DescribeConfigs", min: 1, max: 4, start: whole(describeConfigs)}
}

func describeConfigs(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	resp.Resources = make([]kmsg.DescribeConfigsResponseResource, len(req.Resources))
	for i, asked := range req.Resources {
		entries, readOnly, err := h.configs(asked)
		answer := kmsg.DescribeConfigsResponseResource{
			ResourceType: asked.ResourceType, ResourceName: asked.ResourceName,
			ErrorCode: h.code(err), ErrorMessage: message(err),
			Configs: []kmsg.DescribeConfigsResponseResourceConfig{},
		}
		for _, e := range entries {
			if asked.ConfigNames == nil || slices.Contains(asked.ConfigNames, e.Name) {
				answer.Configs = append(answer.Configs, describedConfig(e, readOnly, req))
			}
		}
		resp.Resources[i] = answer
	}
	return resp
}

func (h *Handler) configs(asked kmsg.DescribeConfigsRequestResource) (entries []topicconfig.Entry, readOnly bool, err error) {
	switch asked.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		t, err := h.lookup(asked.ResourceName)
		if err != nil {
			return nil, false, err
		}
		return topicconfig.Entries(t.Config, h.cfg.TopicDefaults), false, nil
	case kmsg.ConfigResourceTypeBroker:
		if asked.ResourceName == "" {
			return nil, true, nil // nothing is set for the whole cluster through Kafka
		}
		id, err := strconv.ParseInt(asked.ResourceName, 10, 32)
		if err != nil || !slices.ContainsFunc(h.Cluster.Brokers(), func(b metastore.Broker) bool { return int64(b.ID) == id }) {
			return nil, true, fmt.Errorf("%w: there is no broker %q", errRequest, asked.ResourceName)
		}
		return h.brokerEntries(id), true, nil
	}
	return nil, false, fmt.Errorf("%w: resources of type %v have no configuration", errRequest, asked.ResourceType)
}

// brokerEntries are the settings of a broker that a client can act on.
func (h *Handler) brokerEntries(id int64) []topicconfig.Entry {
	number := func(n int) string { return strconv.Itoa(n) }
	entry := func(name, value string, typ topicconfig.Type, doc string) topicconfig.Entry {
		return topicconfig.Entry{Name: name, Value: value, Source: topicconfig.SourceCluster, Type: typ, Documentation: doc}
	}
	return []topicconfig.Entry{
		entry("auto.create.topics.enable", strconv.FormatBool(h.cfg.AutoCreateTopics), topicconfig.Boolean, "Whether asking for an unknown topic creates it."),
		entry("broker.id", number(int(id)), topicconfig.Int, "The broker's number."),
		entry("default.replication.factor", "1", topicconfig.Int, "Durability comes from the bucket, whatever the factor."),
		entry("fetch.max.bytes", number(h.cfg.FetchBytesMax), topicconfig.Int, "The most bytes in one answer to Fetch."),
		entry("num.partitions", number(int(h.cfg.PartitionsDefault)), topicconfig.Int, "Partitions of a topic that does not say how many."),
		entry("socket.request.max.bytes", number(h.cfg.RequestBytesMax), topicconfig.Int, "The most bytes of one request."),
	}
}

func describedConfig(e topicconfig.Entry, readOnly bool, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	described := kmsg.DescribeConfigsResponseResourceConfig{
		Name: e.Name, Value: &e.Value, ReadOnly: readOnly, IsDefault: e.IsDefault,
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

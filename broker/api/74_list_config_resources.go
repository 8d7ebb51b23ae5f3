package api

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// ListConfigResources
//
//   - 0 lists client metrics' subscriptions, under an older name of the API, and
//     there are none; 1 lists resources of the kinds that are asked for.
func listConfigResourcesRoute() *route {
	return &route{key: 74, name: "ListConfigResources", min: 0, max: 1, start: whole(listConfigResources)}
}

func listConfigResources(_ context.Context, h *Handler, r *wire.Request, req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	resp.ConfigResources = []kmsg.ListConfigResourcesResponseConfigResource{}
	if req.Version == 0 {
		return resp
	}
	known := []kmsg.ConfigResourceType{
		kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
		kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
	}
	wanted := known
	if len(req.ResourceTypes) > 0 {
		wanted = nil
		for _, kind := range req.ResourceTypes {
			if !slices.Contains(known, kmsg.ConfigResourceType(kind)) {
				resp.ErrorCode = kerr.UnsupportedVersion.Code // Kafka's answer
				return resp
			}
			wanted = append(wanted, kmsg.ConfigResourceType(kind))
		}
	}
	for _, kind := range known {
		if !slices.Contains(wanted, kind) {
			continue
		}
		for _, name := range h.configResourceNames(r, kind) {
			resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: int8(kind)})
		}
	}
	return resp
}

// configResourceNames are the resources of a kind that have a configuration.
func (h *Handler) configResourceNames(r *wire.Request, kind kmsg.ConfigResourceType) []string {
	var names []string
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		for _, t := range h.Topics.All() {
			names = append(names, t.Name)
		}
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		for _, b := range h.brokersFor(r) {
			names = append(names, strconv.Itoa(int(b.ID)))
		}
	case kmsg.ConfigResourceTypeGroupConfig:
		names = h.Configs.Configs().Names(metastore.ConfigGroups)
	}
	return names
}

package api

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// DescribeClientQuotas
//
//   - 1 flexible.
//
// Shows the quotas of the entities that match: for each type that is asked for a
// name, the default, or any; strictly, or with further types.
func describeClientQuotasRoute() *route {
	return &route{key: 48, name: "DescribeClientQuotas", min: 0, max: 1, busy: true, start: whole(describeClientQuotas)}
}

func describeClientQuotas(_ context.Context, h *Handler, _ *wire.Request, req *kmsg.DescribeClientQuotasRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	matches, err := quotaFilter(req)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = h.code(err), message(err)
		return resp // with null entries, as Kafka
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	quotas := h.Quotas.Quotas()
	for _, e := range quotas.Entities() {
		if !matches(e) {
			continue
		}
		var entry kmsg.DescribeClientQuotasResponseEntry
		for _, p := range quotaParts(e) {
			entry.Entity = append(entry.Entity, kmsg.DescribeClientQuotasResponseEntryEntity{Type: p.kind, Name: nameOrDefault(p.part)})
		}
		set := quotas.Of(e)
		for _, key := range slices.Sorted(maps.Keys(set)) {
			entry.Values = append(entry.Values, kmsg.DescribeClientQuotasResponseEntryValue{Key: key, Value: set[key]})
		}
		resp.Entries = append(resp.Entries, entry)
	}
	return resp
}

// Kafka's names of the types of entity.
const (
	quotaUser   = "user"
	quotaClient = "client-id"
	quotaIP     = "ip"
)

type quotaPart struct {
	kind string
	part metastore.QuotaPart
}

// quotaParts are those that an entity gives.
func quotaParts(e metastore.QuotaEntity) []quotaPart {
	all := []quotaPart{{quotaUser, e.User}, {quotaClient, e.ClientID}, {quotaIP, e.IP}}
	return slices.DeleteFunc(all, func(p quotaPart) bool { return !p.part.Given })
}

// nameOrDefault is null for the default.
func nameOrDefault(p metastore.QuotaPart) *string {
	if p.Name == "" {
		return nil
	}
	return &p.Name
}

// quotaFilter makes a predicate of a request.
func quotaFilter(req *kmsg.DescribeClientQuotasRequest) (func(metastore.QuotaEntity) bool, error) {
	type component struct {
		any  bool
		name string // "" for the default
	}
	asked := make(map[string]component)
	for _, c := range req.Components {
		_, twice := asked[c.EntityType]
		named := c.Match != nil
		switch {
		case c.EntityType == "":
			return nil, fmt.Errorf("%w: a component without a type of entity", errRequest)
		case twice:
			return nil, fmt.Errorf("%w: type %q is named twice", errRequest, c.EntityType)
		case c.EntityType != quotaUser && c.EntityType != quotaClient && c.EntityType != quotaIP:
			return nil, fmt.Errorf("%w: there are no entities of type %q", kerr.UnsupportedVersion, c.EntityType)
		case c.MatchType < kmsg.QuotasMatchTypeExact || c.MatchType > kmsg.QuotasMatchTypeAny:
			return nil, fmt.Errorf("%w: there is no way %d to match", errRequest, c.MatchType)
		case named != (c.MatchType == kmsg.QuotasMatchTypeExact):
			return nil, fmt.Errorf("%w: a name is given exactly with an exact match", errRequest)
		}
		is := component{any: c.MatchType == kmsg.QuotasMatchTypeAny}
		if named {
			is.name = *c.Match
			if is.name == "" {
				return nil, fmt.Errorf("%w: an empty name", errRequest)
			}
			if c.EntityType == quotaIP {
				is.name = canonicalIP(is.name)
			}
		}
		asked[c.EntityType] = is
	}
	if _, ip := asked[quotaIP]; ip && len(asked) > 1 {
		return nil, fmt.Errorf("%w: an ip goes with no user and no client-id", errRequest)
	}
	return func(e metastore.QuotaEntity) bool {
		parts := quotaParts(e)
		matched := 0
		for _, p := range parts {
			if c, ok := asked[p.kind]; ok && (c.any || c.name == p.part.Name) {
				matched++
			}
		}
		return matched == len(asked) && (!req.Strict || len(parts) == len(asked))
	}, nil
}

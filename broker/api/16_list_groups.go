package api

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// ListGroups
//
//   - 3 flexible; 4 filter by state; 5 filter by type.
//
// Each broker lists the groups that it coordinates.
func listGroupsRoute() *route {
	return &route{key: 16, name: "ListGroups", min: 0, max: 5, start: whole(listGroups)}
}

func listGroups(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.ListGroupsRequest) kmsg.Response {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Groups = []kmsg.ListGroupsResponseGroup{}
	groups, err := h.Groups.List(ctx)
	resp.ErrorCode = h.code(err)
	wanted := func(filter []string, value string) bool {
		return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
	}
	for _, g := range groups {
		if wanted(req.StatesFilter, string(g.Phase)) && wanted(req.TypesFilter, g.Kind) {
			resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{
				Group: g.Group, ProtocolType: g.ProtocolType, GroupState: string(g.Phase), GroupType: g.Kind,
			})
		}
	}
	return resp
}

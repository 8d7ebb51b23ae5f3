package api

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeGroups
//
//   - 3 authorized operations; 4 static members; 5 flexible; 6 an unknown group
//     is GROUP_ID_NOT_FOUND, before it was Dead without an error.
func describeGroupsRoute() *route {
	return &route{key: 15, name: "DescribeGroups", min: 0, max: 6, start: whole(describeGroups)}
}

func describeGroups(ctx context.Context, h *Handler, r *wire.Request, req *kmsg.DescribeGroupsRequest) kmsg.Response {
	req.Groups = distinct(req.Groups, itself)
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	for i, name := range req.Groups {
		d, err := h.Groups.Describe(ctx, name)
		done, ok := h.ample(ctx, r, len(d.Members))
		if !ok {
			return nil
		}
		if errors.Is(err, group.ErrGroupUnknown) && req.Version < 6 {
			err = nil
		}
		described := kmsg.DescribeGroupsResponseGroup{
			Group: name, ErrorCode: h.code(err), ErrorMessage: message(err),
			State: string(d.Phase), ProtocolType: d.ProtocolType, Protocol: d.Protocol,
			Members:              make([]kmsg.DescribeGroupsResponseGroupMember, len(d.Members)),
			AuthorizedOperations: operationsUnasked,
		}
		if req.IncludeAuthorizedOperations {
			described.AuthorizedOperations = operationsGroup
		}
		for j, m := range d.Members {
			described.Members[j] = kmsg.DescribeGroupsResponseGroupMember{
				MemberID: m.ID, InstanceID: nullable(m.InstanceID), ClientID: m.ClientID, ClientHost: m.Host,
				ProtocolMetadata: m.Metadata, MemberAssignment: m.Assignment,
			}
		}
		resp.Groups[i] = described
		done()
	}
	return resp
}

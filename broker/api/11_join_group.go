package api

import (
	"bytes"
	"context"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
)

// JoinGroup
//
//   - 1 rebalance timeout; 4 MEMBER_ID_REQUIRED for newcomers; 5 static members;
//     6 flexible; 7 protocol type; 8 reason; 9 a leader may skip the assignment.
//
// The answer waits until all members have joined; the connection's later
// requests wait behind it, as in Kafka.
func joinGroupRoute() *route {
	return &route{key: 11, name: "JoinGroup", min: 0, max: 9, start: whole(joinGroup)}
}

func joinGroup(_ context.Context, h *Handler, r *wire.Request, req *kmsg.JoinGroupRequest) kmsg.Response {
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	rebalance := time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond
	if req.Version < 1 {
		rebalance = session
	}
	join := group.JoinRequest{
		MemberID: req.MemberID, InstanceID: text(req.InstanceID), ClientID: r.ClientID, Host: host(r),
		ProtocolType: req.ProtocolType, Protocols: make([]group.Protocol, len(req.Protocols)),
		SessionTimeout: session, RebalanceTimeout: rebalance,
		IDFirst: req.Version >= 4, CanSkip: req.Version >= 9, Reason: text(req.Reason),
	}
	for i, p := range req.Protocols {
		join.Protocols[i] = group.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)}
	}
	r.Release() // the wait may be long
	joined, err := h.Groups.Join(r.Conn.Patience(), req.Group, join)

	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode = h.code(err)
	resp.Generation, resp.MemberID, resp.LeaderID = joined.Generation, joined.MemberID, joined.Leader
	resp.SkipAssignment = joined.SkipAssignment
	resp.Members = make([]kmsg.JoinGroupResponseMember, len(joined.Members))
	if err == nil || req.Version < 7 {
		resp.Protocol = &joined.Protocol // null came with version 7
	}
	if err == nil {
		resp.ProtocolType = &joined.ProtocolType
	}
	for i, m := range joined.Members {
		resp.Members[i] = kmsg.JoinGroupResponseMember{MemberID: m.ID, InstanceID: nullable(m.InstanceID), ProtocolMetadata: m.Metadata}
	}
	return resp
}

// text is the string behind s, "" for null.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// nullable is null for "".
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// host is the client's address as Kafka's tools show it.
func host(r *wire.Request) string {
	address := r.Conn.RemoteAddr().String()
	if ip, _, err := net.SplitHostPort(address); err == nil {
		address = ip
	}
	return "/" + address
}

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/forward"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Under advertise=shared clients see one node, the load balancer, as leader and
// coordinator of everything, and any broker gets any request. What another broker
// has to answer it is asked for, on its internal listener; who is asked there
// answers for itself alone, so a request goes one hop at most.
//
// This file says of each API who answers it, and how answers are put together.
// Where another broker does not answer, the client gets what this one has to
// say: that it is not the leader, or not the coordinator, which clients try again
// after.

// shared tells whether the client of r sees one node only.
func (h *Handler) shared(r *wire.Request) bool { return h.cfg.Shared && !r.Conn.Internal() }

// brokersFor are the brokers as the client of r sees them.
func (h *Handler) brokersFor(r *wire.Request) []metastore.Broker {
	live := h.Cluster.Brokers()
	if !h.shared(r) || len(live) == 0 {
		return live
	}
	return []metastore.Broker{h.one(live[0])}
}

// one is the node that clients see, which has the address of any: all brokers
// advertise the balancer's.
func (h *Handler) one(any metastore.Broker) metastore.Broker {
	any.ID, any.Rack = metastore.SharedNode, ""
	return any
}

// ledBy is the broker that leads a partition, as it is called among brokers.
func ledBy(leader metastore.BrokerID, brokers []metastore.Broker) metastore.BrokerID {
	if leader != metastore.NoBroker && len(brokers) == 1 && brokers[0].ID == metastore.SharedNode {
		return metastore.SharedNode
	}
	return leader
}

// other returns a live broker that is not this one and can be asked.
func (h *Handler) other(id metastore.BrokerID) (metastore.Broker, bool) {
	if id == metastore.NoBroker || id == h.Cluster.Self() {
		return metastore.Broker{}, false
	}
	for _, b := range h.Cluster.Brokers() {
		if b.ID == id {
			return b, forward.Reachable(b)
		}
	}
	return metastore.Broker{}, false
}

// otherOwner returns the broker that owns p, if it is another one.
func (h *Handler) otherOwner(p topic.Partition) (metastore.Broker, bool) {
	return h.other(h.Cluster.Leader(p).Broker)
}

// otherOwners are the brokers that own partitions; of NoBroker where that is this
// one, or nobody.
func (h *Handler) otherOwners(partitions []topic.Partition) []metastore.Broker {
	owners := make([]metastore.Broker, len(partitions))
	for i, p := range partitions {
		if b, ok := h.otherOwner(p); ok {
			owners[i] = b
		} else {
			owners[i].ID = metastore.NoBroker
		}
	}
	return owners
}

// otherCoordinator returns the broker that coordinates a group, if it is another one.
func (h *Handler) otherCoordinator(group string) (metastore.Broker, bool) {
	id, ok := h.groupOwner(group)
	if !ok {
		return metastore.Broker{}, false
	}
	return h.other(id)
}

// groupOwner is the broker that coordinates a group. ok is false when there is none.
func (h *Handler) groupOwner(group string) (metastore.BrokerID, bool) {
	b, ok := h.Cluster.Coordinator(group)
	return b.ID, ok
}

// far is what a client's connection has at other brokers.
type far struct {
	*forward.Client
	polls map[metastore.Session]*farPoll // of its goroutine that finishes requests
}

// far returns what the connection of r has, or nil when it has ended.
func (h *Handler) far(r *wire.Request) *far {
	kept := r.Conn.Keep(func() io.Closer {
		return &far{Client: h.Forward.Client(r.Conn.RemoteAddr(), r.Conn.LocalAddr(), r.Conn.Abort), polls: make(map[metastore.Session]*farPoll)}
	})
	f, _ := kept.(*far)
	return f
}

// send sends another broker a request in the name of r's client.
func (h *Handler) send(ctx context.Context, r *wire.Request, to metastore.Broker, req kmsg.Request, body []byte) (*forward.Call, error) {
	f := h.far(r)
	if f == nil {
		return nil, forward.ErrUnreachable
	}
	return f.Send(ctx, to, forward.Request{
		Key: req.Key(), Version: req.GetVersion(), ClientID: r.ClientID, Flexible: req.IsFlexible(), Body: net.Buffers{body},
	})
}

// answerOf waits for the answer to req.
func answerOf(ctx context.Context, call *forward.Call, req kmsg.Request) (kmsg.Response, error) {
	body, err := call.Answer(ctx)
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("another broker's answer to api key %d: %w", req.Key(), err)
	}
	return resp, nil
}

// spread says who answers an API.
type spread struct {
	who who
	// run answers a request, nil when the connection has ended. here gives what
	// this broker says. nil for APIs that any broker answers, and for Produce and
	// Fetch, which see to it themselves.
	run func(ctx context.Context, h *Handler, r *wire.Request, req kmsg.Request, here func() kmsg.Response) kmsg.Response
	// partitions are those that a request to their owners is about.
	partitions func(h *Handler, req kmsg.Request) []topic.Partition
}

// who names brokers.
type who string

const (
	anyBroker   who = "any"         // the answer follows from the catalog, or is a write to the metadata store
	owner       who = "owner"       // of each partition
	coordinator who = "coordinator" // of each group
	everyBroker who = "all"
)

// spreads is the table.
func spreads() map[int16]spread {
	here := spread{who: anyBroker}
	return map[int16]spread{
		produceKey: {who: owner},
		fetchKey:   {who: owner},
		2:          byOwner(splitListOffsets()),
		21:         byOwner(splitDeleteRecords()),
		23:         byOwner(splitOffsetForLeaderEpoch()),
		61:         byOwner(splitDescribeProducers()),

		8:  byGroup(func(req *kmsg.OffsetCommitRequest) string { return req.Group }),
		9:  offsetFetchSpread(),
		11: byGroup(func(req *kmsg.JoinGroupRequest) string { return req.Group }),
		12: byGroup(func(req *kmsg.HeartbeatRequest) string { return req.Group }),
		13: byGroup(func(req *kmsg.LeaveGroupRequest) string { return req.Group }),
		14: byGroup(func(req *kmsg.SyncGroupRequest) string { return req.Group }),
		15: byGroups(splitDescribeGroups()),
		42: byGroups(splitDeleteGroups()),
		47: byGroup(func(req *kmsg.OffsetDeleteRequest) string { return req.Group }),
		68: byGroup(func(req *kmsg.ConsumerGroupHeartbeatRequest) string { return req.Group }),
		69: byGroups(splitConsumerGroupDescribe()),

		16: byAll(mergeListGroups),
		35: byAll(mergeLogDirs),

		3: here, 10: here, 60: here, 75: here, // show one node
		apiVersionsKey: here,
		17:             here, 36: here, // SASL: of the connection
		19: here, 20: here, 37: here, 43: here, 45: here, 46: here, // topics are in the metadata store
		22: here, // blocks of producer ids come from there too
		29: here, 30: here, 31: here, 32: here, 33: here, 44: here, 74: here, 48: here, 49: here, 50: here, 51: here,
		34: here, 38: here, 39: here, 40: here, 41: here, 57: here, // refused
		55: here,           // the quorum is the metadata store
		65: here, 66: here, // there are no transactions
		71: here, 72: here, // no metrics of clients are asked for
	}
}

// farWait bounds the wait for another broker's answer, should it hang. One that
// is gone is noticed when its session is over.
const farWait = 5 * time.Minute

// byGroup is an API of which each request is about one group.
func byGroup[R kmsg.Request](group func(R) string) spread {
	return spread{who: coordinator, run: func(ctx context.Context, h *Handler, r *wire.Request, req kmsg.Request, here func() kmsg.Response) kmsg.Response {
		resp, ok := h.askCoordinator(ctx, r, group(req.(R)), req)
		if !ok {
			return here()
		}
		return resp
	}}
}

// askCoordinator hands a request to the coordinator of a group as it is. ok is
// false when that is this broker, or does not answer.
func (h *Handler) askCoordinator(ctx context.Context, r *wire.Request, group string, req kmsg.Request) (kmsg.Response, bool) {
	to, ok := h.otherCoordinator(group)
	if !ok {
		return nil, false
	}
	// Also a stopping broker answers what it was asked, but for what waits for
	// other members: those clients are to come in elsewhere.
	if req.Key() == joinGroupKey || req.Key() == syncGroupKey {
		ctx = r.Conn.Patience()
	}
	ctx, cancel := context.WithTimeout(ctx, farWait)
	defer cancel()
	call, err := h.send(ctx, r, to, req, r.Body)
	if err != nil {
		return nil, false
	}
	resp, err := answerOf(ctx, call, req)
	return resp, err == nil
}

const (
	joinGroupKey = 11
	syncGroupKey = 14
)

// split says how a request about many things is divided between their brokers.
type split[R kmsg.Request, A any] struct {
	// owners returns the broker of each thing, in their order; of NoBroker those
	// that this one answers.
	owners func(h *Handler, req R) []metastore.Broker
	// partitions returns the things, in their order, if they are partitions: their
	// owners follow.
	partitions func(h *Handler, req R) []topic.Partition
	// only returns a request like req, about those things for whose place keep holds.
	only func(req R, keep func(place int) bool) R
	// answers are those of each thing, in the same order.
	answers func(resp kmsg.Response) []*A
	code    func(*A) int16
}

// byOwner is an API of which a request is about several partitions.
func byOwner[R kmsg.Request, A any](s split[R, A]) spread {
	s.owners = func(h *Handler, req R) []metastore.Broker { return h.otherOwners(s.partitions(h, req)) }
	return spread{owner, s.run, func(h *Handler, req kmsg.Request) []topic.Partition { return s.partitions(h, req.(R)) }}
}

// byGroups is one of which a request is about several groups.
func byGroups[R kmsg.Request, A any](s split[R, A]) spread {
	return spread{who: coordinator, run: s.run}
}

// part is what one other broker is asked.
type part struct {
	to     metastore.Broker
	places []int
	req    kmsg.Request
	call   *forward.Call
}

func (s split[R, A]) run(ctx context.Context, h *Handler, r *wire.Request, whole kmsg.Request, here func() kmsg.Response) kmsg.Response {
	req := whole.(R)
	var parts []*part
	for place, to := range s.owners(h, req) {
		if to.ID == metastore.NoBroker {
			continue
		}
		i := slices.IndexFunc(parts, func(p *part) bool { return p.to.Session == to.Session })
		if i < 0 {
			i, parts = len(parts), append(parts, &part{to: to})
		}
		parts[i].places = append(parts[i].places, place)
	}
	waiting, cancel := context.WithTimeout(ctx, farWait)
	defer cancel()
	for _, p := range parts {
		p.req = s.only(req, func(place int) bool { _, ok := slices.BinarySearch(p.places, place); return ok })
		p.req.SetVersion(r.Version)
		if call, err := h.send(waiting, r, p.to, p.req, p.req.AppendTo(nil)); err == nil {
			p.call = call
		}
	}
	resp := here() // says of the others' that they are not here
	if resp == nil {
		return nil
	}
	into := s.answers(resp)
	for _, p := range parts {
		if p.call == nil {
			continue
		}
		answered, err := answerOf(waiting, p.call, p.req)
		if err != nil {
			continue
		}
		from := s.answers(answered)
		if len(from) != len(p.places) {
			h.log.Error("another broker answers about other things than it was asked for", "broker", p.to.ID, "api", p.req.Key())
			continue
		}
		for i, place := range p.places {
			if s.code(into[place]) != 0 {
				*into[place] = *from[i]
			}
		}
	}
	return resp
}

// keepParts returns topics with those of their partitions, counted through all of
// them, for whose place keep holds.
func keepParts[T, P any](topics []T, parts func(*T) *[]P, keep func(place int) bool) []T {
	var kept []T
	place := 0
	for _, t := range topics {
		all := *parts(&t)
		var some []P
		for _, p := range all {
			if keep(place) {
				some = append(some, p)
			}
			place++
		}
		if len(some) > 0 {
			*parts(&t) = some
			kept = append(kept, t)
		}
	}
	return kept
}

// allParts are the partitions of all topics.
func allParts[T, P any](topics []T, parts func(*T) *[]P) []*P {
	var all []*P
	for i := range topics {
		of := *parts(&topics[i])
		for j := range of {
			all = append(all, &of[j])
		}
	}
	return all
}

// partitionsNamed are the partitions that a request is about; one that does not
// exist is the zero one.
func partitionsNamed[T, P any](h *Handler, topics []T, name func(*T) string, parts func(*T) *[]P, index func(*P) int32) []topic.Partition {
	var named []topic.Partition
	for i := range topics {
		t, err := h.lookup(name(&topics[i]))
		of := *parts(&topics[i])
		for j := range of {
			var p topic.Partition
			if err == nil {
				p, _ = partition(t, index(&of[j]))
			}
			named = append(named, p)
		}
	}
	return named
}

// coordinatorsOf are the coordinators of groups.
func coordinatorsOf(h *Handler, groups []string) []metastore.Broker {
	at := make([]metastore.Broker, len(groups))
	for i, g := range groups {
		b, ok := h.otherCoordinator(g)
		if at[i] = b; !ok {
			at[i].ID = metastore.NoBroker
		}
	}
	return at
}

func splitListOffsets() split[*kmsg.ListOffsetsRequest, kmsg.ListOffsetsResponseTopicPartition] {
	parts := func(t *kmsg.ListOffsetsRequestTopic) *[]kmsg.ListOffsetsRequestTopicPartition { return &t.Partitions }
	return split[*kmsg.ListOffsetsRequest, kmsg.ListOffsetsResponseTopicPartition]{
		partitions: func(h *Handler, req *kmsg.ListOffsetsRequest) []topic.Partition {
			return partitionsNamed(h, req.Topics, func(t *kmsg.ListOffsetsRequestTopic) string { return t.Topic }, parts,
				func(p *kmsg.ListOffsetsRequestTopicPartition) int32 { return p.Partition })
		},
		only: func(req *kmsg.ListOffsetsRequest, keep func(int) bool) *kmsg.ListOffsetsRequest {
			some := *req
			some.Topics = keepParts(req.Topics, parts, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.ListOffsetsResponseTopicPartition {
			return allParts(resp.(*kmsg.ListOffsetsResponse).Topics, func(t *kmsg.ListOffsetsResponseTopic) *[]kmsg.ListOffsetsResponseTopicPartition { return &t.Partitions })
		},
		code: func(p *kmsg.ListOffsetsResponseTopicPartition) int16 { return p.ErrorCode },
	}
}

func splitDeleteRecords() split[*kmsg.DeleteRecordsRequest, kmsg.DeleteRecordsResponseTopicPartition] {
	parts := func(t *kmsg.DeleteRecordsRequestTopic) *[]kmsg.DeleteRecordsRequestTopicPartition {
		return &t.Partitions
	}
	return split[*kmsg.DeleteRecordsRequest, kmsg.DeleteRecordsResponseTopicPartition]{
		partitions: func(h *Handler, req *kmsg.DeleteRecordsRequest) []topic.Partition {
			return partitionsNamed(h, req.Topics, func(t *kmsg.DeleteRecordsRequestTopic) string { return t.Topic }, parts,
				func(p *kmsg.DeleteRecordsRequestTopicPartition) int32 { return p.Partition })
		},
		only: func(req *kmsg.DeleteRecordsRequest, keep func(int) bool) *kmsg.DeleteRecordsRequest {
			some := *req
			some.Topics = keepParts(req.Topics, parts, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.DeleteRecordsResponseTopicPartition {
			return allParts(resp.(*kmsg.DeleteRecordsResponse).Topics, func(t *kmsg.DeleteRecordsResponseTopic) *[]kmsg.DeleteRecordsResponseTopicPartition {
				return &t.Partitions
			})
		},
		code: func(p *kmsg.DeleteRecordsResponseTopicPartition) int16 { return p.ErrorCode },
	}
}

func splitOffsetForLeaderEpoch() split[*kmsg.OffsetForLeaderEpochRequest, kmsg.OffsetForLeaderEpochResponseTopicPartition] {
	parts := func(t *kmsg.OffsetForLeaderEpochRequestTopic) *[]kmsg.OffsetForLeaderEpochRequestTopicPartition {
		return &t.Partitions
	}
	return split[*kmsg.OffsetForLeaderEpochRequest, kmsg.OffsetForLeaderEpochResponseTopicPartition]{
		partitions: func(h *Handler, req *kmsg.OffsetForLeaderEpochRequest) []topic.Partition {
			return partitionsNamed(h, req.Topics, func(t *kmsg.OffsetForLeaderEpochRequestTopic) string { return t.Topic }, parts,
				func(p *kmsg.OffsetForLeaderEpochRequestTopicPartition) int32 { return p.Partition })
		},
		only: func(req *kmsg.OffsetForLeaderEpochRequest, keep func(int) bool) *kmsg.OffsetForLeaderEpochRequest {
			some := *req
			some.Topics = keepParts(req.Topics, parts, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.OffsetForLeaderEpochResponseTopicPartition {
			return allParts(resp.(*kmsg.OffsetForLeaderEpochResponse).Topics, func(t *kmsg.OffsetForLeaderEpochResponseTopic) *[]kmsg.OffsetForLeaderEpochResponseTopicPartition {
				return &t.Partitions
			})
		},
		code: func(p *kmsg.OffsetForLeaderEpochResponseTopicPartition) int16 { return p.ErrorCode },
	}
}

func splitDescribeProducers() split[*kmsg.DescribeProducersRequest, kmsg.DescribeProducersResponseTopicPartition] {
	parts := func(t *kmsg.DescribeProducersRequestTopic) *[]int32 { return &t.Partitions }
	return split[*kmsg.DescribeProducersRequest, kmsg.DescribeProducersResponseTopicPartition]{
		partitions: func(h *Handler, req *kmsg.DescribeProducersRequest) []topic.Partition {
			eachProducersPartOnce(req)
			return partitionsNamed(h, req.Topics, func(t *kmsg.DescribeProducersRequestTopic) string { return t.Topic }, parts, func(p *int32) int32 { return *p })
		},
		only: func(req *kmsg.DescribeProducersRequest, keep func(int) bool) *kmsg.DescribeProducersRequest {
			some := *req
			some.Topics = keepParts(req.Topics, parts, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.DescribeProducersResponseTopicPartition {
			return allParts(resp.(*kmsg.DescribeProducersResponse).Topics, func(t *kmsg.DescribeProducersResponseTopic) *[]kmsg.DescribeProducersResponseTopicPartition {
				return &t.Partitions
			})
		},
		code: func(p *kmsg.DescribeProducersResponseTopicPartition) int16 { return p.ErrorCode },
	}
}

// keepNames returns those of list for whose place keep holds.
func keepNames[T any](list []T, keep func(place int) bool) []T {
	var kept []T
	for i, item := range list {
		if keep(i) {
			kept = append(kept, item)
		}
	}
	return kept
}

// each are pointers to the items of list.
func each[T any](list []T) []*T {
	all := make([]*T, len(list))
	for i := range list {
		all[i] = &list[i]
	}
	return all
}

func splitDescribeGroups() split[*kmsg.DescribeGroupsRequest, kmsg.DescribeGroupsResponseGroup] {
	return split[*kmsg.DescribeGroupsRequest, kmsg.DescribeGroupsResponseGroup]{
		owners: func(h *Handler, req *kmsg.DescribeGroupsRequest) []metastore.Broker {
			req.Groups = distinct(req.Groups, itself)
			return coordinatorsOf(h, req.Groups)
		},
		only: func(req *kmsg.DescribeGroupsRequest, keep func(int) bool) *kmsg.DescribeGroupsRequest {
			some := *req
			some.Groups = keepNames(req.Groups, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.DescribeGroupsResponseGroup {
			return each(resp.(*kmsg.DescribeGroupsResponse).Groups)
		},
		code: func(g *kmsg.DescribeGroupsResponseGroup) int16 { return g.ErrorCode },
	}
}

func splitDeleteGroups() split[*kmsg.DeleteGroupsRequest, kmsg.DeleteGroupsResponseGroup] {
	return split[*kmsg.DeleteGroupsRequest, kmsg.DeleteGroupsResponseGroup]{
		owners: func(h *Handler, req *kmsg.DeleteGroupsRequest) []metastore.Broker {
			return coordinatorsOf(h, req.Groups)
		},
		only: func(req *kmsg.DeleteGroupsRequest, keep func(int) bool) *kmsg.DeleteGroupsRequest {
			some := *req
			some.Groups = keepNames(req.Groups, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.DeleteGroupsResponseGroup {
			return each(resp.(*kmsg.DeleteGroupsResponse).Groups)
		},
		code: func(g *kmsg.DeleteGroupsResponseGroup) int16 { return g.ErrorCode },
	}
}

func splitConsumerGroupDescribe() split[*kmsg.ConsumerGroupDescribeRequest, kmsg.ConsumerGroupDescribeResponseGroup] {
	return split[*kmsg.ConsumerGroupDescribeRequest, kmsg.ConsumerGroupDescribeResponseGroup]{
		owners: func(h *Handler, req *kmsg.ConsumerGroupDescribeRequest) []metastore.Broker {
			req.Groups = distinct(req.Groups, itself)
			return coordinatorsOf(h, req.Groups)
		},
		only: func(req *kmsg.ConsumerGroupDescribeRequest, keep func(int) bool) *kmsg.ConsumerGroupDescribeRequest {
			some := *req
			some.Groups = keepNames(req.Groups, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.ConsumerGroupDescribeResponseGroup {
			return each(resp.(*kmsg.ConsumerGroupDescribeResponse).Groups)
		},
		code: func(g *kmsg.ConsumerGroupDescribeResponseGroup) int16 { return g.ErrorCode },
	}
}

// offsetFetchSpread: from version 8 on a request is about several groups.
func offsetFetchSpread() spread {
	several := split[*kmsg.OffsetFetchRequest, kmsg.OffsetFetchResponseGroup]{
		owners: func(h *Handler, req *kmsg.OffsetFetchRequest) []metastore.Broker {
			req.Groups = oncePerGroup(req.Groups)
			names := make([]string, len(req.Groups))
			for i := range names {
				names[i] = req.Groups[i].Group
			}
			return coordinatorsOf(h, names)
		},
		only: func(req *kmsg.OffsetFetchRequest, keep func(int) bool) *kmsg.OffsetFetchRequest {
			some := *req
			some.Groups = keepNames(req.Groups, keep)
			return &some
		},
		answers: func(resp kmsg.Response) []*kmsg.OffsetFetchResponseGroup {
			return each(resp.(*kmsg.OffsetFetchResponse).Groups)
		},
		code: func(g *kmsg.OffsetFetchResponseGroup) int16 { return g.ErrorCode },
	}
	one := byGroup(func(req *kmsg.OffsetFetchRequest) string { return req.Group })
	return spread{who: coordinator, run: func(ctx context.Context, h *Handler, r *wire.Request, req kmsg.Request, here func() kmsg.Response) kmsg.Response {
		if r.Version >= 8 {
			return several.run(ctx, h, r, req, here)
		}
		return one.run(ctx, h, r, req, here)
	}}
}

// byAll is an API that every broker answers for itself. merge puts what a broker
// says into what is known; nil is what one says that does not answer.
func byAll(merge func(h *Handler, into, from kmsg.Response, id metastore.BrokerID)) spread {
	return spread{who: everyBroker, run: func(ctx context.Context, h *Handler, r *wire.Request, req kmsg.Request, here func() kmsg.Response) kmsg.Response {
		waiting, cancel := context.WithTimeout(ctx, adminWait)
		defer cancel()
		var parts []*part
		for _, b := range h.Cluster.Brokers() {
			if to, ok := h.other(b.ID); ok {
				p := &part{to: to}
				if call, err := h.send(waiting, r, to, req, r.Body); err == nil {
					p.call = call
				}
				parts = append(parts, p)
			}
		}
		resp := here()
		if resp == nil {
			return nil
		}
		merge(h, resp, resp, h.Cluster.Self())
		for _, p := range parts {
			var from kmsg.Response
			if p.call != nil {
				from, _ = answerOf(waiting, p.call, req)
			}
			merge(h, resp, from, p.to.ID)
		}
		return resp
	}}
}

// adminWait bounds the wait for brokers that are asked about themselves.
const adminWait = 20 * time.Second

func mergeListGroups(_ *Handler, to, other kmsg.Response, _ metastore.BrokerID) {
	into := to.(*kmsg.ListGroupsResponse)
	from, ok := other.(*kmsg.ListGroupsResponse)
	switch {
	case from == into:
		return
	case !ok:
		into.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return
	case into.ErrorCode == 0:
		into.ErrorCode = from.ErrorCode
	}
	into.Groups = append(into.Groups, from.Groups...)
	into.Groups = distinct(into.Groups, func(g *kmsg.ListGroupsResponseGroup) string { return g.Group })
}

// mergeLogDirs names directories with their brokers: they have the same path.
func mergeLogDirs(_ *Handler, to, other kmsg.Response, id metastore.BrokerID) {
	into := to.(*kmsg.DescribeLogDirsResponse)
	from, ok := other.(*kmsg.DescribeLogDirsResponse)
	if !ok {
		missing := kmsg.NewDescribeLogDirsResponseDir()
		missing.Topics = []kmsg.DescribeLogDirsResponseDirTopic{}
		missing.ErrorCode, missing.TotalBytes, missing.UsableBytes = kerr.KafkaStorageError.Code, -1, -1
		from = &kmsg.DescribeLogDirsResponse{Dirs: []kmsg.DescribeLogDirsResponseDir{missing}}
	}
	for i := range from.Dirs {
		from.Dirs[i].Dir = "broker-" + strconv.Itoa(int(id)) + ":" + from.Dirs[i].Dir
	}
	if from != into {
		into.Dirs = append(into.Dirs, from.Dirs...)
	}
}

// farError is what another broker refused something with.
type farError struct {
	code *kerr.Error
	text string
}

// Error implements error.
func (e *farError) Error() string { return e.text }

// Unwrap gives the code.
func (e *farError) Unwrap() error { return e.code }

// errFar returns the error of a code that another broker answered; nil for 0.
func errFar(code int16, text *string) error {
	if code == 0 {
		return nil
	}
	known := kerr.TypedErrorForCode(code)
	if known == nil {
		known = kerr.UnknownServerError
	}
	if text != nil && *text != "" {
		return &farError{known, *text}
	}
	return known
}

// errFarLost is for what was sent and not answered: the client is to ask again.
var errFarLost = errors.New("the partition's owner was asked, and did not answer")

package api

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// A partition that moves has no owner for a moment: one broker has released it,
// and the other is yet to take it. Metadata names that one already, and requests
// that come there in between wait: a client that is refused may come again as
// late as its next look at the metadata, which is seconds with some.

// comes tells whether a request about p had better wait here: nobody leads p, and
// it is this broker, or under advertise=shared any, that is about to.
func (h *Handler) comes(r *wire.Request, p topic.Partition) bool {
	if h.Cluster.Leader(p).Broker != metastore.NoBroker {
		return false
	}
	next := h.Cluster.NextLeader(p).Broker
	return next == h.Cluster.Self() || next != metastore.NoBroker && h.shared(r)
}

// came tells whether a request about p, for which there was no owner here, finds
// one by now.
func (h *Handler) came(r *wire.Request, p topic.Partition) bool {
	leader := h.Cluster.Leader(p).Broker
	return leader == h.Cluster.Self() || leader != metastore.NoBroker && h.shared(r)
}

// awaitOwner waits until partitions that r is about, and that are about to be
// owned by who is asked, are; LeaderWaitMax from begun on at the longest. It
// reports whether it is worth it to try again: it waited, or some have come
// before it looked.
func (h *Handler) awaitOwner(ctx context.Context, r *wire.Request, begun time.Time, partitions ...topic.Partition) bool {
	coming := slices.DeleteFunc(slices.Clone(partitions), func(p topic.Partition) bool { return !h.comes(r, p) })
	if len(coming) == 0 {
		return slices.ContainsFunc(partitions, func(p topic.Partition) bool { return h.came(r, p) })
	}
	ctx, cancel := context.WithDeadline(ctx, begun.Add(h.cfg.LeaderWaitMax))
	defer cancel()
	h.Cluster.Await(ctx, func() bool {
		return !slices.ContainsFunc(coming, func(p topic.Partition) bool { return h.comes(r, p) })
	})
	return true
}

// goes tells whether p has still to find its next owner, after a request about it
// failed for that reason.
func (h *Handler) goes(p topic.Partition, why error) bool {
	switch h.Cluster.Leader(p).Broker {
	case h.Cluster.Self():
		return errors.Is(why, core.ErrMoving)
	case metastore.NoBroker:
		return h.Cluster.NextLeader(p).Broker != metastore.NoBroker
	}
	return false
}

// awaitNext waits until it is known who owns the partitions that this broker has
// refused, because it is giving them up or has done so: the answer can say it
// then (KIP-951), and clients go there at once. It waits LeaderWaitMax from begun
// on at the longest.
func (h *Handler) awaitNext(ctx context.Context, begun time.Time, refused map[topic.Partition]error) {
	maps.DeleteFunc(refused, func(p topic.Partition, why error) bool { return !h.goes(p, why) })
	if len(refused) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, begun.Add(h.cfg.LeaderWaitMax))
	defer cancel()
	h.Cluster.Await(ctx, func() bool {
		for p, why := range refused {
			if h.goes(p, why) {
				return false
			}
		}
		return true
	})
}

// awaitNew gives the partitions of new topics a moment, one for all of them, to
// find their owners.
func (h *Handler) awaitNew(ctx context.Context, ids ...topic.ID) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.LeaderWaitMax)
	defer cancel()
	h.Cluster.Await(ctx, func() bool {
		for _, id := range ids {
			t, ok := h.Topics.TopicByID(id)
			for i := int32(0); ok && i < t.Partitions; i++ {
				if h.leader(t, i).Broker == metastore.NoBroker {
					return false
				}
			}
		}
		return true
	})
}

// awaitCoordinators gives groups whose slots have no owner a moment, one for all
// of them, to find one.
func (h *Handler) awaitCoordinators(ctx context.Context, groups []string) {
	missing := func() bool {
		return slices.ContainsFunc(groups, func(g string) bool { _, ok := h.Cluster.Coordinator(g); return !ok })
	}
	if !missing() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.LeaderWaitMax)
	defer cancel()
	h.Cluster.Await(ctx, func() bool { return !missing() })
}

package api

import (
	"context"
	"fmt"
	"math"
	"net/netip"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/quota"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

// AlterClientQuotas
//
//   - 1 flexible.
//
// Sets and removes producer_byte_rate, consumer_byte_rate, request_percentage and
// controller_mutation_rate of users, client ids and both, and
// connection_creation_rate of addresses, each also for all that have none of
// their own. They are stored, act on every broker at once, and outlive it.
func alterClientQuotasRoute() *route {
	return &route{key: 49, name: "AlterClientQuotas", min: 0, max: 1, start: whole(alterClientQuotas),
		note: "clients are not authenticated, their user is ANONYMOUS"}
}

func alterClientQuotas(ctx context.Context, h *Handler, _ *wire.Request, req *kmsg.AlterClientQuotasRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, alterWithin)
	defer cancel()
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	resp.Entries = make([]kmsg.AlterClientQuotasResponseEntry, len(req.Entries))
	for i, asked := range req.Entries {
		err := h.alterQuota(ctx, asked, req.ValidateOnly)
		entry := &resp.Entries[i]
		entry.ErrorCode, entry.ErrorMessage = h.code(err), message(err)
		entry.Entity = make([]kmsg.AlterClientQuotasResponseEntryEntity, len(asked.Entity))
		for j, e := range asked.Entity {
			entry.Entity[j] = kmsg.AlterClientQuotasResponseEntryEntity{Type: e.Type, Name: e.Name}
		}
	}
	return resp
}

func (h *Handler) alterQuota(ctx context.Context, asked kmsg.AlterClientQuotasRequestEntry, validateOnly bool) error {
	entity, err := quotaEntity(asked.Entity)
	if err != nil {
		return err
	}
	named := make(map[string]bool)
	for _, op := range asked.Ops {
		if named[op.Key] {
			return fmt.Errorf("%w: %s is named twice", errRequest, op.Key)
		}
		named[op.Key] = true
		if err := checkQuota(entity, op); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	var altered map[string]float64
	err = h.Quotas.UpdateQuota(ctx, entity, func(set map[string]float64) (map[string]float64, error) {
		if set == nil {
			set = make(map[string]float64)
		}
		for _, op := range asked.Ops {
			if op.Remove {
				delete(set, op.Key)
			} else {
				set[op.Key] = op.Value
			}
		}
		altered = set
		return set, nil
	})
	if err == nil {
		h.log.Info("quota altered", "entity", entity, "quota", altered)
	}
	return err
}

// quotaEntity checks and translates the entity of a request.
func quotaEntity(parts []kmsg.AlterClientQuotasRequestEntryEntity) (e metastore.QuotaEntity, err error) {
	for _, p := range parts {
		part := metastore.QuotaNamed("")
		if p.Name != nil {
			if *p.Name == "" {
				return e, fmt.Errorf("%w: an empty %s", errRequest, p.Type)
			}
			part.Name = *p.Name
		}
		var at *metastore.QuotaPart
		switch p.Type {
		case quotaUser:
			at = &e.User
		case quotaClient:
			at = &e.ClientID
		case quotaIP:
			at = &e.IP
			if part.Name = canonicalIP(part.Name); part.Name != "" && !isIP(part.Name) {
				return e, fmt.Errorf("%w: %q is not an IP address", errRequest, part.Name)
			}
		default:
			return e, fmt.Errorf("%w: there are no entities of type %q", errRequest, p.Type)
		}
		if at.Given {
			return e, fmt.Errorf("%w: type %s is named twice", errRequest, p.Type)
		}
		*at = part
	}
	if user := e.User.Given || e.ClientID.Given; user == e.IP.Given {
		return e, fmt.Errorf("%w: a quota is for a user, a client-id, both, or an ip", errRequest)
	}
	return e, nil
}

// checkQuota checks that a key goes with the entity, and its value.
func checkQuota(e metastore.QuotaEntity, op kmsg.AlterClientQuotasRequestEntryOp) error {
	whole := false
	switch op.Key {
	case quota.Produce, quota.Fetch:
		whole = true
	case quota.Request, quota.Mutations:
	case quota.Connections:
		whole = true
	default:
		return fmt.Errorf("%w: there is no quota %q here", errRequest, op.Key)
	}
	switch {
	case e.IP.Given != (op.Key == quota.Connections):
		return fmt.Errorf("%w: %s is no quota of %s", errRequest, op.Key, e)
	case op.Remove:
		return nil
	case !(op.Value > 0) || math.IsInf(op.Value, 0): // NaN is not more than 0
		return fmt.Errorf("%w: %s is %v, want more than 0", errRequest, op.Key, op.Value)
	case whole && (op.Value != math.Trunc(op.Value) || op.Value >= 1<<63):
		return fmt.Errorf("%w: %s is %v, want a whole number", errRequest, op.Key, op.Value)
	}
	return nil
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// canonicalIP writes an address as connections are looked up, if it is one.
func canonicalIP(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	return a.Unmap().WithZone("").String()
}

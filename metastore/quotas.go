package metastore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// QuotaPart is what an entity says about one of user, client id and address. The
// zero QuotaPart says nothing.
type QuotaPart struct {
	Given bool
	Name  string // "" is the default: all that have none of their own
}

// QuotaNamed is the part for one name; "" for the default.
func QuotaNamed(name string) QuotaPart { return QuotaPart{true, name} }

// QuotaEntity is whom a quota is for: a user, a client id, both, or an address.
type QuotaEntity struct {
	User, ClientID, IP QuotaPart
}

// String is for messages.
func (e QuotaEntity) String() string { return quotaName(e) }

// Quotas are all quotas at one revision. They never change.
type Quotas struct {
	sets map[QuotaEntity]map[string]float64
	has  map[string]bool // keys that are set for anybody
}

// Of returns what is set for an entity, by Kafka's names. The caller must not
// change it.
func (q *Quotas) Of(e QuotaEntity) map[string]float64 { return q.sets[e] }

// Has tells whether a key is set for anybody.
func (q *Quotas) Has(key string) bool { return q.has[key] }

// Entities are those for which something is set, sorted.
func (q *Quotas) Entities() []QuotaEntity {
	return slices.SortedFunc(maps.Keys(q.sets), func(a, b QuotaEntity) int { return cmp.Compare(quotaName(a), quotaName(b)) })
}

func newQuotas(sets map[QuotaEntity]map[string]float64) *Quotas {
	q := &Quotas{maps.Clone(sets), make(map[string]bool)}
	for _, set := range sets {
		for key := range set {
			q.has[key] = true
		}
	}
	return q
}

// quotaValue is the value of quotas/<entity>.
type quotaValue struct {
	Quota map[string]float64 `json:"quota,omitempty"`
}

// UpdateQuota replaces what is set for an entity by what f makes of it, under
// compare-and-swap. f may be called several times and may return the empty set.
// It returns once this store's own catalog shows the result. An empty set keeps
// its key, for the reason that UpdateConfig tells. Errors: ErrInvalid, f's own.
func (s *Store) UpdateQuota(ctx context.Context, e QuotaEntity, f func(set map[string]float64) (map[string]float64, error)) error {
	what := fmt.Sprintf("set the quota of %s", e)
	if user := e.User.Given || e.ClientID.Given; user == e.IP.Given {
		return fmt.Errorf("%s: %w: want a user, a client id, both, or an address", what, ErrInvalid)
	}
	_, err := s.change(ctx, what, s.keys.quota(e), nil, nil, func(old kv.Entry) ([]byte, error) {
		var before quotaValue
		if old.ModRevision != 0 {
			if err := decode(old, &before); err != nil {
				return nil, err
			}
		}
		set, err := f(maps.Clone(before.Quota))
		return encode(quotaValue{set}), err
	})
	return err
}

func (v *View) applyQuota(rest string, e kv.Event) error {
	entity, err := parseQuota(rest)
	if err != nil {
		return err
	}
	v.quotas = nil
	var value quotaValue
	if !e.Deleted {
		if err := decode(e.Entry, &value); err != nil {
			return err
		}
	}
	if len(value.Quota) == 0 {
		delete(v.quotaSets, entity)
		return nil
	}
	v.quotaSets[entity] = value.Quota
	return nil
}

// Quotas returns all quotas.
func (v *View) Quotas() *Quotas { return v.quotas }

// Quotas returns all quotas: the same pointer as long as nothing of it changes.
func (c *Catalog) Quotas() *Quotas { return ask(c, (*View).Quotas) }

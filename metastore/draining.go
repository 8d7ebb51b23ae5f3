package metastore

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// drainingValue is the value of draining/<id>. The key is never deleted: a late
// twin of the write that made it could bring it back.
type drainingValue struct {
	Draining bool `json:"draining"`
}

// SetDraining says whether a broker is to own nothing: it gives up what it has,
// and nothing is meant for it, over restarts too, until this is called again
// with false. The broker need not live, nor ever have lived.
func (s *Store) SetDraining(ctx context.Context, id BrokerID, draining bool) error {
	what := fmt.Sprintf("set draining of broker %d to %t", id, draining)
	if id < 0 {
		return fmt.Errorf("%s: %w", what, ErrInvalid)
	}
	_, err := s.change(ctx, what, s.keys.draining(id), nil, nil, func(old kv.Entry) ([]byte, error) {
		var before drainingValue
		if old.ModRevision != 0 {
			if err := decode(old, &before); err != nil {
				return nil, err
			}
		}
		return encode(drainingValue{Draining: draining}), nil
	})
	return err
}

func (v *View) applyDraining(rest string, e kv.Event) error {
	id, err := parseBrokerID(rest)
	if err != nil {
		return err
	}
	var d drainingValue
	if !e.Deleted {
		if err := decode(e.Entry, &d); err != nil {
			return err
		}
	}
	delete(v.draining, id)
	if d.Draining {
		v.draining[id] = true
	}
	return nil
}

// AllDraining returns the brokers, live or not, that are to own nothing, sorted.
func (v *View) AllDraining() []BrokerID { return slices.Sorted(maps.Keys(v.draining)) }

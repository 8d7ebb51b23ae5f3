package metastore

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// ConfigKind is a kind of thing whose configuration is kept in config/<kind>/.
// Topics keep theirs in their own value.
type ConfigKind string

// The kinds.
const (
	ConfigBrokers ConfigKind = "brokers"
	ConfigGroups  ConfigKind = "groups"
)

// ConfigResource is what a configuration belongs to.
type ConfigResource struct {
	Kind ConfigKind
	Name string // a broker's id, "" for all brokers; a group's id
}

// Configs is all that is set on brokers and groups, at one revision. It never
// changes.
type Configs struct {
	sets map[ConfigResource]map[string]string
}

// Of returns what is set on a resource. The caller must not change it.
func (c *Configs) Of(r ConfigResource) map[string]string { return c.sets[r] }

// Names returns the resources of a kind on which something is set, sorted.
func (c *Configs) Names(kind ConfigKind) []string {
	var names []string
	for r := range c.sets {
		if r.Kind == kind {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// configValue is the value of config/<kind>/<name>.
type configValue struct {
	Config map[string]string `json:"config,omitempty"` // canonical keys
}

// UpdateConfig replaces what is set on a resource by what f makes of it, under
// compare-and-swap. f may be called several times and may return the empty set.
// What is set is returned once this store's own catalog shows it.
//
// An empty set keeps its key: if that were deleted, the write that once made it,
// sent twice and arriving late, would find it absent and make it again.
func (s *Store) UpdateConfig(ctx context.Context, r ConfigResource, f func(set map[string]string) (map[string]string, error)) (map[string]string, error) {
	what := fmt.Sprintf("configure %s %q", r.Kind, r.Name)
	if r.Kind == ConfigGroups && r.Name == "" {
		return nil, fmt.Errorf("%s: %w: a group without an id", what, ErrInvalid)
	}
	entry, err := s.change(ctx, what, s.keys.config(r), nil, nil, func(old kv.Entry) ([]byte, error) {
		var before configValue
		if old.ModRevision != 0 {
			if err := decode(old, &before); err != nil {
				return nil, err
			}
		}
		set, err := f(maps.Clone(before.Config))
		return encode(configValue{set}), err
	})
	if err != nil {
		return nil, err
	}
	var after configValue
	err = decode(entry, &after)
	return after.Config, err
}

func (v *View) applyConfig(rest string, e kv.Event) error {
	r, known, err := parseConfig(rest)
	if err != nil || !known {
		return err
	}
	v.configs = nil
	var value configValue
	if !e.Deleted {
		if err := decode(e.Entry, &value); err != nil {
			return err
		}
	}
	if len(value.Config) == 0 {
		delete(v.configSets, r)
		return nil
	}
	v.configSets[r] = value.Config
	return nil
}

// Configs returns what is set on brokers and groups.
func (v *View) Configs() *Configs { return v.configs }

// Configs returns what is set on brokers and groups: the same pointer as long
// as nothing of it changes.
func (c *Catalog) Configs() *Configs { return ask(c, (*View).Configs) }

package api

import (
	"context"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// This file is what the APIs about configuration have in common: which resources
// there are, where each keeps what is set, and how that is changed.

// configResource is what a configuration belongs to.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// once refuses a resource that a request names several times: which of them was
// meant to count cannot be known.
func (r configResource) once(seen map[configResource]int) error {
	if seen[r] > 1 {
		return fmt.Errorf("%w: %v %q is named %d times, each resource must be named once", errRequest, r.kind, r.name, seen[r])
	}
	return nil
}

// configKeys is the table of keys that a kind of resource has.
type configKeys interface {
	// lookup returns the name under which a key is stored, and whether it is a
	// list; for an unknown key an error that says so.
	lookup(name string) (canonical string, list bool, err error)
	// inForce is the value of a key that holds when only set is set.
	inForce(set map[string]string, name string) string
	// validate checks a whole set and returns it as it is to be stored.
	validate(set map[string]string) (map[string]string, error)
}

// configChange makes a new set of a resource's keys out of the present one,
// which it leaves as it is.
type configChange func(keys configKeys, set map[string]string) (map[string]string, error)

// alterResource changes what is set on a resource: checked as a whole, and by
// compare-and-swap, so that two clients who change different keys at once both
// succeed.
func (h *Handler) alterResource(ctx context.Context, resource configResource, validateOnly bool, change configChange) error {
	if resource.kind != kmsg.ConfigResourceTypeTopic {
		return fmt.Errorf("%w: only topics have a configuration that can be altered", errRequest)
	}
	return h.alterTopic(ctx, resource.name, validateOnly, change)
}

func (h *Handler) alterTopic(ctx context.Context, name string, validateOnly bool, change configChange) error {
	t, err := h.lookup(name)
	if err != nil {
		return err
	}
	keys := topicKeys{h.cfg.TopicDefaults}
	altered, err := change(keys, t.Config)
	if err != nil || validateOnly {
		return err
	}
	err = h.Topics.UpdateTopic(ctx, t.ID, func(t *metastore.Topic) error {
		altered, err = change(keys, t.Config)
		t.Config = altered
		return err
	})
	if err == nil {
		h.log.Info("topic configuration altered", "topic", t.Name, "config", altered)
	}
	return err
}

// topicKeys are the keys of topics, over the cluster's defaults.
type topicKeys struct{ defaults topicconfig.Defaults }

func (k topicKeys) lookup(name string) (canonical string, list bool, err error) {
	key, ok := topicconfig.Lookup(name)
	if !ok { // Validate says it best
		_, err := topicconfig.Validate(map[string]string{name: ""}, k.defaults)
		return name, false, err
	}
	return key.Name, key.Type == topicconfig.List, nil
}

func (k topicKeys) inForce(set map[string]string, name string) string {
	for _, e := range topicconfig.Entries(set, k.defaults) {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func (k topicKeys) validate(set map[string]string) (map[string]string, error) {
	return topicconfig.Validate(set, k.defaults)
}

// cloned is a set that may be changed.
func cloned(set map[string]string) map[string]string {
	if set == nil {
		return make(map[string]string)
	}
	return maps.Clone(set)
}

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
// there are, where each keeps what is set, how that is shown and changed.
// configs_broker.go has the keys of brokers, configs_logger.go their loggers,
// configs_group.go those of groups.

// configResource is what a configuration belongs to.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// configKeys is the table of keys that a resource has.
type configKeys interface {
	// lookup returns the name under which a key is stored, and whether it is a
	// list; for a key that cannot be set an error that says so. One that cannot
	// be set is never set, and to remove it is allowed.
	lookup(name string, remove bool) (canonical string, list bool, err error)
	// inForce is the value of a key that holds when only set is set.
	inForce(set map[string]string, name string) string
	// validate checks a whole set and returns it as it is to be stored.
	validate(set map[string]string) (map[string]string, error)
}

// configChange makes a new set of a resource's keys out of the present one,
// which it leaves as it is.
type configChange func(keys configKeys, set map[string]string) (map[string]string, error)

// configEntry is a key with the value in force, for DescribeConfigs.
type configEntry struct {
	topicconfig.Entry
	readOnly bool
}

// configEntries lists what a resource's configuration is.
func (h *Handler) configEntries(r configResource) ([]configEntry, error) {
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		t, err := h.lookup(r.name)
		if err != nil {
			return nil, err
		}
		var entries []configEntry
		for _, e := range topicconfig.Entries(t.Config, h.defaults().layers...) {
			entries = append(entries, configEntry{Entry: e})
		}
		return entries, nil
	case kmsg.ConfigResourceTypeBroker:
		return h.brokerEntries(r.name)
	case kmsg.ConfigResourceTypeBrokerLogger:
		return h.loggerEntries(r.name)
	case kmsg.ConfigResourceTypeGroupConfig:
		return h.groupEntries(r.name)
	}
	return nil, fmt.Errorf("%w: resources of type %v have no configuration", errRequest, r.kind)
}

// configAlteration is what a request asks to be changed of one resource.
type configAlteration struct {
	of     configResource
	change configChange
}

// alterResources changes what is set on resources, one after the other, and
// returns an error for each. validateOnly says that nothing is to be stored.
func (h *Handler) alterResources(ctx context.Context, asked []configAlteration, validateOnly bool) []error {
	ctx, cancel := context.WithTimeout(ctx, alterWithin)
	defer cancel()
	seen := make(map[configResource]int, len(asked))
	for _, a := range asked {
		seen[a.of]++
	}
	errs := make([]error, len(asked))
	for i, a := range asked {
		if n := seen[a.of]; n > 1 { // which of them was meant to count cannot be known
			errs[i] = fmt.Errorf("%w: %v %q is named %d times, each resource must be named once", errRequest, a.of.kind, a.of.name, n)
			continue
		}
		errs[i] = h.alterResource(ctx, a.of, validateOnly, a.change)
	}
	return errs
}

// alterResource changes what is set on a resource: checked as a whole, and by
// compare-and-swap, so that two clients who change different keys at once both
// succeed.
func (h *Handler) alterResource(ctx context.Context, r configResource, validateOnly bool, change configChange) error {
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		return h.alterTopic(ctx, r.name, validateOnly, change)
	case kmsg.ConfigResourceTypeBroker:
		resource, err := h.brokerResource(r.name)
		if err != nil {
			return err
		}
		return h.alterStored(ctx, resource, brokerKeys{h, resource}, validateOnly, change)
	case kmsg.ConfigResourceTypeBrokerLogger:
		return h.alterLogger(r.name, validateOnly, change)
	case kmsg.ConfigResourceTypeGroupConfig:
		resource, err := groupResource(r.name)
		if err != nil {
			return err
		}
		return h.alterStored(ctx, resource, h.groupKeys(), validateOnly, change)
	}
	return fmt.Errorf("%w: resources of type %v have no configuration that can be altered", errRequest, r.kind)
}

func (h *Handler) alterTopic(ctx context.Context, name string, validateOnly bool, change configChange) error {
	t, err := h.lookup(name)
	if err != nil {
		return err
	}
	keys := topicKeys{h.defaults()}
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

// alterStored changes what is set on something other than a topic.
func (h *Handler) alterStored(ctx context.Context, r metastore.ConfigResource, keys configKeys, validateOnly bool, change configChange) error {
	if validateOnly {
		_, err := change(keys, h.Configs.Configs().Of(r))
		return err
	}
	altered, err := h.Configs.UpdateConfig(ctx, r, func(set map[string]string) (map[string]string, error) { return change(keys, set) })
	if err == nil {
		h.log.Info("configuration altered", "of", r.Kind, "name", r.Name, "config", altered)
	}
	return err
}

// topicKeys are the keys of topics, over what holds for those that do not say.
type topicKeys struct{ *defaults }

func (k topicKeys) lookup(name string, _ bool) (canonical string, list bool, err error) {
	key, ok := topicconfig.Lookup(name)
	if !ok { // Validate says it best
		_, err := topicconfig.Validate(map[string]string{name: ""}, k.topic)
		return name, false, err
	}
	return key.Name, key.Type == topicconfig.List, nil
}

func (k topicKeys) inForce(set map[string]string, name string) string {
	for _, e := range topicconfig.Entries(set, k.layers...) {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func (k topicKeys) validate(set map[string]string) (map[string]string, error) {
	return topicconfig.Validate(set, k.topic)
}

// cloned is a set that may be changed.
func cloned(set map[string]string) map[string]string {
	if set == nil {
		return make(map[string]string)
	}
	return maps.Clone(set)
}

package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// StaticConfig is a setting of the process under Kafka's name for it: shown by
// DescribeConfigs, and not to be altered there, unless package dynamicconfig has
// a key of that name.
type StaticConfig struct {
	Name  string
	Value string
	Type  topicconfig.Type
	Given bool   // somebody set it; else it is the default
	Doc   string // what it does, and where it is set
}

// brokerResource is where the configuration of a broker is kept that clients
// call by that name.
func (h *Handler) brokerResource(name string) (metastore.ConfigResource, error) {
	if name == "" {
		return allBrokers, nil
	}
	if h.cfg.Shared && name == metastore.SharedNode.String() {
		return metastore.ConfigResource{}, fmt.Errorf("%w: node %s is all brokers at one address: what is set while they run is set for all of them (kafka-configs --entity-default)", errRequest, name)
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil || !slices.ContainsFunc(h.Cluster.Brokers(), func(b metastore.Broker) bool { return int64(b.ID) == id }) {
		return metastore.ConfigResource{}, fmt.Errorf("%w: there is no broker %q", errRequest, name)
	}
	return metastore.ConfigResource{Kind: metastore.ConfigBrokers, Name: metastore.BrokerID(id).String()}, nil
}

// brokerEntries lists the configuration of this broker, or what is set on all.
func (h *Handler) brokerEntries(name string) ([]configEntry, error) {
	if h.cfg.Shared && name == metastore.SharedNode.String() {
		name = h.self().Name // whichever is asked
	}
	r, err := h.brokerResource(name)
	switch {
	case err != nil:
		return nil, err
	case r == allBrokers:
		return h.allBrokersEntries(), nil
	case r != h.self():
		return nil, fmt.Errorf("%w: this is broker %v, broker %s knows its own configuration", errRequest, h.Cluster.Self(), name)
	}
	entries := []configEntry{{readOnly: true, Entry: topicconfig.Entry{
		Name: "broker.id", Value: r.Name, Type: topicconfig.Int, Source: topicconfig.SourceCluster, Documentation: "The broker's number.",
		Synonyms: []topicconfig.Synonym{{Name: "broker.id", Value: r.Name, Source: topicconfig.SourceCluster}},
	}}}
	for _, s := range h.cfg.Static {
		if _, dynamic := dynamicconfig.Lookup(s.Name); dynamic {
			continue // below, over what it is
		}
		source := topicconfig.SourceDefault
		if s.Given {
			source = topicconfig.SourceCluster
		}
		entries = append(entries, configEntry{readOnly: true, Entry: topicconfig.Entry{
			Name: s.Name, Value: s.Value, Type: s.Type, Source: source, IsDefault: !s.Given, Documentation: s.Doc,
			Synonyms: []topicconfig.Synonym{{Name: s.Name, Value: s.Value, Source: source}},
		}})
	}
	for _, key := range dynamicconfig.Keys() {
		entries = append(entries, h.brokerEntry(key, true))
	}
	slices.SortFunc(entries, func(a, b configEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// allBrokersEntries lists what is set on all brokers and nothing else.
func (h *Handler) allBrokersEntries() []configEntry {
	var entries []configEntry
	set := h.Configs.Configs().Of(allBrokers)
	for _, key := range dynamicconfig.Keys() {
		if _, ok := set[key.Name]; ok {
			entries = append(entries, h.brokerEntry(key, false))
		}
	}
	return entries
}

// brokerEntry is a key with all places that give it a value, the strongest
// first; own says whether this broker's own place counts.
func (h *Handler) brokerEntry(key dynamicconfig.Key, own bool) configEntry {
	e := configEntry{readOnly: !key.Alterable, Entry: topicconfig.Entry{Name: key.Name, Type: key.Type, Documentation: key.Doc}}
	add := func(value string, source topicconfig.Source) {
		e.Synonyms = append(e.Synonyms, topicconfig.Synonym{Name: key.Name, Value: value, Source: source})
	}
	configs := h.Configs.Configs()
	if value, ok := dynamicconfig.Value(key.Name, configs.Of(h.self())); ok && own {
		add(value, topicconfig.SourceBroker)
	}
	if value, ok := dynamicconfig.Value(key.Name, configs.Of(allBrokers)); ok {
		add(value, topicconfig.SourceBrokerDefault)
	}
	if value, ok := h.given(key); ok {
		add(value, topicconfig.SourceCluster)
	}
	add(key.Default, topicconfig.SourceDefault)
	e.Value, e.Source = e.Synonyms[0].Value, e.Synonyms[0].Source
	e.IsDefault = e.Source == topicconfig.SourceDefault
	return e
}

// given is what the process's own configuration says about a key.
func (h *Handler) given(key dynamicconfig.Key) (string, bool) {
	if s, ok := h.static(key.Name); ok && s.Given {
		return s.Value, true
	}
	value, ok := h.cfg.TopicDefaults[key.Topic]
	return value, ok
}

// brokerKeys are the keys that can be altered on a broker, or on all.
type brokerKeys struct {
	h  *Handler
	of metastore.ConfigResource
}

func (k brokerKeys) lookup(name string, remove bool) (canonical string, list bool, err error) {
	key, ok := dynamicconfig.Lookup(name)
	switch {
	case ok && (remove || key.Alterable && (key.PerBroker || k.of == allBrokers)):
		return key.Name, key.Type == topicconfig.List, nil
	case ok && key.Alterable:
		return "", false, fmt.Errorf("%w: %s holds for whatever is stored, and not for one broker: it is set for all brokers (kafka-configs --entity-default)", errRequest, name)
	case ok:
		return "", false, fmt.Errorf("%w: %s cannot be altered: %s", errRequest, name, key.Doc)
	}
	var statics []string
	for _, s := range k.h.cfg.Static {
		if s.Name == name && remove {
			return name, false, nil
		}
		if s.Name == name {
			return "", false, fmt.Errorf("%w: %s cannot be altered while the broker runs: %s", errRequest, name, s.Doc)
		}
		statics = append(statics, s.Name)
	}
	return "", false, dynamicconfig.Unknown(name, statics...)
}

func (k brokerKeys) inForce(set map[string]string, name string) string {
	sets := []map[string]string{set}
	if k.of != allBrokers {
		sets = append(sets, k.h.Configs.Configs().Of(allBrokers))
	}
	if value, ok := dynamicconfig.Value(name, sets...); ok {
		return value
	}
	key, _ := dynamicconfig.Lookup(name)
	if value, ok := k.h.given(key); ok {
		return value
	}
	return key.Default
}

func (k brokerKeys) validate(set map[string]string) (map[string]string, error) {
	canonical, err := dynamicconfig.Validate(set)
	if err != nil {
		return nil, err
	}
	if n, ok := number(dynamicconfig.NumPartitions, 32, canonical); ok && n > int64(k.h.cfg.PartitionsMax) {
		return nil, fmt.Errorf("%w: %s: a topic has at most %d partitions", errConfig, dynamicconfig.NumPartitions, k.h.cfg.PartitionsMax)
	}
	return canonical, nil
}

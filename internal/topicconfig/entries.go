package topicconfig

import (
	"maps"
	"slices"
)

// Source is where a value comes from, with Kafka's numbers (DescribeConfigs).
type Source int8

// The sources that occur here.
const (
	SourceTopic         Source = 1 // set on the topic
	SourceBroker        Source = 2 // set on one broker while it runs
	SourceBrokerDefault Source = 3 // set on all brokers while they run
	SourceCluster       Source = 4 // the cluster's configuration
	SourceDefault       Source = 5 // Chronik's or Kafka's default
)

// Layer is one place where the cluster's defaults are set.
type Layer struct {
	Source Source
	Set    Defaults
}

// Merge is what holds when the first layer that has a key decides.
func Merge(layers ...Layer) Defaults {
	merged := make(Defaults)
	for _, l := range slices.Backward(layers) {
		maps.Copy(merged, l.Set)
	}
	return merged
}

// Entry is one key with its value in force, as DescribeConfigs shows it.
type Entry struct {
	Name          string
	Value         string
	IsDefault     bool // nobody set it: neither the topic nor the cluster
	Source        Source
	Type          Type
	Synonyms      []Synonym // all values, the one in force first
	Documentation string
	Effect        Effect
}

// Synonym is one of the places that give a key a value.
type Synonym struct {
	Name   string // Kafka's cluster-wide name where there is one, else the key's
	Value  string
	Source Source
}

// Entries lists every key, sorted by name, with the value that holds for a
// topic. Of the layers below it the strongest comes first.
func Entries(set map[string]string, layers ...Layer) []Entry {
	v := values{set: set, cluster: Merge(layers...)}
	entries := make([]Entry, 0, len(table.sorted))
	for _, key := range table.sorted {
		synonyms := v.synonyms(key, layers)
		entries = append(entries, Entry{
			Name:          key.Name,
			Value:         synonyms[0].Value,
			IsDefault:     synonyms[0].Source == SourceDefault,
			Source:        synonyms[0].Source,
			Type:          key.Type,
			Synonyms:      synonyms,
			Documentation: key.Documentation(),
			Effect:        key.Effect,
		})
	}
	return entries
}

// Documentation is the key's sentence with what is allowed and, where setting
// it does nothing (yet), that.
func (k Key) Documentation() string {
	doc := k.Doc + " Allowed: " + k.Values + "."
	switch k.Effect {
	case Stored:
		doc += " Kept and shown, not acted on in this version."
	case Inert:
		doc += " Accepted and kept for Kafka's tools, without effect."
	}
	return doc
}

func (v values) synonyms(key Key, layers []Layer) []Synonym {
	name := key.Broker
	if name == "" {
		name = key.Name
	}
	var list []Synonym
	if value, ok := v.set[key.Name]; ok {
		list = append(list, Synonym{Name: key.Name, Value: value, Source: SourceTopic})
	}
	for _, l := range layers {
		if value, ok := l.Set[key.Name]; ok {
			list = append(list, Synonym{Name: name, Value: value, Source: l.Source})
		}
	}
	return append(list, Synonym{Name: name, Value: v.fallback(key), Source: SourceDefault})
}

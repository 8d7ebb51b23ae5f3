package api

import (
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// sourceGroup is Kafka's number for what is set on a group.
const sourceGroup topicconfig.Source = 8

// groupResource is where the configuration of a group is kept, which does not
// have to exist.
func groupResource(name string) (metastore.ConfigResource, error) {
	if name == "" {
		return metastore.ConfigResource{}, fmt.Errorf("%w: a group without an id", errRequest)
	}
	return metastore.ConfigResource{Kind: metastore.ConfigGroups, Name: name}, nil
}

func (h *Handler) groupEntries(name string) ([]configEntry, error) {
	r, err := groupResource(name)
	if err != nil {
		return nil, err
	}
	set := h.Configs.Configs().Of(r)
	var entries []configEntry
	for _, key := range dynamicconfig.GroupKeys() {
		e := topicconfig.Entry{Name: key.Name, Type: key.Type, Documentation: key.Doc}
		if value, ok := set[key.Name]; ok {
			e.Synonyms = append(e.Synonyms, topicconfig.Synonym{Name: key.Name, Value: value, Source: sourceGroup})
		}
		if s, ok := h.static(key.Broker); ok && s.Given {
			e.Synonyms = append(e.Synonyms, topicconfig.Synonym{Name: key.Broker, Value: s.Value, Source: topicconfig.SourceCluster})
		}
		e.Synonyms = append(e.Synonyms, topicconfig.Synonym{Name: key.Broker, Value: key.Default, Source: topicconfig.SourceDefault})
		e.Value, e.Source = e.Synonyms[0].Value, e.Synonyms[0].Source
		e.IsDefault = e.Source == topicconfig.SourceDefault
		entries = append(entries, configEntry{Entry: e})
	}
	return entries, nil
}

// static finds a setting of the process by Kafka's name.
func (h *Handler) static(name string) (StaticConfig, bool) {
	i := slices.IndexFunc(h.cfg.Static, func(s StaticConfig) bool { return s.Name == name })
	if i < 0 {
		return StaticConfig{}, false
	}
	return h.cfg.Static[i], true
}

// groupKeys are the keys of groups, over what holds for those that do not say.
type groupKeys struct{ others map[string]string }

func (h *Handler) groupKeys() groupKeys {
	others := make(map[string]string)
	for _, key := range dynamicconfig.GroupKeys() {
		if s, ok := h.static(key.Broker); ok {
			others[key.Name] = s.Value
		}
	}
	return groupKeys{others}
}

func (groupKeys) lookup(name string, _ bool) (canonical string, list bool, err error) {
	key, err := dynamicconfig.LookupGroup(name)
	return key.Name, false, err
}

func (k groupKeys) inForce(set map[string]string, name string) string {
	ms, _ := dynamicconfig.GroupValue(name, set, k.others)
	return fmt.Sprint(ms)
}

func (k groupKeys) validate(set map[string]string) (map[string]string, error) {
	return dynamicconfig.ValidateGroup(set, k.others)
}

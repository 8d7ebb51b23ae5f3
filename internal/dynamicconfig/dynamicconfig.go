// Package dynamicconfig knows the configuration keys that are changed while the
// cluster runs, by the Kafka protocol and with Kafka's names: those of brokers,
// most of which are the defaults of topic settings, and those of groups.
//
// It promises that a set which Validate accepted can be stored, shown and acted
// on; that a key nobody would act on is not in the table of what can be altered;
// and that a refusal names key, value and what is allowed. It stores nothing.
package dynamicconfig

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/suggest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Key is one configuration key of a broker.
type Key struct {
	Name    string
	Type    topicconfig.Type
	Default string
	Doc     string // what it does and what is allowed
	Topic   string // the topic setting that it is the default of; "" for none
	// Alterable says that it can be changed while the cluster runs. What cannot
	// is without effect, and shown for Kafka's tools.
	Alterable bool
	// PerBroker says that it can also be set on one broker, which then acts by
	// it alone. What cannot holds for all that is stored, whoever serves it.
	PerBroker bool

	check func(value string) (canonical, allowed string)
}

// Keys returns all keys, sorted by name. The caller must not change them.
func Keys() []Key { return brokers.sorted }

// Lookup finds a key by its name.
func Lookup(name string) (Key, bool) {
	i, ok := brokers.byName[name]
	if !ok {
		return Key{}, false
	}
	return brokers.sorted[i], true
}

// Error says why something was refused.
type Error struct {
	Of     string // broker, group
	Key    string
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return e.Of + " config " + e.Reason }

// Unknown is the refusal of a key that is in no table. further are names that
// the caller knows besides.
func Unknown(name string, further ...string) error {
	return &Error{"broker", name, fmt.Sprintf("%q is unknown%s", name, suggest.Hint(name, append(further, brokers.names...)))}
}

// Validate checks what is set on brokers and returns the set as it is to be
// stored. Of several faults that of the first key in alphabetical order is
// returned, as *Error.
func Validate(set map[string]string) (map[string]string, error) {
	canonical := make(map[string]string, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		key, ok := Lookup(name)
		if !ok || !key.Alterable {
			return nil, Unknown(name)
		}
		value, allowed := key.check(set[name])
		if allowed != "" {
			return nil, &Error{"broker", name, fmt.Sprintf("%s: value %q is not allowed: %s", name, set[name], allowed)}
		}
		canonical[name] = value
	}
	return canonical, nil
}

// TopicDefaults are those of a stored set that are defaults of topic settings,
// by the names that topics have for them. What Validate would refuse (stored by
// another version) counts as not set.
func TopicDefaults(set map[string]string) topicconfig.Defaults {
	defaults := make(topicconfig.Defaults, len(set))
	for name, value := range set {
		key, ok := Lookup(name)
		if !ok || key.Topic == "" || !key.Alterable {
			continue
		}
		if canonical, refused := key.check(value); refused == "" {
			defaults[key.Topic] = canonical
		}
	}
	return defaults
}

// Value is what a key has in the first of the sets that give it one.
func Value(name string, sets ...map[string]string) (value string, ok bool) {
	key, known := Lookup(name)
	if !known {
		return "", false
	}
	for _, set := range sets {
		if value, ok := set[name]; ok {
			if canonical, refused := key.check(value); refused == "" {
				return canonical, true
			}
		}
	}
	return "", false
}

// Names of the keys that are no topic setting's default.
const (
	AutoCreateTopics   = "auto.create.topics.enable"
	NumPartitions      = "num.partitions"
	ReplicationDefault = "default.replication.factor"
)

type table struct {
	sorted []Key
	byName map[string]int
	names  []string // of what can be altered, sorted
}

var brokers = newTable(append(topicDefaults(), []Key{
	{Name: AutoCreateTopics, Type: topicconfig.Boolean, Default: "true", Alterable: true, PerBroker: true,
		Doc: "Whether asking for an unknown topic creates it. Allowed: true or false.", check: boolean},
	{Name: NumPartitions, Type: topicconfig.Int, Default: "1", Alterable: true, PerBroker: true,
		Doc: "Partitions of a topic that is created without a number. Allowed: at least 1.", check: integer(math.MaxInt32)},
	{Name: ReplicationDefault, Type: topicconfig.Int, Default: "1", Alterable: true, PerBroker: true,
		Doc: "Replication factor of a topic that is created without one; durability comes from the bucket, whatever it is. Allowed: at least 1.", check: integer(math.MaxInt16)},
	throttle("leader.replication.throttled.rate"), throttle("follower.replication.throttled.rate"),
	throttle("replica.alter.log.dirs.io.max.bytes.per.second"),
}...))

// throttle is a limit of copying between replicas: kafka-reassign-partitions
// removes all of them when it is done.
func throttle(name string) Key {
	return Key{Name: name, Type: topicconfig.Long, Default: strconv.FormatInt(math.MaxInt64, 10), check: integer(math.MaxInt64),
		Doc: "Bytes per second of copying between replicas; nothing is copied between brokers, so there is nothing to limit."}
}

func newTable(keys []Key) table {
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	t := table{sorted: keys, byName: make(map[string]int)}
	for i, k := range keys {
		t.byName[k.Name] = i
		if k.Alterable {
			t.names = append(t.names, k.Name)
		}
	}
	return t
}

// topicDefaults are Kafka's cluster-wide settings behind topic settings. Those
// behind a setting that is not acted on cannot be altered: on a topic they are
// kept because tools set them there, here nobody has to.
func topicDefaults() []Key {
	var keys []Key
	for _, k := range topicconfig.Keys() {
		if k.Broker == "" {
			continue
		}
		keys = append(keys, Key{
			Name: k.Broker, Type: k.Type, Default: k.Default, Doc: k.Documentation(), Topic: k.Name,
			Alterable: k.Effect == topicconfig.Active, PerBroker: onProduce(k.Name), check: k.Check,
		})
	}
	return keys
}

// onProduce says that a topic setting is acted on by the broker that takes a
// batch in, and by nobody else.
func onProduce(topic string) bool {
	return topic == "max.message.bytes" || strings.HasPrefix(topic, "message.timestamp.") || strings.HasPrefix(topic, "compression.")
}

func boolean(value string) (string, string) {
	if value == "true" || value == "false" {
		return value, ""
	}
	return "", "it must be exactly true or false"
}

func integer(most int64) func(string) (string, string) {
	return func(value string) (string, string) {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil || n < 1 || n > most {
			return "", fmt.Sprintf("it must be an integer from 1 to %d", most)
		}
		return strconv.FormatInt(n, 10), ""
	}
}

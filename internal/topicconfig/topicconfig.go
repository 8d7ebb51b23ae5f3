// Package topicconfig knows every configuration key of a topic: its values, its
// default, what it does, and what a whole set of them means together.
//
// It promises that a set which Validate accepted can be stored, shown and
// resolved; that a key or value which nobody would act on as written is
// refused with a reason; and that a key without a meaning in Chronik says so in
// its documentation. It does not store anything and reads no configuration:
// the cluster's own defaults are handed in.
package topicconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/internal/suggest"
)

// Type is a value's type, with Kafka's numbers (DescribeConfigs).
type Type int8

// The types of DescribeConfigs that occur here.
const (
	Boolean Type = 1
	String  Type = 2
	Int     Type = 3
	Long    Type = 5
	Double  Type = 6
	List    Type = 7
)

// Effect says what setting a key does in this version.
type Effect int8

const (
	// Active: Chronik acts on the value.
	Active Effect = iota
	// Stored: validated, kept and shown; the feature it belongs to comes later.
	Stored
	// Inert: accepted for Kafka's tools, kept and shown; it has no meaning in
	// a log whose replicas are objects in a bucket.
	Inert
)

// String is the word used in documentation.
func (e Effect) String() string {
	return [...]string{"active", "stored until its feature is built", "without effect"}[e]
}

// Key describes one configuration key. The table of all of them is Keys.
type Key struct {
	Name    string   // canonical
	Aliases []string // accepted, never stored
	Type    Type
	Default string // as it is shown; "" is Kafka's way of showing unset
	Values  string // what is allowed, in words: "true or false", "1..22"
	Doc     string // one sentence
	Effect  Effect
	// Broker is the name of Kafka's cluster-wide setting behind a topic's key,
	// shown as a synonym. Empty where there is none.
	Broker string

	check check
}

// Defaults are the cluster's own defaults by canonical key. They stand between
// what a topic sets and the defaults of Keys. ValidateDefaults checks them.
type Defaults map[string]string

// Error says why a configuration was refused. Its text names key, value and
// what is allowed, as INVALID_CONFIG's message must.
type Error struct {
	Key     string
	Value   string
	Allowed string // what would have been accepted, or the reason
	unknown bool
}

// Error implements error.
func (e *Error) Error() string {
	if e.unknown {
		return fmt.Sprintf("unknown topic config %q%s", e.Key, e.Allowed)
	}
	return fmt.Sprintf("topic config %s: value %q is not allowed: %s", e.Key, e.Value, e.Allowed)
}

// Keys returns all keys, sorted by name. The caller must not change them.
func Keys() []Key { return table.sorted }

// Lookup finds a key by its name or an alias.
func Lookup(name string) (Key, bool) {
	i, ok := table.byName[name]
	if !ok {
		return Key{}, false
	}
	return table.sorted[i], true
}

// Check returns the canonical form of a value for this key alone, or says what
// is allowed.
func (k Key) Check(value string) (canonical, allowed string) { return k.check(value) }

// Validate checks everything that a topic sets, each key alone and all of them
// together with the cluster's defaults, and returns the set as it is to be
// stored: canonical names, canonical values. Of several faults the one of the
// first key in alphabetical order is returned, as *Error.
func Validate(set map[string]string, cluster Defaults) (map[string]string, error) {
	canonical, err := canonicalise(set)
	if err != nil {
		return nil, err
	}
	if err := consistent(values{set: canonical, cluster: cluster}); err != nil {
		return nil, err
	}
	return canonical, nil
}

// ValidateDefaults checks a cluster's defaults as Validate does a topic's set
// and returns them canonical.
func ValidateDefaults(cluster map[string]string) (Defaults, error) {
	canonical, err := Validate(cluster, nil)
	return Defaults(canonical), err
}

func canonicalise(set map[string]string) (map[string]string, error) {
	canonical := make(map[string]string, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		value := set[name]
		key, ok := Lookup(name)
		if !ok {
			return nil, &Error{Key: name, Value: value, unknown: true, Allowed: suggest.Hint(name, table.names)}
		}
		if !utf8.ValidString(value) { // it would be another one once it was written as JSON
			return nil, &Error{Key: name, Value: value, Allowed: "it must be UTF-8"}
		}
		stored, allowed := key.check(value)
		if allowed != "" {
			return nil, &Error{Key: name, Value: value, Allowed: allowed}
		}
		if before, twice := canonical[key.Name]; twice && before != stored {
			return nil, &Error{Key: name, Value: value,
				Allowed: fmt.Sprintf("it is another name of %s, which is set to %q", key.Name, before)}
		}
		canonical[key.Name] = stored
	}
	return canonical, nil
}

// keyTable is Keys with its indexes, built once.
type keyTable struct {
	sorted []Key
	byName map[string]int // canonical names and aliases
	names  []string       // the same, sorted
}

var table = newTable(slices.Concat(chronikKeys(), columnarKeys(), vectorKeys(), kafkaKeys()))

func newTable(keys []Key) keyTable {
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	t := keyTable{sorted: keys, byName: make(map[string]int)}
	for i, k := range keys {
		t.byName[k.Name] = i
		for _, alias := range k.Aliases {
			t.byName[alias] = i
		}
	}
	t.names = slices.Sorted(maps.Keys(t.byName))
	return t
}

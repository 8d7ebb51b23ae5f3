package consumer

import (
	"encoding/binary"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/topic"
)

// Topic is one topic that exists.
type Topic struct {
	ID         topic.ID
	Name       string
	Partitions int32
}

// Topics is what exists at one moment. It is a value: nobody changes it, and any
// number of groups may look at the same one.
type Topics struct {
	version int64
	all     []Topic // by name
	byName  map[string]int
	byID    map[topic.ID]int
}

// NewTopics returns a view of all. Two views with the same version show the same
// topics; a group looks anew when the version is another.
func NewTopics(version int64, all []Topic) *Topics {
	t := &Topics{version: version, all: slices.Clone(all), byName: make(map[string]int, len(all)), byID: make(map[topic.ID]int, len(all))}
	slices.SortFunc(t.all, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	for i, one := range t.all {
		t.byName[one.Name], t.byID[one.ID] = i, i
	}
	return t
}

// Named finds a topic by its name.
func (t *Topics) Named(name string) (Topic, bool) {
	i, ok := t.byName[name]
	if !ok {
		return Topic{}, false
	}
	return t.all[i], true
}

// Identified finds a topic by its id.
func (t *Topics) Identified(id topic.ID) (Topic, bool) {
	i, ok := t.byID[id]
	if !ok {
		return Topic{}, false
	}
	return t.all[i], true
}

// subscription is what one or more members subscribe to: names, and those that a
// regular expression matches whole.
type subscription struct {
	key     string
	names   []string // ascending, each once
	regex   string   // "": none
	pattern *regexp.Regexp
	members int

	seen   int64 // the version of Topics that topics is of
	topics []Topic
}

// CompileRegex compiles a subscription's regular expression, which has to match
// the whole name of a topic.
func CompileRegex(regex string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(regex); err != nil {
		return nil, err // its brackets must not pair with ours
	}
	return regexp.Compile(`^(?:` + regex + `)$`)
}

func subscriptionKey(names []string, regex string) string {
	return regex + "\x00" + strings.Join(names, "\x00")
}

// resolve returns the subscription's topics that exist, by name.
func (s *subscription) resolve(t *Topics) []Topic {
	if s.topics != nil && s.seen == t.version {
		return s.topics
	}
	found := make([]Topic, 0, len(s.names))
	for _, name := range s.names {
		if one, ok := t.Named(name); ok {
			found = append(found, one)
		}
	}
	if s.pattern != nil {
		for _, one := range t.all {
			if s.pattern.MatchString(one.Name) {
				found = append(found, one)
			}
		}
		slices.SortFunc(found, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
		found = slices.Compact(found)
	}
	s.seen, s.topics = t.version, found
	return found
}

// fingerprint stands for a set of topics with their sizes. It is stored: a group
// that was loaded again knows by it whether its topics have changed meanwhile.
// FNV-1a, so that every build computes the same.
func fingerprint(topics []Topic) uint64 {
	var sum uint64
	for _, t := range topics {
		h := fnv.New64a()
		b := binary.BigEndian.AppendUint32(t.ID[:], uint32(t.Partitions))
		h.Write(append(b, t.Name...)) // a hash never fails to write
		sum ^= h.Sum64() * 0x9e3779b97f4a7c15
	}
	return sum ^ uint64(len(topics))
}

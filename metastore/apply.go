package metastore

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// load fills a new view with a range of the whole root.
func (v *View) load(entries []kv.Entry, revision int64) error {
	events := make([]kv.Event, len(entries))
	for i, e := range entries {
		events[i].Entry = e
	}
	return v.apply(kv.Changes{Revision: revision, Events: events})
}

// apply brings the view forward. An error means that the metadata cannot be
// understood; the view is then not to be used any more, since a value that is
// left out (a segment, say) would be a wrong answer and not a missing one.
func (v *View) apply(changes kv.Changes) error {
	for _, e := range changes.Events {
		if err := v.applyEvent(e); err != nil {
			return fmt.Errorf("read %s of revision %d: %w", e.Key, e.ModRevision, format.In(e.Key, err))
		}
	}
	for id, parts := range v.partial {
		return fmt.Errorf("read segment %s: %w", id, format.In(v.keys.segment(id, 0),
			format.Corrupt(0, "%d of its %d parts are there", len(parts), parts[0].parts)))
	}
	if v.byName == nil {
		v.sortTopics()
	}
	if v.configs == nil {
		v.configs = &Configs{maps.Clone(v.configSets)}
	}
	if v.quotas == nil {
		v.quotas = newQuotas(v.quotaSets)
	}
	v.revision = max(v.revision, changes.Revision)
	return nil
}

func (v *View) applyEvent(e kv.Event) error {
	dir, rest := v.keys.split(e.Key)
	switch dir {
	case dirTopics:
		return v.applyTopic(rest, e)
	case dirBrokers:
		return v.applyBroker(rest, e)
	case dirOwners:
		return v.applyOwner(rest, e)
	case dirManifests:
		return v.applyManifest(rest, e)
	case dirSegments:
		return v.applySegment(rest, e)
	case dirCompactors:
		return applyMember(v.compactors, rest, e)
	case dirConfig:
		return v.applyConfig(rest, e)
	case dirDraining:
		return v.applyDraining(rest, e)
	case dirQuotas:
		return v.applyQuota(rest, e)
	case dirSlots:
		return v.applySlot(rest, e)
	case dirIceberg:
		return v.applyIceberg(rest, e)
	case dirDamaged:
		return v.applyDamage(rest, e)
	case dirVectors:
		return v.applyVectors(rest, e)
	case dirQueries:
		return applyMember(v.queries, rest, e)
	}
	// Commit markers, topic ids, deletions, the bucket's identity, groups and
	// offsets are read where they are written. Keys of a later version are none of our business.
	return nil
}

func (v *View) applyTopic(name string, e kv.Event) error {
	if old := v.topics[name]; old != nil && v.topicsByID[old.ID] == old {
		delete(v.topicsByID, old.ID)
	}
	v.byName = nil
	if e.Deleted {
		delete(v.topics, name)
		return nil
	}
	t, err := decodeTopic(e.Entry)
	if err != nil {
		return err
	}
	v.topics[name] = &t
	v.topicsByID[t.ID] = &t
	return nil
}

func (v *View) sortTopics() {
	v.byName = make([]*Topic, 0, len(v.topics))
	for _, t := range v.topics {
		v.byName = append(v.byName, t)
	}
	slices.SortFunc(v.byName, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
}

func (v *View) applyBroker(rest string, e kv.Event) error {
	id, err := parseBrokerID(rest)
	if err != nil {
		return err
	}
	if e.Deleted {
		delete(v.brokers, id)
		return nil
	}
	b, err := decodeBroker(e.Entry)
	if err != nil {
		return err
	}
	v.brokers[id] = b
	return nil
}

func applyMember(members map[string]Member, id string, e kv.Event) error {
	if e.Deleted {
		delete(members, id)
		return nil
	}
	var m Member
	if err := decode(e.Entry, &m); err != nil {
		return err
	}
	members[id] = m
	return nil
}

func (v *View) applyOwner(rest string, e kv.Event) error {
	p, err := parsePartition(rest)
	if err != nil {
		return err
	}
	var o Owner
	if !e.Deleted {
		if o, err = decodeOwner(e.Entry); err != nil {
			return err
		}
	}
	v.of(p).owner = o
	v.tidy(p)
	return nil
}

func (v *View) applyManifest(rest string, e kv.Event) error {
	p, err := parsePartition(rest)
	if err != nil {
		return err
	}
	var m ManifestRef
	if !e.Deleted {
		if m, err = decodeManifest(e.Entry); err != nil {
			return err
		}
	}
	v.of(p).manifest = m
	v.tidy(p)
	return nil
}

// of returns the entry of a partition, made if need be.
func (v *View) of(p topic.Partition) *partition {
	known := v.partitions[p]
	if known == nil {
		known = new(partition)
		v.partitions[p] = known
	}
	return known
}

// tidy forgets a partition of which nothing is known any more.
func (v *View) tidy(p topic.Partition) {
	known := v.partitions[p]
	if known.owner.ModRevision == 0 && known.manifest.ModRevision == 0 && len(known.ranges) == 0 && len(known.damaged) == 0 {
		delete(v.partitions, p)
	}
}

// applySegment gathers the parts of a segment, which come in one revision, and
// adds it when it is whole. Its parts are deleted in one revision too.
func (v *View) applySegment(rest string, e kv.Event) error {
	id := segmentID(rest)
	if e.Deleted {
		v.dropSegment(id)
		return nil
	}
	part, err := decodeSegmentPart(e.Value)
	if err != nil {
		return err
	}
	if part.ID != id {
		return format.Corrupt(0, "value of segment %q", part.ID)
	}
	parts := append(v.partial[id], part)
	if len(parts) < part.parts {
		v.partial[id] = parts
		return nil
	}
	delete(v.partial, id)
	v.dropSegment(id) // a segment is never written twice; if it is, the last counts
	v.addSegment(parts, e.ModRevision)
	return nil
}

func (v *View) addSegment(parts []segmentPart, revision int64) {
	slices.SortFunc(parts, func(a, b segmentPart) int { return a.part - b.part })
	s := &segmentEntry{Segment: parts[0].Segment, parts: len(parts), revision: revision}
	for _, p := range parts[1:] {
		s.Ranges = append(s.Ranges, p.Ranges...)
	}
	v.segments[s.ID] = s
	for _, r := range s.Ranges {
		v.addRange(RangeRef{SegmentRange: r, Segment: &s.Segment})
	}
}

func (v *View) addRange(r RangeRef) {
	known := v.of(r.Partition)
	n := len(known.ranges)
	i := n
	if n > 0 && r.First < known.ranges[n-1].Next {
		i = sort.Search(n, func(i int) bool { return known.ranges[i].First > r.First })
	}
	if i > 0 && known.ranges[i-1].Next > r.First || i < n && r.Next > known.ranges[i].First {
		v.anomaly("two segments hold the same offsets", "partition", r.Partition,
			"segment", r.Segment.ID, "first", r.First, "next", r.Next)
	}
	if i == n {
		known.ranges = append(known.ranges, r)
		return
	}
	known.ranges = slices.Concat(known.ranges[:i], []RangeRef{r}, known.ranges[i:])
}

func (v *View) dropSegment(id string) {
	s := v.segments[id]
	if s == nil {
		return
	}
	delete(v.segments, id)
	for _, r := range s.Ranges {
		v.dropRange(r.Partition, &s.Segment)
	}
}

// dropRange removes a segment's ranges of one partition. They are nearly always
// the oldest.
func (v *View) dropRange(p topic.Partition, s *Segment) {
	known := v.partitions[p]
	if known == nil {
		return
	}
	for len(known.ranges) > 0 && known.ranges[0].Segment == s {
		known.ranges = known.ranges[1:]
	}
	ours := func(r RangeRef) bool { return r.Segment == s }
	if slices.ContainsFunc(known.ranges, ours) {
		known.ranges = slices.DeleteFunc(slices.Clone(known.ranges), ours)
	}
	if len(known.ranges) == 0 {
		known.ranges = nil
	}
	v.tidy(p)
}

func decodeTopic(e kv.Entry) (Topic, error) {
	var t Topic
	err := decode(e, &t)
	t.ModRevision = e.ModRevision
	return t, err
}

func decodeBroker(e kv.Entry) (Broker, error) {
	var b Broker
	err := decode(e, &b)
	b.Session = Session(e.ModRevision)
	return b, err
}

func decodeOwner(e kv.Entry) (Owner, error) {
	var o Owner
	err := decode(e, &o)
	o.ModRevision = e.ModRevision
	return o, err
}

func decodeManifest(e kv.Entry) (ManifestRef, error) {
	var m ManifestRef
	err := decode(e, &m)
	m.ModRevision = e.ModRevision
	return m, err
}

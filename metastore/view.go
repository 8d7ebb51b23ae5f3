package metastore

import (
	"maps"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/topic"
)

// View is the metadata at one revision. See Catalog.View.
type View struct {
	keys     keys
	revision int64
	anomaly  func(reason string, args ...any) // told of what fencing should make impossible

	topics     map[string]*Topic
	topicsByID map[topic.ID]*Topic
	byName     []*Topic // sorted; nil: to be made again
	brokers    map[BrokerID]Broker
	draining   map[BrokerID]bool
	configSets map[ConfigResource]map[string]string
	configs    *Configs // made of configSets; nil: to be made again
	quotaSets  map[QuotaEntity]map[string]float64
	quotas     *Quotas // made of quotaSets; nil: to be made again
	slots      [Slots]Slot
	compactors map[string]Member
	queries    map[string]Member
	segments   map[string]*segmentEntry
	partial    map[string][]segmentPart // parts of segments that are not whole yet
	partitions map[topic.Partition]*partition
	iceberg    map[topic.ID]IcebergTable
	vectors    map[topic.ID]VectorIndex
	damages    int // reports of damage
}

// partition holds what is known of a partition. ranges is sorted by First and
// copied on write, but for an append, which no reader's slice can see.
type partition struct {
	owner    Owner
	manifest ManifestRef
	ranges   []RangeRef
	damaged  []Damage // copied on write
}

// segmentEntry is a segment with the revision of its keys.
type segmentEntry struct {
	Segment
	parts    int
	revision int64
}

func newView(k keys, anomaly func(string, ...any)) *View {
	return &View{
		keys:       k,
		anomaly:    anomaly,
		topics:     make(map[string]*Topic),
		topicsByID: make(map[topic.ID]*Topic),
		byName:     []*Topic{},
		brokers:    make(map[BrokerID]Broker),
		draining:   make(map[BrokerID]bool),
		configSets: make(map[ConfigResource]map[string]string),
		configs:    &Configs{},
		quotaSets:  make(map[QuotaEntity]map[string]float64),
		quotas:     &Quotas{},
		compactors: make(map[string]Member),
		queries:    make(map[string]Member),
		segments:   make(map[string]*segmentEntry),
		partial:    make(map[string][]segmentPart),
		partitions: make(map[topic.Partition]*partition),
		iceberg:    make(map[topic.ID]IcebergTable),
		vectors:    make(map[topic.ID]VectorIndex),
	}
}

// PartitionView is a partition at one revision. It never changes.
type PartitionView struct {
	Partition topic.Partition
	Revision  int64
	Topic     *Topic // nil: no such topic, or fewer partitions
	Owner     Owner  // ModRevision 0: it never had one
	// OwnerAlive says that the owner's session is still registered. While it
	// is, the owner may append and commit; once it is not, it never will again.
	OwnerAlive bool
	Manifest   ManifestRef
	Ranges     []RangeRef // committed and still in segments, sorted by First; none overlap
	Damaged    []Damage   // files of the manifest that are reported as damaged or missing
}

// RangeRef is a committed range and the segment that it lies in.
type RangeRef struct {
	SegmentRange
	Segment *Segment
}

// Next is the committed next: the first offset that is not committed.
func (p PartitionView) Next() int64 {
	next := max(p.Manifest.Marks.Log, p.Manifest.LogStart)
	if n := len(p.Ranges); n > 0 {
		next = max(next, p.Ranges[n-1].Next)
	}
	return next
}

// AckedInBucket tells that everything that the last owner acknowledged with
// acks=all is committed: it began under durability=object, and the topic's own
// setting has not been altered since.
func (p PartitionView) AckedInBucket() bool {
	return p.Topic != nil && p.Owner.Durability == p.Topic.Durability
}

// Revision is the metadata store's revision that this is.
func (v *View) Revision() int64 { return v.revision }

// Topic returns the topic of that name.
func (v *View) Topic(name string) (*Topic, bool) {
	t, ok := v.topics[name]
	return t, ok
}

// TopicByID returns the topic of that id.
func (v *View) TopicByID(id topic.ID) (*Topic, bool) {
	t, ok := v.topicsByID[id]
	return t, ok
}

// Topics returns all topics, sorted by name.
func (v *View) Topics() []*Topic { return v.byName }

// Broker returns the live broker of that id.
func (v *View) Broker(id BrokerID) (Broker, bool) {
	b, ok := v.brokers[id]
	return b, ok
}

// Brokers returns the live brokers, sorted by id.
func (v *View) Brokers() []Broker {
	return slices.SortedFunc(maps.Values(v.brokers), func(a, b Broker) int { return int(a.ID) - int(b.ID) })
}

// Draining tells whether a broker, live or not, is to own nothing.
func (v *View) Draining(id BrokerID) bool { return v.draining[id] }

// Compactors returns the live compactors, sorted by id.
func (v *View) Compactors() []Member { return sortedMembers(v.compactors) }

// Queries returns the live query nodes, sorted by id.
func (v *View) Queries() []Member { return sortedMembers(v.queries) }

func sortedMembers(members map[string]Member) []Member {
	return slices.SortedFunc(maps.Values(members), func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
}

// Segments returns the committed segments, sorted by id, the oldest first.
func (v *View) Segments() []*Segment {
	segments := make([]*Segment, 0, len(v.segments))
	for _, s := range v.segments {
		segments = append(segments, &s.Segment)
	}
	slices.SortFunc(segments, func(a, b *Segment) int { return strings.Compare(a.ID, b.ID) })
	return segments
}

// Partition returns all that is known of a partition.
func (v *View) Partition(p topic.Partition) PartitionView {
	view := PartitionView{Partition: p, Revision: v.revision}
	if t := v.topicsByID[p.Topic]; t != nil && p.Index >= 0 && p.Index < t.Partitions {
		view.Topic = t
	}
	if known := v.partitions[p]; known != nil {
		view.Owner = known.owner
		view.OwnerAlive = v.alive(known.owner)
		view.Manifest = known.manifest
		view.Damaged = known.damaged
		view.Ranges = known.ranges[:len(known.ranges):len(known.ranges)]
	}
	return view
}

// Owner returns the owner of a partition, and whether its session is alive:
// the part of Partition that a request needs, at less cost.
func (v *View) Owner(p topic.Partition) (owner Owner, alive bool) {
	known := v.partitions[p]
	if known == nil {
		return Owner{}, false
	}
	return known.owner, v.alive(known.owner)
}

func (v *View) alive(o Owner) bool {
	return o.Session != 0 && v.brokers[o.Broker].Session == o.Session
}

package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// memory is a small broker core that keeps everything in memory: all that the
// handlers need, and knobs for what is hard to provoke in the real one.
type memory struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced by every change
	topics    map[string]*metastore.Topic
	logs      map[topic.Partition]*memoryLog
	revision  int64
	producers int64

	brokers []metastore.Broker
	lost    map[topic.Partition]bool // partitions that another broker owns now
	fail    error                    // what Append answers
	gate    chan struct{}            // when set, Wait waits until it is closed
	confirm error                    // what Confirm answers
	appends []topic.Partition        // in the order of the calls

	uncoordinated bool // nobody owns the slots of groups
}

type memoryLog struct {
	first, next int64
	batches     []memoryBatch
	producers   map[int64][]memorySequence // the last five, oldest first
}

type memoryBatch struct {
	header batch.Header
	raw    []byte
}

type memorySequence struct {
	epoch       int16
	first, last int32
	offset      int64
}

func newMemory(brokers ...metastore.Broker) *memory {
	return &memory{
		changed: make(chan struct{}), topics: make(map[string]*metastore.Topic), logs: make(map[topic.Partition]*memoryLog),
		lost: make(map[topic.Partition]bool), brokers: brokers,
	}
}

func (m *memory) change() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// --- topics and cluster

func (m *memory) Topic(name string) (*metastore.Topic, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.topics[name]
	return t, ok
}

func (m *memory) TopicByID(id topic.ID) (*metastore.Topic, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.topics {
		if t.ID == id {
			return t, true
		}
	}
	return nil, false
}

func (m *memory) All() []*metastore.Topic {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.topics), func(a, b *metastore.Topic) int { return strings.Compare(a.Name, b.Name) })
}

// groupTopics is All as groups see it.
func (m *memory) groupTopics() *consumer.Topics {
	var all []consumer.Topic
	for _, t := range m.All() {
		all = append(all, consumer.Topic{ID: t.ID, Name: t.Name, Partitions: t.Partitions})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return consumer.NewTopics(m.revision, all)
}

func (m *memory) CreateTopic(_ context.Context, t metastore.Topic) (metastore.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.topics[t.Name]; ok {
		return t, metastore.ErrTopicExists
	}
	m.store(t)
	return t, nil
}

func (m *memory) store(t metastore.Topic) {
	m.revision++
	t.ModRevision = m.revision
	m.topics[t.Name] = &t
	for i := range t.Partitions {
		p := topic.Partition{Topic: t.ID, Index: i}
		if m.logs[p] == nil {
			m.logs[p] = &memoryLog{producers: make(map[int64][]memorySequence)}
		}
	}
	m.change()
}

func (m *memory) DeleteTopic(_ context.Context, id topic.ID) error {
	t, ok := m.TopicByID(id)
	if !ok {
		return metastore.ErrTopicUnknown
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.topics, t.Name)
	for i := range t.Partitions {
		delete(m.logs, topic.Partition{Topic: id, Index: i})
	}
	m.change()
	return nil
}

func (m *memory) UpdateTopic(_ context.Context, id topic.ID, change func(*metastore.Topic) error) error {
	t, ok := m.TopicByID(id)
	if !ok {
		return metastore.ErrTopicUnknown
	}
	updated := *t
	if err := change(&updated); err != nil {
		return fmt.Errorf("update topic: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store(updated)
	return nil
}

func (m *memory) ClusterID() string           { return "memory" }
func (m *memory) Self() metastore.BrokerID    { return m.brokers[0].ID }
func (m *memory) Brokers() []metastore.Broker { return m.brokers }

func (m *memory) Revision() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision
}

// Coordinator implements api.Cluster.
func (m *memory) Coordinator(string) (metastore.Broker, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.brokers[0], !m.uncoordinated
}

func (m *memory) Leader(p topic.Partition) core.Leader {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost[p] {
		return core.Leader{Broker: m.brokers[len(m.brokers)-1].ID, Epoch: 1}
	}
	return core.Leader{Broker: m.brokers[0].ID}
}

func (m *memory) NextLeader(topic.Partition) core.Leader {
	return core.Leader{Broker: metastore.NoBroker}
}

func (m *memory) Await(context.Context, func() bool) {}

func (m *memory) NextProducerID(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.producers++
	return 1000 + m.producers, nil
}

// --- log

func (m *memory) log(p topic.Partition, current metastore.Epoch) (*memoryLog, error) {
	l := m.logs[p]
	switch {
	case l == nil, m.lost[p]:
		return nil, core.ErrNotOwner
	case current > 0:
		return nil, core.ErrUnknownEpoch
	}
	return l, nil
}

func (m *memory) Append(_ context.Context, p topic.Partition, records []byte, o core.AppendOptions) (core.Pending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends = append(m.appends, p)
	l, err := m.log(p, -1)
	if err != nil {
		return nil, err
	}
	if m.fail != nil {
		return nil, m.fail
	}
	header, err := batch.Check(records)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", core.ErrCorruptBatch, err)
	case len(records) > int(o.MessageBytesMax):
		return nil, fmt.Errorf("%w: %d bytes, at most %d", core.ErrTooLarge, len(records), o.MessageBytesMax)
	case o.Compacted:
		return nil, &core.RecordError{Index: 0, Err: fmt.Errorf("%w: a compacted topic wants keys", core.ErrInvalidRecord)}
	}
	if first, duplicate, err := l.sequence(header); err != nil {
		return nil, err
	} else if duplicate {
		return &memoryPending{m.gate, core.Appended{First: first, Timestamp: -1, LogStart: l.first, Duplicate: true}, m.confirm}, nil
	}
	raw := bytes.Clone(records)
	batch.PatchOffset(raw, l.next, 0)
	appended := core.Appended{First: l.next, Timestamp: -1, LogStart: l.first}
	if o.LogAppendTime {
		appended.Timestamp = time.Now().UnixMilli()
		batch.PatchLogAppendTime(raw, appended.Timestamp)
	}
	if header, err = batch.Check(raw); err != nil {
		return nil, err
	}
	l.batches = append(l.batches, memoryBatch{header, raw})
	l.next = header.Next()
	m.change()
	return &memoryPending{m.gate, appended, m.confirm}, nil
}

// sequence applies the rules of idempotent producers, roughly.
func (l *memoryLog) sequence(h batch.Header) (first int64, duplicate bool, err error) {
	if h.ProducerID < 0 {
		return 0, false, nil
	}
	known := l.producers[h.ProducerID]
	for _, k := range known {
		if k.epoch == h.ProducerEpoch && k.first == h.BaseSequence && k.last == h.LastSequence() {
			return k.offset, true, nil
		}
	}
	if len(known) > 0 {
		last := known[len(known)-1]
		switch {
		case h.ProducerEpoch < last.epoch:
			return 0, false, core.ErrInvalidProducerEpoch
		case h.ProducerEpoch == last.epoch && h.BaseSequence != last.last+1:
			return 0, false, core.ErrOutOfOrderSequence
		}
	}
	known = append(known, memorySequence{h.ProducerEpoch, h.BaseSequence, h.LastSequence(), l.next})
	l.producers[h.ProducerID] = known[max(0, len(known)-5):]
	return 0, false, nil
}

type memoryPending struct {
	gate     chan struct{}
	appended core.Appended
	confirm  error
}

func (p *memoryPending) Wait(ctx context.Context) (core.Appended, error) {
	if p.gate != nil {
		select {
		case <-p.gate:
		case <-ctx.Done():
			return core.Appended{}, core.ErrTimeout
		}
	}
	return p.appended, nil
}

func (p *memoryPending) Confirm() error { return p.confirm }

func (m *memory) EpochEnd(_ context.Context, p topic.Partition, current, epoch metastore.Epoch) (metastore.Epoch, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(p, current)
	if err != nil {
		return -1, -1, err
	}
	if epoch != 0 {
		return -1, -1, nil
	}
	return 0, l.next, nil
}

func (m *memory) DeleteRecords(_ context.Context, p topic.Partition, before int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(p, -1)
	if err != nil {
		return -1, err
	}
	if before == -1 {
		before = l.next
	}
	if before < 0 || before > l.next {
		return -1, core.ErrOffsetOutOfRange
	}
	l.first = max(l.first, before)
	m.change()
	return l.first, nil
}

func (m *memory) Producers(p topic.Partition) ([]core.ActiveProducer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(p, -1)
	if err != nil {
		return nil, err
	}
	var active []core.ActiveProducer
	for _, id := range slices.Sorted(maps.Keys(l.producers)) {
		last := l.producers[id][len(l.producers[id])-1]
		active = append(active, core.ActiveProducer{ID: id, Epoch: last.epoch, LastSequence: last.last, LastUsed: 1})
	}
	return active, nil
}

func (m *memory) LogDir() (core.LogDir, error) {
	return core.LogDir{Path: "/var/lib/memory", Total: 1000, Usable: 400}, nil
}

func (m *memory) EpochAt(topic.Partition, int64) metastore.Epoch { return 0 }

func (m *memory) Size(_ context.Context, p topic.Partition) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(p, -1)
	if err != nil {
		return 0, err
	}
	size := int64(0)
	for _, b := range l.batches {
		size += int64(len(b.raw))
	}
	return size, nil
}

// --- reader

func (m *memory) Fetch(ctx context.Context, _ []core.Fetched, positions []core.Position, o core.FetchOptions) []core.Fetched {
	timer := time.NewTimer(o.WaitMax)
	defer timer.Stop()
	for last := o.WaitMax == 0; ; {
		m.mu.Lock()
		changed := m.changed
		fetched, size, failed := m.read(positions, o)
		m.mu.Unlock()
		if last || failed || size >= o.BytesMin {
			return fetched
		}
		select {
		case <-changed:
		case <-timer.C:
			last = true
		case <-ctx.Done():
			last = true
		}
	}
}

func (m *memory) read(positions []core.Position, o core.FetchOptions) (fetched []core.Fetched, size int, failed bool) {
	if o.Room != nil {
		o.BytesMax = o.Room.Take(o.BytesMax)
		defer func() { o.Room.Keep(size) }()
	}
	fetched = make([]core.Fetched, len(positions))
	for i, at := range positions {
		f := &fetched[i]
		l, err := m.log(at.Partition, at.Epoch)
		if err != nil {
			f.Err, failed = err, true
			continue
		}
		f.Bounds = l.bounds()
		if at.First < l.first || at.First > l.next {
			f.Err, failed = core.ErrOffsetOutOfRange, true
			continue
		}
		part := 0
		for _, b := range l.batches {
			if b.header.Next() <= at.First {
				continue
			}
			if size > 0 && (size+len(b.raw) > o.BytesMax || part+len(b.raw) > at.BytesMax) {
				break
			}
			f.Records = append(f.Records, b.raw)
			size += len(b.raw)
			part += len(b.raw)
		}
	}
	return fetched, size, failed
}

func (l *memoryLog) bounds() core.Bounds {
	return core.Bounds{LogStart: l.first, HighWatermark: l.next, LastStable: l.next}
}

func (m *memory) Bounds(_ context.Context, p topic.Partition, current metastore.Epoch) (core.Bounds, metastore.Epoch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(p, current)
	if err != nil {
		return core.Bounds{}, 0, err
	}
	return l.bounds(), 0, nil
}

func (m *memory) OffsetForTime(_ context.Context, p topic.Partition, ms int64, _ bool) (core.RecordTime, bool, error) {
	var found core.RecordTime
	err := m.records(p, func(offset, timestamp int64) bool {
		found = core.RecordTime{Offset: offset, Timestamp: timestamp}
		return timestamp >= ms
	})
	return found, errors.Is(err, errFound), ignoreFound(err)
}

func (m *memory) MaxTimestamp(_ context.Context, p topic.Partition) (core.RecordTime, bool, error) {
	found := core.RecordTime{Timestamp: -1}
	err := m.records(p, func(offset, timestamp int64) bool {
		if timestamp > found.Timestamp {
			found = core.RecordTime{Offset: offset, Timestamp: timestamp}
		}
		return false
	})
	return found, found.Timestamp >= 0, err
}

var errFound = errors.New("found")

func ignoreFound(err error) error {
	if errors.Is(err, errFound) {
		return nil
	}
	return err
}

// records calls f for each record until it returns true.
func (m *memory) records(p topic.Partition, f func(offset, timestamp int64) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.log(p, -1)
	if err != nil {
		return err
	}
	decoder := batch.NewDecoder(1 << 20)
	for _, b := range l.batches {
		it, err := decoder.Open(b.header, b.raw)
		if err != nil {
			return err
		}
		for it.Next() {
			if f(it.Record().Offset, it.Record().Timestamp) {
				return errFound
			}
		}
	}
	return nil
}

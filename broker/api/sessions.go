package api

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/topic"
)

// Fetch sessions (KIP-227): the broker remembers what a client fetches and what
// it was told last, so that requests carry changes only, and answers only
// partitions with news.
//
// A session belongs to whoever knows its id, and its epoch counts the requests:
// a request that is lost or comes twice has the wrong one. The cache is bounded
// in sessions and in partitions; a client that finds no room is answered
// sessionless, which works all the same.

// sessionEvictable is the age below which a session is left alone: Kafka's
// min.incremental.fetch.session.eviction.ms.
const sessionEvictable = 2 * time.Minute

// Epochs of requests that are not the next one of a session.
const (
	sessionNone int32 = -1 // no session, and the one named, if any, ends
	sessionNew  int32 = 0  // a new one, in place of the one named, if any
)

// fetchTarget is what a client wants of one partition.
type fetchTarget struct {
	topic    string   // up to version 12
	id       topic.ID // from version 13 on
	index    int32
	offset   int64
	current  int32 // leader epoch of the client, −1: none
	last     int32 // epoch of the last record that it has, −1: none
	bytesMax int32
}

func targetOf(t *kmsg.FetchRequestTopic, p *kmsg.FetchRequestTopicPartition) fetchTarget {
	return fetchTarget{
		topic: t.Topic, id: t.TopicID, index: p.Partition,
		offset: p.FetchOffset, current: p.CurrentLeaderEpoch, last: p.LastFetchedEpoch, bytesMax: p.PartitionMaxBytes,
	}
}

// targetKey is a partition as the client names it.
type targetKey struct {
	topic string
	id    topic.ID
	index int32
}

// sessionPart is a partition of a session: a member of its ring, in the order in
// which partitions are read.
type sessionPart struct {
	fetchTarget
	prev, next *sessionPart
	// What the client was told last; high is −1 when it must hear of the
	// partition again whatever has changed.
	high, start int64
}

func (p *sessionPart) key() targetKey { return targetKey{p.topic, p.id, p.index} }

// fetchSession is one session.
type fetchSession struct {
	id            int32
	created, used time.Time // the cache's, guarded by its lock
	size          int       // likewise: partitions that are counted

	mu    sync.Mutex
	epoch int32 // that the next request must have
	ids   bool  // partitions are named by topic ids
	parts map[targetKey]*sessionPart
	ring  sessionPart // its next is read first, its prev last
}

func newFetchSession(parts int, ids bool) *fetchSession {
	s := &fetchSession{epoch: 1, ids: ids, parts: make(map[targetKey]*sessionPart, parts)}
	s.ring.next, s.ring.prev = &s.ring, &s.ring
	return s
}

// set adds a partition, or changes what the client wants of it.
func (s *fetchSession) set(t fetchTarget) *sessionPart {
	p := s.parts[targetKey{t.topic, t.id, t.index}]
	if p == nil {
		p = &sessionPart{high: -1, start: -1}
		p.fetchTarget = t
		s.parts[p.key()] = p
		s.append(p)
		return p
	}
	t.topic = p.topic // keeps one string alive and not two
	p.fetchTarget = t
	return p
}

func (s *fetchSession) append(p *sessionPart) {
	p.prev, p.next = s.ring.prev, &s.ring
	p.prev.next, p.next.prev = p, p
}

func (p *sessionPart) unlink() { p.prev.next, p.next.prev = p.next, p.prev }

// rotate moves a partition that was served behind all others.
func (s *fetchSession) rotate(p *sessionPart) {
	p.unlink()
	s.append(p)
}

func (s *fetchSession) forget(k targetKey) {
	if p := s.parts[k]; p != nil {
		delete(s.parts, k)
		p.unlink()
	}
}

// follows is the epoch behind e: it wraps to 1.
func follows(e int32) int32 {
	if e == 1<<31-1 {
		return 1
	}
	return e + 1
}

// advance applies an incremental request, and returns the epoch that its answer
// has to find.
func (s *fetchSession) advance(req *kmsg.FetchRequest) (epoch int32, size int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case req.SessionEpoch != s.epoch:
		return 0, 0, kerr.InvalidFetchSessionEpoch
	case s.ids != (req.Version >= 13):
		return 0, 0, kerr.FetchSessionTopicIDError
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			s.set(targetOf(t, &t.Partitions[j]))
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, index := range t.Partitions {
			s.forget(targetKey{t.Topic, t.TopicID, index})
		}
	}
	s.epoch = follows(s.epoch)
	return s.epoch, len(s.parts), nil
}

// fetchSessions are all sessions of a broker.
type fetchSessions struct {
	max, partsMax int
	metrics       sessionMetrics

	mu    sync.Mutex
	byID  map[int32]*fetchSession
	parts int // of all sessions
}

type sessionMetrics struct {
	sessions, partitions prometheus.Gauge
	evictions, refusals  prometheus.Counter
}

func newFetchSessions(max, partsMax int, reg prometheus.Registerer) *fetchSessions {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	c := &fetchSessions{max: max, partsMax: partsMax, byID: make(map[int32]*fetchSession), metrics: sessionMetrics{
		sessions:   gauge("chronik_fetch_sessions", "Fetch sessions that are remembered."),
		partitions: gauge("chronik_fetch_session_partitions", "Partitions in them."),
		evictions:  counter("chronik_fetch_session_evictions_total", "Fetch sessions that made room for others."),
		refusals:   counter("chronik_fetch_sessions_refused_total", "Fetch sessions that found no room: their clients name all partitions each time."),
	}}
	if reg != nil {
		reg.MustRegister(c.metrics.sessions, c.metrics.partitions, c.metrics.evictions, c.metrics.refusals)
	}
	return c
}

// find returns a session that a request goes on with.
func (c *fetchSessions) find(id int32, now time.Time) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byID[id]
	if s != nil {
		s.used = now
	}
	return s
}

// end forgets a session; 0 is none.
func (c *fetchSessions) end(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.byID[id]; s != nil {
		c.drop(s)
	}
}

// add gives a new session its id, or returns false when there is no room.
func (c *fetchSessions) add(s *fetchSession, now time.Time) bool {
	size := len(s.parts)
	c.mu.Lock()
	defer c.mu.Unlock()
	if size == 0 {
		return false
	}
	if !c.room(1, size, now) {
		c.metrics.refusals.Inc()
		return false
	}
	for s.id == 0 || c.byID[s.id] != nil {
		s.id = randomID()
	}
	s.created, s.used, s.size = now, now, size
	c.byID[s.id] = s
	c.count(size)
	return true
}

// resize counts a session's partitions anew. It returns false, and the session
// is forgotten, when there is no room for more, or when none are left.
func (c *fetchSessions) resize(s *fetchSession, size int, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[s.id] != s {
		return true // forgotten meanwhile: its next request is told
	}
	if size == s.size {
		return true
	}
	c.count(-s.size)
	s.size = 0
	if size == 0 || !c.room(0, size, now) || c.byID[s.id] != s {
		if c.byID[s.id] == s {
			c.drop(s)
		}
		return false
	}
	s.size = size
	c.count(size)
	return true
}

// room makes room for a session of that size as far as Kafka's rule allows: one
// that nobody used for a while goes, or else the smallest, if it is smaller than
// the new one and has had its time. Holds c.mu.
func (c *fetchSessions) room(sessions, size int, now time.Time) bool {
	for len(c.byID)+sessions > c.max || c.parts+size > c.partsMax {
		var oldest, smallest *fetchSession
		for _, s := range c.byID {
			if oldest == nil || s.used.Before(oldest.used) {
				oldest = s
			}
			if now.Sub(s.created) > sessionEvictable && s.size > 0 && (smallest == nil || s.size < smallest.size) {
				smallest = s
			}
		}
		switch {
		case size > c.partsMax || oldest == nil:
			return false
		case now.Sub(oldest.used) > sessionEvictable:
			c.drop(oldest)
		case smallest != nil && smallest.size < size:
			c.drop(smallest)
		default:
			return false
		}
		c.metrics.evictions.Inc()
	}
	return true
}

func (c *fetchSessions) drop(s *fetchSession) {
	delete(c.byID, s.id)
	c.count(-s.size)
}

func (c *fetchSessions) count(parts int) {
	c.parts += parts
	c.metrics.partitions.Set(float64(c.parts))
	c.metrics.sessions.Set(float64(len(c.byID)))
}

// randomID is a positive number that nobody guesses: whoever knows a session's
// id can go on with it.
func randomID() int32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return int32(binary.BigEndian.Uint32(b[:]) &^ (1 << 31))
}

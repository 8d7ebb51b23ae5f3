// Package ownership takes the partitions that this broker is to own, and gives
// them up.
//
// A Manager belongs to one session of the broker and starts with nothing
// [new-session-empty]. It follows the catalog. What this broker is wished to own
// (Wished, a pure function of the brokers that live and do not drain) it takes,
// by compare-and-swap in the metadata store under its session: at once when it
// was released, or when nothing of it can be missing; after a grace when its
// owner died with a disk that may hold what was acknowledged. What names this
// broker from an earlier life it takes back whoever is wished for: the disk is
// here. What it has and another broker is wished for, it gives up, after it
// flushed it.
//
// An ownership begins at the larger of the committed next and the end of what
// the broker's own WAL holds of the partition, both seen under one catalog
// revision not older than the session: from then on nobody else can commit.
//
// Batches in the WAL that another owner has overtaken are salvaged: appended
// again as new records, at whoever owns the partition now.
package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/salvage"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Producers reads what is committed of a partition's producer state.
type Producers func(ctx context.Context, p topic.Partition) ([]producer.State, error)

// Config are an operator's choices.
type Config struct {
	// TakeoverGrace is how long a partition whose records may be on its owner's
	// disk only (durability=wal) waits for that broker to come back. 0: not at all.
	TakeoverGrace time.Duration
	// RebalanceDelay is how long the brokers must have been the same before a
	// partition is given to another one that is wished for. 0: not at all.
	RebalanceDelay time.Duration
}

// Options are what a Manager is made of.
type Options struct {
	Config
	Store     *metastore.Store
	Session   *metastore.BrokerSession
	Log       *ingest.Log
	Recovery  *wal.Recovery
	Producers Producers
	// What a topic's settings say, under what is set on brokers. Of one and the same
	// *Topic and *Configs the answers stay: what is altered is another one. They are
	// asked while the catalog is looked at, and must not look themselves.
	Object    func(*metastore.Topic) bool                     // durability=object
	Compacted func(*metastore.Topic, *metastore.Configs) bool // cleanup.policy has compact; nil: none is
	Embedded  func(*metastore.Topic, *metastore.Configs) bool // it has vectors; nil: none has
	Slog      *slog.Logger
	// Salvage is handed batches that another owner has overtaken, in the order in
	// which they were written.
	Salvage func(topic.Partition, []salvage.Orphan)
	Metrics *Metrics // nil: counted nowhere
}

// Manager owns partitions for one session. Its state belongs to the goroutine
// that calls Reconcile, Run and, afterwards, Release.
type Manager struct {
	Options
	slog    *slog.Logger
	metrics *Metrics

	recovered map[topic.Partition][]wal.Recovered // not decided yet
	taken     map[topic.Partition]*candidate      // owned, and not served yet
	owned     map[topic.Partition]metastore.Owner // served
	left      map[topic.Partition]int64           // served before in this session: what the log must reach
	moving    map[topic.Partition]bool            // served, and being given up by another goroutine
	moved     chan []given                        // what became of them
	unowned   map[topic.Partition]time.Time       // since when nobody could append
	gone      map[life]time.Time                  // since when owners are seen to be dead
	wishes    wishes
	settings  map[*metastore.Topic]settings // of the topics of the last look
	configs   *metastore.Configs            // of the last look
	members   []Candidate
	settled   time.Time // since when the members are these
	lives     Lives
	calm      time.Time // before it nothing is given up: it did not work
}

// settings are what counts here of a topic's. To work them out costs more than to
// look at all its partitions.
type settings struct{ object, compacted, embedded bool }

func (m *Manager) settingsOf(t *metastore.Topic, set *metastore.Configs) settings {
	known, ok := m.settings[t]
	if !ok || set != m.configs {
		known = settings{m.Object(t), m.Compacted != nil && m.Compacted(t, set), m.Embedded != nil && m.Embedded(t, set)}
	}
	return known
}

// life is one session of a broker.
type life struct {
	broker  metastore.BrokerID
	session metastore.Session
}

// New returns a Manager that owns nothing yet.
func New(o Options) *Manager {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	m := &Manager{
		Options: o, slog: o.Slog, metrics: o.Metrics,
		recovered: map[topic.Partition][]wal.Recovered{},
		taken:     map[topic.Partition]*candidate{},
		owned:     map[topic.Partition]metastore.Owner{},
		left:      map[topic.Partition]int64{},
		moving:    map[topic.Partition]bool{},
		moved:     make(chan []given, 1),
		unowned:   map[topic.Partition]time.Time{},
		gone:      map[life]time.Time{},
		settled:   time.Now(),
		lives:     Lives{},
	}
	for _, f := range o.Recovery.Frames {
		m.recovered[f.Frame.Partition] = append(m.recovered[f.Frame.Partition], f)
	}
	return m
}

// retry is how long what could not be done waits for the next try, when nothing
// changes meanwhile.
const retry = time.Second

// The catalog changes with every commit of a segment, and a look costs what there
// are partitions, about a microsecond each: it rests in proportion, so that a tenth
// of one core goes into looking, up to where that would keep a partition waiting.
const (
	restFactor = 9
	restMax    = 50 * time.Millisecond
)

// Run takes what this broker is wished to own, and gives up what it is not, until
// ctx ends. It returns an error when the session is over.
func (m *Manager) Run(ctx context.Context) error {
	defer m.await()
	for {
		changed := m.Store.Catalog().Changed()
		begun := time.Now()
		wait, err := m.reconcile(ctx)
		rest := min(restFactor*time.Since(begun), restMax)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, metastore.ErrFenced):
			return err
		case err != nil:
			m.slog.Warn("partitions could not be taken, trying again", "error", err)
			wait = retry
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-changed:
		case <-timer:
		case given := <-m.moved:
			m.settle(given)
		case <-m.Session.Done():
			return fmt.Errorf("session %d: %w", m.Session.ID(), metastore.ErrFenced)
		case <-ctx.Done():
			return nil
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return nil
		}
	}
}

// await returns when nothing is being given up any more.
func (m *Manager) await() {
	if len(m.moving) > 0 {
		m.settle(<-m.moved)
	}
}

// Reconcile looks at the catalog once: it adopts what can be taken, drops what
// was deleted, begins to give up what others are wished for, and tells the owned
// partitions of changes. again says that something was left that no change of
// the catalog will announce.
func (m *Manager) Reconcile(ctx context.Context) (again bool, err error) {
	wait, err := m.reconcile(ctx)
	return wait > 0, err
}

// reconcile is Reconcile; it returns how long to wait for the next look at most,
// 0 for ever.
func (m *Manager) reconcile(ctx context.Context) (wait time.Duration, err error) {
	now := time.Now()
	s := m.look(now)
	for _, p := range s.deleted {
		m.slog.Info("partition dropped, its topic is deleted", "partition", p)
		m.Log.Drop(p)
		delete(m.owned, p)
		delete(m.left, p)
	}
	m.forgetDeleted()
	m.decide(s.decide)
	if len(s.release) > 0 {
		err = m.releaseUnserved(ctx, s.release)
	}
	if len(s.give) > 0 {
		m.give(ctx, s.give)
	}
	if len(s.take) > 0 {
		err = errors.Join(err, m.take(ctx, s.take))
		if len(m.taken) > 0 {
			s.soon(retry) // not yet served
		}
	}
	return s.wait, err
}

// sight is what a look at the catalog found to do, under one revision.
type sight struct {
	take    []*candidate
	give    []leaving         // served, and wished for elsewhere
	release []topic.Partition // this session's, not served, and wished for elsewhere
	deleted []topic.Partition // served, and their topics are gone
	decide  []metastore.PartitionView
	dead    map[life]time.Time // owners that are, and since when that was seen
	wait    time.Duration      // until something that no change announces; 0: nothing
}

// soon makes the next look come after d at most.
func (s *sight) soon(d time.Duration) {
	if d = max(d, time.Millisecond); s.wait == 0 || d < s.wait {
		s.wait = d
	}
}

// look finds what is to be done. All that a take rests on, that the owner's
// session is over and where the log ends, is seen under one revision, which is
// not older than the session [one-revision].
func (m *Manager) look(now time.Time) *sight {
	s := &sight{dead: map[life]time.Time{}}
	m.Store.Catalog().View(func(v *metastore.View) {
		candidates := Candidates(v)
		if !slices.Equal(candidates, m.members) {
			m.members, m.settled = candidates, now
		}
		m.lives.See(v, now)
		known := make(map[*metastore.Topic]settings, len(v.Topics()))
		for _, t := range v.Topics() {
			set := m.settingsOf(t, v.Configs())
			known[t] = set
			wished := m.wishes.of(t, candidates)
			for i := range t.Partitions {
				p := topic.Partition{Topic: t.ID, Index: i}
				if _, serves := m.owned[p]; serves {
					m.lookAtServed(s, v, p, set, wished[i], now)
				} else {
					m.lookAtOther(s, v, p, set.object, wished[i], now)
				}
			}
		}
		for p := range m.owned {
			if t, ok := v.TopicByID(p.Topic); (!ok || p.Index >= t.Partitions) && !m.moving[p] {
				s.deleted = append(s.deleted, p)
			}
		}
		m.gone, m.settings, m.configs = s.dead, known, v.Configs()
		m.wishes.prune(v)
		for p := range m.left {
			m.forget(v, p)
		}
		for p := range m.unowned {
			m.forget(v, p)
		}
	})
	return s
}

// forget forgets a partition that is no more.
func (m *Manager) forget(v *metastore.View, p topic.Partition) {
	if t, ok := v.TopicByID(p.Topic); !ok || p.Index >= t.Partitions {
		delete(m.left, p)
		delete(m.unowned, p)
	}
}

// deadSince is when an owner that is dead was first seen to be. The clock is this
// process's own and monotonic; a new session counts anew.
func (s *sight) deadSince(o metastore.Owner, known map[life]time.Time, now time.Time) time.Time {
	l := life{o.Broker, o.Session}
	since, ok := known[l]
	if !ok {
		since = now
	}
	s.dead[l] = since
	return since
}

// lookAtServed finds out whether a served partition is to be given up.
func (m *Manager) lookAtServed(s *sight, v *metastore.View, p topic.Partition, set settings, wished metastore.BrokerID, now time.Time) {
	part := m.Log.Partition(p)
	if part == nil || m.moving[p] {
		return
	}
	view := v.Partition(p)
	part.Configure(view.Manifest.LogStart, set.object)
	part.Hasten(set.embedded)
	if set.compacted {
		part.DropBelow(view.Manifest.Marks.Log)
	}
	if wished == m.Session.Broker() {
		return
	}
	reason := moveRebalance
	if v.Draining(m.Session.Broker()) {
		reason = moveDrain
	} else if left := m.RebalanceDelay - now.Sub(m.settled); left > 0 {
		s.soon(left) // a broker that only restarts is not worth two moves
		return
	} else if left := m.lives.Hold(wished, m.RebalanceDelay, now); left > 0 {
		s.soon(left)
		return
	}
	if left := m.calm.Sub(now); left > 0 {
		s.soon(left)
		return
	}
	s.give = append(s.give, leaving{part, reason})
}

// lookAtOther finds out whether a partition that is not served is to be taken.
func (m *Manager) lookAtOther(s *sight, v *metastore.View, p topic.Partition, object bool, wished metastore.BrokerID, now time.Time) {
	self := m.Session.Broker()
	owner, alive := v.Owner(p)
	frames := len(m.recovered[p]) > 0
	if alive && owner.Session != m.Session.ID() {
		delete(m.unowned, p)
		if frames {
			s.decide = append(s.decide, v.Partition(p))
		}
		return
	}
	since := now
	if !alive && owner.Session != 0 {
		since = s.deadSince(owner, m.gone, now)
	}
	if _, known := m.unowned[p]; !known && wished == self {
		m.unowned[p] = now
	}
	c := &candidate{reason: moveNew}
	switch {
	case owner.Session == m.Session.ID():
		// Taken by a try whose outcome was lost, or still to be adopted, or its
		// release is in doubt. Nothing was accepted under it since.
		if c := m.taken[p]; c != nil && c.owner.ModRevision == owner.ModRevision && (wished == self || frames) {
			s.take = append(s.take, c)
			return
		}
		if wished != self && !frames {
			s.release = append(s.release, p)
			return
		}
		// An owner whose release is in doubt goes on by taking again, with a new
		// epoch, and not by looking: the release may still arrive
		// [doubted-release-retakes].
		c.reason = moveAgain
	case owner.Broker == self:
		c.reason = moveRestart // our disk knows best, whoever is wished for
	case wished != self:
		if frames {
			s.decide = append(s.decide, v.Partition(p))
		}
		return
	case owner.Session != 0:
		c.reason = moveTakeover
	case owner.ModRevision != 0:
		c.reason = moveReleased
	}
	c.view = v.Partition(p)
	if c.reason == moveTakeover && !(object && c.view.AckedInBucket()) {
		if left := m.TakeoverGrace - now.Sub(since); left > 0 {
			s.soon(left)
			return
		}
	}
	if end, ok := m.left[p]; ok {
		if owner.Session == m.Session.ID() && c.view.Next() < end {
			s.soon(retry) // the catalog does not show yet what we flushed
			return
		}
	}
	s.take = append(s.take, c)
}

// forgetDeleted lets the WAL forget frames of topics that do not exist.
func (m *Manager) forgetDeleted() {
	for p, frames := range m.recovered {
		if t, ok := m.Store.Catalog().TopicByID(p.Topic); ok && p.Index < t.Partitions {
			continue
		}
		m.slog.Warn("batches in the write-ahead log belong to a topic that was deleted", "partition", p, "batches", len(frames))
		m.Log.Release(frames)
		delete(m.recovered, p)
	}
}

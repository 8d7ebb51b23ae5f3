package group

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/group/consumer"
	"github.com/chronik-stream/chronik/metastore"
)

// Config bounds the groups. Zero fields take their defaults, which are Kafka's.
type Config struct {
	SessionTimeoutMin, SessionTimeoutMax time.Duration  // 6 s, 30 min
	InitialRebalanceDelay                *time.Duration // 3 s; group.initial.rebalance.delay.ms
	MembersMax                           int            // of one group; 10,000
	ConsumerSessionTimeout               time.Duration  // 45 s; group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval            time.Duration  // 5 s; group.consumer.heartbeat.interval.ms
	Migration                            Migration      // Bidirectional
	// Times are what is set on one group of the consumer protocol; 0: nothing.
	// It may be nil, and its answer may change at any time.
	Times                  func(group string) Times
	OffsetsRetention       time.Duration // 7 days; offsets.retention.minutes
	OffsetsRetentionCheck  time.Duration // 10 min; offsets.retention.check.interval.ms
	OffsetMetadataBytesMax *int          // 4096; offset.metadata.max.bytes
}

func (c Config) limits() Limits {
	l := Limits{
		SessionTimeoutMin: c.SessionTimeoutMin, SessionTimeoutMax: c.SessionTimeoutMax, InitialDelay: 3 * time.Second,
		MembersMax: c.MembersMax, ConsumerSessionTimeout: c.ConsumerSessionTimeout,
	}
	if l.SessionTimeoutMin == 0 {
		l.SessionTimeoutMin = 6 * time.Second
	}
	if l.SessionTimeoutMax == 0 {
		l.SessionTimeoutMax = 30 * time.Minute
	}
	if c.InitialRebalanceDelay != nil {
		l.InitialDelay = *c.InitialRebalanceDelay
	}
	if l.MembersMax == 0 {
		l.MembersMax = 10_000
	}
	if l.ConsumerSessionTimeout == 0 {
		l.ConsumerSessionTimeout = 45 * time.Second
	}
	return l
}

// Coordinator runs the groups of this broker. All methods may be called at once.
type Coordinator struct {
	limits    Limits
	interval  time.Duration // between heartbeats of the consumer protocol
	timesOf   func(group string) Times
	migration Migration
	retention Retention
	metadata  int // bytes that may come with an offset
	metrics   *Metrics
	topics    func() *consumer.Topics
	log       *slog.Logger
	loads     chan struct{} // holds one for each group that is being read in the background

	mu     sync.Mutex
	terms  [metastore.Slots]*term // nil: the slot is not ours
	closed bool
}

// New returns a coordinator, which serves nothing before Begin. topics are those
// that exist now; they may change at any time.
func New(cfg Config, topics func() *consumer.Topics, log *slog.Logger, metrics *Metrics) *Coordinator {
	return &Coordinator{
		limits: cfg.limits(), interval: cmp.Or(cfg.ConsumerHeartbeatInterval, 5*time.Second), timesOf: cfg.Times,
		retention: Retention{cmp.Or(cfg.OffsetsRetention, 7*24*time.Hour), cmp.Or(cfg.OffsetsRetentionCheck, 10*time.Minute)},
		metadata:  *cmp.Or(cfg.OffsetMetadataBytesMax, new(4096)), metrics: metrics,
		migration: cmp.Or(cfg.Migration, Bidirectional), topics: topics, log: log,
		loads: make(chan struct{}, loadersMax),
	}
}

// Begin starts to serve the groups of a slot out of storage, which is that of a
// new ownership of the slot. Those that are in use are read in the background, so
// that members who stay away are missed.
func (c *Coordinator) Begin(slot int, storage Storage) {
	c.End(slot)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	t := &term{coordinator: c, slot: slot, storage: storage, commits: newCommitter(storage), groups: make(map[string]*running)}
	t.life, t.end = context.WithCancel(context.Background())
	c.terms[slot] = t
	c.metrics.slots.Inc()
	c.metrics.taken.Inc()
	t.tasks.Go(t.load)
	t.tasks.Go(t.expire)
}

// End gives up a slot that is to go to another broker, or is lost: whoever waits
// is answered with ErrNotCoordinator, and memory is dropped. What was being
// written is finished, if it can be within a few seconds: what is stored is what
// the next owner goes on with. When End returns nothing is being written any
// more. [release-after-flush]
func (c *Coordinator) End(slot int) {
	c.mu.Lock()
	t := c.terms[slot]
	c.terms[slot] = nil
	c.mu.Unlock()
	if t != nil {
		c.metrics.slots.Dec()
		t.retire()
	}
}

// Close is End of every slot for good: whoever asks from then on gets ErrClosed.
func (c *Coordinator) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.EndAll()
}

// EndAll is End of every slot.
func (c *Coordinator) EndAll() {
	var ending sync.WaitGroup
	for slot := range metastore.Slots {
		ending.Go(func() { c.End(slot) })
	}
	ending.Wait()
}

// served are the terms of the slots that are ours.
func (c *Coordinator) served() ([]*term, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	var terms []*term
	for _, t := range c.terms {
		if t != nil && t.storage.Valid() {
			terms = append(terms, t)
		}
	}
	return terms, nil
}

// check refuses a group that this broker cannot serve: one whose slot is not its
// own, or may not be any more.
func (c *Coordinator) check(group string) (*term, error) {
	c.mu.Lock()
	t, closed := c.terms[metastore.SlotOf(group)], c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case t == nil || !t.storage.Valid():
		return nil, ErrNotCoordinator
	}
	return t, nil
}

// with runs step on a group, under its lock. The returned group may be gone.
func (c *Coordinator) with(ctx context.Context, group string, step func(g *running, now time.Time)) (*running, error) {
	for {
		t, err := c.check(group)
		if err != nil {
			return nil, err
		}
		g, err := t.open(ctx, group)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if g.gone == nil && g.held == nil && !g.retired {
			now := time.Now()
			g.used = now
			g.step(now, func() { step(g, now) })
			g.mu.Unlock()
			return g, nil
		}
		gone, held := g.gone, g.held
		if gone == nil && g.retired {
			gone = ErrNotCoordinator
		}
		g.mu.Unlock()
		if gone == nil {
			if err := g.free(ctx, held); err != nil {
				return nil, err
			}
		} else if gone != errForgotten {
			return nil, gone
		}
	}
}

// stored is with, and waits until what step has seen and changed is stored.
func (c *Coordinator) stored(ctx context.Context, group string, step func(g *running, now time.Time)) error {
	done := make(chan error, 1)
	_, err := c.with(ctx, group, func(g *running, now time.Time) {
		step(g, now)
		g.told = append(g.told, func(err error) { done <- err })
	})
	if err != nil {
		return err
	}
	return settled(ctx, done)
}

// settled waits for what done tells.
func settled(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotStored, ctx.Err())
	}
}

// await waits for the answer to t, which a step on g has parked.
func (c *Coordinator) await(ctx context.Context, g *running, t Ticket) Answer {
	var err error
	select {
	case a := <-t:
		return a
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", ErrClosed, ctx.Err())
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.gone == nil {
			now := time.Now()
			g.step(now, func() {
				if s, ok := g.kind.(*State); ok {
					s.Abandon(now, t)
				}
			})
		}
	case <-g.over:
		select {
		case a := <-t:
			return a
		default:
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if err = ErrNotCoordinator; c.closed {
			err = ErrClosed
		}
	}
	return Answer{Joined: Joined{Generation: -1}, Err: err}
}

// Join runs a JoinRequest, whose NewMemberID is filled in, to its end.
func (c *Coordinator) Join(ctx context.Context, group string, r JoinRequest) (Joined, error) {
	if group == "" {
		return Joined{Generation: -1, MemberID: r.MemberID}, ErrInvalidGroupID
	}
	r.NewMemberID = newMemberID(r)
	r.RebalanceTimeout = max(0, r.RebalanceTimeout) // who says less has no time either
	t := make(Ticket, 1)
	g, err := c.with(ctx, group, func(g *running, now time.Time) {
		if k := g.consumers(); k != nil && !k.Idle() {
			g.joinConsumers(now, k, r, t)
			return
		}
		s, _ := g.kind.(*State)
		switch {
		case s == nil && r.MemberID != "":
			// Somebody who claims to be a member does not bring a group to life.
			t <- Answer{Joined: Joined{Generation: -1, MemberID: r.MemberID}, Err: ErrUnknownMember}
			return
		case s == nil:
			s = NewState(c.limits)
			if k := g.consumers(); k != nil {
				s.generation = k.Epoch() // which never goes back
			}
			g.kind = s
		}
		s.Join(now, r, t)
	})
	if err != nil {
		return Joined{Generation: -1, MemberID: r.MemberID}, err
	}
	a := c.await(ctx, g, t)
	if errors.Is(a.Err, ErrGroupFull) {
		c.metrics.full.Inc()
	}
	return a.Joined, a.Err
}

// newMemberID is "<client or instance id>-<26 random characters>", which people
// can recognise in the tools.
func newMemberID(r JoinRequest) string {
	prefix := r.ClientID
	if r.InstanceID != "" {
		prefix = r.InstanceID
	}
	// A client may name itself with as much as a string of the protocol holds,
	// and the member id has to be one too.
	return strings.ToValidUTF8(prefix[:min(len(prefix), memberIDPrefixMax)], "") + "-" + rand.Text()
}

const memberIDPrefixMax = 255

// Sync runs a SyncRequest to its end.
func (c *Coordinator) Sync(ctx context.Context, group string, r SyncRequest) (Synced, error) {
	if group == "" {
		return Synced{}, ErrInvalidGroupID
	}
	t := make(Ticket, 1)
	g, err := c.with(ctx, group, func(g *running, now time.Time) {
		switch s := g.kind.(type) {
		case *State:
			s.Sync(now, r, t)
		case *consumers:
			g.syncConsumers(now, s, r, t)
		default:
			t <- Answer{Err: ErrUnknownMember}
		}
	})
	if err != nil {
		return Synced{}, err
	}
	a := c.await(ctx, g, t)
	return a.Synced, a.Err
}

// Heartbeat keeps a member alive.
func (c *Coordinator) Heartbeat(ctx context.Context, group, id, instance string, generation int32) error {
	if group == "" {
		return ErrInvalidGroupID
	}
	var refused error
	_, err := c.with(ctx, group, func(g *running, now time.Time) {
		switch s := g.kind.(type) {
		case *State:
			refused = s.Heartbeat(now, id, instance, generation)
		case *consumers:
			refused = s.ClassicHeartbeat(now, id, instance, generation)
		default:
			refused = ErrUnknownMember
		}
	})
	return cmp.Or(err, refused)
}

// Leave removes a member.
func (c *Coordinator) Leave(ctx context.Context, group, id, instance, reason string) error {
	var refused error
	if group == "" {
		return ErrInvalidGroupID
	}
	err := c.stored(ctx, group, func(g *running, now time.Time) {
		switch s := g.kind.(type) {
		case *State:
			refused = s.Leave(now, id, instance, reason)
		case *consumers:
			refused = s.ClassicLeave(id, instance)
		default:
			refused = ErrUnknownMember
		}
	})
	return cmp.Or(err, refused)
}

// Check refuses a group that this broker does not coordinate.
func (c *Coordinator) Check(group string) error {
	_, err := c.check(group)
	return err
}

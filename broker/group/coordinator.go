package group

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
)

// Config bounds the groups. Zero fields take their defaults, which are Kafka's.
type Config struct {
	SessionTimeoutMin, SessionTimeoutMax time.Duration  // 6 s, 30 min
	InitialRebalanceDelay                *time.Duration // 3 s; group.initial.rebalance.delay.ms
	MembersMax                           int            // of one group; 10,000
}

func (c Config) limits() Limits {
	l := Limits{c.SessionTimeoutMin, c.SessionTimeoutMax, 3 * time.Second, c.MembersMax}
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
	return l
}

// Coordinator runs the groups of this broker. All methods may be called at once.
type Coordinator struct {
	limits  Limits
	offsets Offsets
	owns    func(group string) bool
	log     *slog.Logger
	commits *committer

	mu     sync.Mutex
	groups map[string]*running
	closed chan struct{} // closed by Close
}

// running is a State with its timer. It is in the Coordinator's map while gone is
// false, and only then may it be used.
type running struct {
	mu    sync.Mutex
	state *State
	timer *time.Timer
	gone  bool
}

// New returns a coordinator that keeps offsets in store. owns tells whether this
// broker is the one that coordinates a group; it may change at any time.
func New(cfg Config, store Offsets, owns func(group string) bool, log *slog.Logger) *Coordinator {
	return &Coordinator{
		limits: cfg.limits(), offsets: store, owns: owns, log: log,
		commits: newCommitter(store), groups: make(map[string]*running), closed: make(chan struct{}),
	}
}

// Close answers all parked requests with ErrClosed and stops all timers. Commits
// under way are finished.
func (c *Coordinator) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		return
	default:
	}
	close(c.closed)
	for name, g := range c.groups {
		g.mu.Lock()
		g.gone = true
		g.timer.Stop()
		g.mu.Unlock()
		delete(c.groups, name)
	}
}

// check refuses a group that this broker cannot serve.
func (c *Coordinator) check(group string) error {
	select {
	case <-c.closed:
		return ErrClosed
	default:
	}
	switch {
	case group == "":
		return ErrInvalidGroupID
	case !c.owns(group):
		return ErrNotCoordinator
	}
	return nil
}

// with runs step on a group, which is made when make is set, delivers the
// answers and sets the timer. false: there is no such group.
func (c *Coordinator) with(group string, make bool, step func(s *State, now time.Time)) bool {
	for {
		g := c.get(group, make)
		if g == nil {
			return false
		}
		if c.step(group, g, step) {
			return true
		}
		c.forget(group, g) // or whoever let it go will
	}
}

func (c *Coordinator) get(group string, make bool) *running {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.groups[group]
	if ok || !make {
		return g
	}
	select {
	case <-c.closed:
		return nil
	default:
	}
	g = &running{state: NewState(c.limits)}
	g.timer = time.AfterFunc(time.Hour, func() { c.step(group, g, (*State).Expire) })
	g.timer.Stop()
	c.groups[group] = g
	return g
}

// step runs f on g, unless g is gone: then it returns false.
func (c *Coordinator) step(group string, g *running, f func(s *State, now time.Time)) bool {
	g.mu.Lock()
	if g.gone {
		g.mu.Unlock()
		return false
	}
	now := time.Now()
	before := g.state.phase
	f(g.state, now)
	answers := g.state.Take()
	if next := g.state.Next(); next.IsZero() {
		g.timer.Stop()
	} else {
		g.timer.Reset(next.Sub(now))
	}
	after, generation, members, idle := g.state.phase, g.state.generation, len(g.state.members), g.state.Idle()
	g.gone = idle
	g.mu.Unlock()

	if idle {
		c.forget(group, g)
	}
	for _, a := range answers {
		a.To <- a
	}
	if after != before && (after == Stable || after == Empty) {
		c.log.Info("group settled", "group", group, "phase", string(after), "generation", generation, "members", members)
	}
	return true
}

// forget takes a group that is gone out of the map.
func (c *Coordinator) forget(group string, g *running) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.groups[group] == g {
		delete(c.groups, group)
	}
}

// await waits for the answer to t.
func (c *Coordinator) await(ctx context.Context, group string, t Ticket) Answer {
	select {
	case a := <-t:
		return a
	case <-ctx.Done():
		c.with(group, false, func(s *State, now time.Time) { s.Abandon(now, t) })
		return Answer{Joined: Joined{Generation: -1}, Err: fmt.Errorf("%w: %w", ErrClosed, ctx.Err())}
	case <-c.closed:
		return Answer{Joined: Joined{Generation: -1}, Err: ErrClosed}
	}
}

// Join runs a JoinRequest, whose NewMemberID is filled in, to its end.
func (c *Coordinator) Join(ctx context.Context, group string, r JoinRequest) (Joined, error) {
	if err := c.check(group); err != nil {
		return Joined{Generation: -1, MemberID: r.MemberID}, err
	}
	r.NewMemberID = newMemberID(r)
	// Somebody who claims to be a member does not bring a group to life.
	t := make(Ticket, 1)
	if !c.with(group, r.MemberID == "", func(s *State, now time.Time) { s.Join(now, r, t) }) {
		return Joined{Generation: -1, MemberID: r.MemberID}, c.absent()
	}
	a := c.await(ctx, group, t)
	return a.Joined, a.Err
}

// absent is why a group that was asked for is not here.
func (c *Coordinator) absent() error {
	select {
	case <-c.closed:
		return ErrClosed
	default:
		return ErrUnknownMember
	}
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
	if err := c.check(group); err != nil {
		return Synced{}, err
	}
	t := make(Ticket, 1)
	if !c.with(group, false, func(s *State, now time.Time) { s.Sync(now, r, t) }) {
		return Synced{}, c.absent()
	}
	a := c.await(ctx, group, t)
	return a.Synced, a.Err
}

// Heartbeat keeps a member alive.
func (c *Coordinator) Heartbeat(group, id, instance string, generation int32) error {
	err := c.check(group)
	if err != nil {
		return err
	}
	if !c.with(group, false, func(s *State, now time.Time) { err = s.Heartbeat(now, id, instance, generation) }) {
		return c.absent()
	}
	return err
}

// Leave removes a member.
func (c *Coordinator) Leave(group, id, instance string) error {
	err := c.check(group)
	if err != nil {
		return err
	}
	if !c.with(group, false, func(s *State, now time.Time) { err = s.Leave(now, id, instance) }) {
		return c.absent()
	}
	return err
}

// Check refuses a group that this broker does not coordinate.
func (c *Coordinator) Check(group string) error { return c.check(group) }

// Commit stores offsets for a member, or for somebody outside an empty group.
func (c *Coordinator) Commit(ctx context.Context, group, id, instance string, generation int32, offsets map[topic.Partition]Offset) error {
	err := c.check(group)
	if err != nil {
		return err
	}
	check := func(s *State, now time.Time) { err = s.Committable(now, id, instance, generation) }
	if !c.with(group, false, check) {
		check(NewState(c.limits), time.Now())
	}
	if err != nil || len(offsets) == 0 {
		return err
	}
	return c.commits.commit(ctx, group, offsets)
}

// Committed returns all that a group has committed; an unknown group nothing.
func (c *Coordinator) Committed(ctx context.Context, group string) (map[topic.Partition]Offset, error) {
	if err := c.check(group); err != nil {
		return nil, err
	}
	return c.offsets.FetchOffsets(ctx, group)
}

// Describe shows a group. One that only has offsets is Empty; ErrGroupUnknown.
func (c *Coordinator) Describe(ctx context.Context, group string) (Description, error) {
	if err := c.check(group); err != nil {
		return Description{Phase: Dead}, err
	}
	var d Description
	if c.with(group, false, func(s *State, _ time.Time) { d = s.Describe() }) {
		return d, nil
	}
	offsets, err := c.offsets.FetchOffsets(ctx, group)
	switch {
	case err != nil:
		return Description{Phase: Dead}, err
	case len(offsets) == 0:
		return Description{Phase: Dead}, ErrGroupUnknown
	}
	return Description{Phase: Empty, ProtocolType: "consumer"}, nil
}

// Listed is a group of List.
type Listed struct {
	Group, ProtocolType string
	Phase               Phase
}

// List returns the groups that this broker coordinates, sorted by name.
func (c *Coordinator) List(ctx context.Context) ([]Listed, error) {
	stored, err := c.offsets.GroupsWithOffsets(ctx)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]Listed, len(stored))
	for _, name := range stored {
		byName[name] = Listed{name, "consumer", Empty}
	}
	c.mu.Lock()
	names := make([]string, 0, len(c.groups))
	for name := range c.groups {
		names = append(names, name)
	}
	c.mu.Unlock()
	for _, name := range names {
		c.with(name, false, func(s *State, _ time.Time) { byName[name] = Listed{name, s.protocolType, s.phase} })
	}
	listed := make([]Listed, 0, len(byName))
	for name, l := range byName {
		if c.owns(name) {
			listed = append(listed, l)
		}
	}
	slices.SortFunc(listed, func(a, b Listed) int {
		if a.Group < b.Group {
			return -1
		}
		return 1
	})
	return listed, nil
}

// Delete forgets a group without members, and its offsets.
func (c *Coordinator) Delete(ctx context.Context, group string) error {
	if err := c.check(group); err != nil {
		return err
	}
	busy := false
	c.with(group, false, func(s *State, _ time.Time) { busy = !s.Idle() })
	if busy {
		return ErrNotEmpty
	}
	offsets, err := c.offsets.FetchOffsets(ctx, group)
	switch {
	case err != nil:
		return err
	case len(offsets) == 0:
		return ErrGroupUnknown
	}
	return c.offsets.DeleteGroupOffsets(ctx, group)
}

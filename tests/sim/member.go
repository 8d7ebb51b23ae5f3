package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/tests/history"
)

// MembersPlan is a group whose members join, leave, hang and vanish.
type MembersPlan struct {
	Group             string
	Classic, Consumer int // members of either protocol
}

// Times of the members' groups, as short as the protocols let them be.
const (
	memberSession   = 6 * time.Second
	memberRebalance = 8 * time.Second
)

// member is a client that joins a group, is given partitions, and commits ever
// larger offsets of those: from where the group stands on.
type member struct {
	*client
	group    string
	protocol protocol
	now      membership                  // epoch 0: to join
	held     map[history.Partition]int64 // where the group stands, as it knows; unknown at first
	has      atomic.Pointer[[]history.Partition]
}

// unknown is where a group stands of which the member does not know it.
const unknown int64 = -2

// protocol is how a member finds out what it is to have.
type protocol interface {
	// beat tells the coordinator that the member is there, and takes what it says.
	beat(ctx context.Context, m *member) error
	// leave tells the coordinator that the member goes.
	leave(ctx context.Context, m *member)
}

// join starts the members of a plan's groups.
func (w *World) join(ctx context.Context) {
	for _, plan := range w.plan.Members {
		for i := range plan.Classic + plan.Consumer {
			m := &member{
				client: w.newClient(fmt.Sprintf("n%d-%s", i+1, plan.Group)), group: plan.Group, held: map[history.Partition]int64{},
			}
			if m.protocol = (&classic{}); i >= plan.Classic {
				m.protocol = &consuming{}
			}
			m.publish()
			w.members = append(w.members, m)
			w.clients.Go(func() {
				defer m.close()
				for ctx.Err() == nil {
					m.live(ctx)
					pass(ctx, between(m.rng, 100*time.Millisecond, 8*time.Second))
				}
			})
		}
	}
}

// live is one life of a member, from joining to leaving, or vanishing.
func (m *member) live(ctx context.Context) {
	m.lose()
	m.now = membership{}
	end := time.Now().Add(between(m.rng, 5*time.Second, time.Minute))
	for ctx.Err() == nil {
		calm := m.w.calm.Load()
		switch {
		case calm:
		case time.Now().After(end):
			if m.rng.IntN(2) == 0 {
				m.protocol.leave(ctx, m)
			}
			m.lose()
			return
		case m.rng.IntN(30) == 0: // it hangs, and goes on as if it had not
			pass(ctx, between(m.rng, time.Second, 20*time.Second))
			m.work(ctx)
		}
		if err := m.protocol.beat(ctx, m); err != nil {
			m.failed(err)
		}
		m.publish()
		m.work(ctx)
		m.publish()
		pass(ctx, between(m.rng, 100*time.Millisecond, 900*time.Millisecond))
	}
}

// failed takes what the coordinator refused.
func (m *member) failed(err error) {
	code := new(kerr.Error)
	switch {
	case !errors.As(err, &code) || code.Retriable:
		delete(m.coordinator, m.group) // unreachable, or elsewhere
	case code == kerr.UnknownMemberID || code == kerr.FencedMemberEpoch || code == kerr.IllegalGeneration:
		m.lose()
	case code == kerr.RebalanceInProgress || code == kerr.StaleMemberEpoch:
		// The next beat has it.
	default:
		m.w.history.Report(history.Other, "%s, a member of %s, is answered %v", m.l.name, m.group, err)
		m.lose()
	}
}

// lose gives up everything: the member is to join again.
func (m *member) lose() {
	clear(m.held)
	m.now.epoch = 0
	m.publish()
}

// take makes what the coordinator gives the member what it has.
func (m *member) take(partitions []history.Partition) {
	for p := range m.held {
		if !slices.Contains(partitions, p) {
			delete(m.held, p)
		}
	}
	for _, p := range partitions {
		if _, had := m.held[p]; !had {
			m.held[p] = unknown
		}
	}
	m.w.history.Given(m.group, m.now.id, m.now.epoch, partitions...)
	m.publish()
}

// publish shows what the member has to who looks from outside.
func (m *member) publish() {
	has := slices.SortedFunc(mapKeys(m.held), comparePartitions)
	m.has.Store(&has)
}

// work goes on with one of the member's partitions.
func (m *member) work(ctx context.Context) {
	has := *m.has.Load()
	if len(has) == 0 {
		return
	}
	p := has[m.rng.IntN(len(has))]
	if m.held[p] != unknown {
		m.commitMember(ctx, p, max(m.held[p], 0)+1+m.rng.Int64N(5))
	} else if at, ok := m.lookUp(ctx, m.group, p); ok {
		m.held[p] = at
	}
}

// commitMember commits as the member that it is.
func (m *member) commitMember(ctx context.Context, p history.Partition, offset int64) {
	op := m.w.history.MemberCommit(m.group, p, offset, m.now.id, m.now.epoch)
	m.held[p] = offset
	ctx, cancel := context.WithTimeout(ctx, between(m.rng, 500*time.Millisecond, 10*time.Second))
	defer cancel()
	for doubt := false; ; doubt = true {
		err := m.tryCommit(ctx, m.group, m.now, p, offset)
		code := new(kerr.Error)
		switch refused := errors.As(err, &code) && !code.Retriable; {
		case err == nil:
			op.Acked()
			return
		case refused && !doubt:
			op.Refused()
			m.failed(err)
			return
		case refused || ctx.Err() != nil:
			op.Unknown()
			if refused {
				m.failed(err)
			}
			return
		}
		delete(m.coordinator, m.group)
		pass(ctx, between(m.rng, 20*time.Millisecond, 500*time.Millisecond))
	}
}

// ask sends a request to the group's coordinator.
func (m *member) ask(ctx context.Context, wait time.Duration, req kmsg.Request) (kmsg.Response, error) {
	address, err := m.client.group(ctx, m.group)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return m.request(ctx, address, req)
}

// settleMembers waits until every partition has one member of each group.
func (w *World) settleMembers(ctx context.Context) {
	w.calm.Store(true)
	all := w.partitions()
	slices.SortFunc(all, comparePartitions)
	var has map[string][]history.Partition
	for range 5 * 60 {
		has = map[string][]history.Partition{}
		for _, m := range w.members {
			has[m.group] = append(has[m.group], *m.has.Load()...)
		}
		settled := true
		for _, group := range has {
			slices.SortFunc(group, comparePartitions)
			settled = settled && slices.Equal(group, all)
		}
		if settled {
			return
		}
		pass(ctx, time.Second)
	}
	w.history.Report(history.Other, "five minutes after all was well the members have %v", has)
}

package group

import (
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/broker/group/consumer"
)

// Migration says which groups with members may change their protocol.
type Migration string

// The policies, by Kafka's names for group.consumer.migration.policy.
const (
	Bidirectional Migration = "bidirectional"
	UpgradeOnly   Migration = "upgrade"   // classic groups become groups of the consumer protocol
	DowngradeOnly Migration = "downgrade" // and the reverse
	NoMigration   Migration = "disabled"
)

// upgraded returns the group as one of the consumer protocol, for somebody who
// joins by it. The group itself is not changed.
func (g *running) upgraded(now time.Time, t *consumer.Topics) (*consumers, error) {
	c := g.term.coordinator
	classic := consumer.ClassicGroup{}
	if s, ok := g.kind.(*State); ok {
		classic = s.consumers()
		switch {
		case len(classic.Members) == 0:
		case c.migration != Bidirectional && c.migration != UpgradeOnly:
			return nil, fmt.Errorf("%w: it speaks the classic protocol, and may not change it", ErrGroupUnknown)
		case s.protocolType != consumer.ClassicType:
			return nil, fmt.Errorf("%w: its members are not consumers but %q", ErrGroupUnknown, s.protocolType)
		}
	}
	state, err := consumer.FromClassic(c.limitsOf(g.name).consumer(), now, t, classic)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGroupUnknown, err)
	}
	return &consumers{State: state}, nil
}

// upgrade makes the group the one that upgraded has returned. Who waits to join or
// to sync is told to join again.
func (g *running) upgrade(k *consumers) {
	if s, ok := g.kind.(*State); ok {
		for _, m := range s.members {
			s.dismiss(m, ErrRebalancing)
		}
		for _, a := range s.Take() {
			a.To <- a
		}
		if len(s.members) > 0 {
			g.term.coordinator.log.Info("group speaks the consumer protocol now", "group", g.name, "epoch", k.Epoch(), "members", k.Len())
		}
	}
	g.become(k)
}

// consumers is the group as package consumer takes it over.
func (s *State) consumers() consumer.ClassicGroup {
	g := consumer.ClassicGroup{Generation: s.generation}
	for _, m := range s.members {
		g.Members = append(g.Members, consumer.ClassicMember{
			ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.Host, Protocols: m.Protocols,
			SessionTimeout: m.sessionTimeout, RebalanceTimeout: m.rebalanceTimeout, Assignment: m.Assignment,
		})
	}
	return g
}

// downgrade makes a group of the consumer protocol, whose last member that speaks
// it has gone, one of the classic protocol again, if it may. Its members are told
// to join again; when the last one has just begun to speak the classic protocol
// itself, all hold what they are to have, and go on.
func (g *running) downgrade(now time.Time) {
	k, c := g.consumers(), g.term.coordinator
	if k == nil || !k.AllClassic() || c.migration != Bidirectional && c.migration != DowngradeOnly {
		return
	}
	s := NewState(c.limits)
	classic := k.ToClassic(c.topics())
	s.phase, s.generation, s.protocolType = Stable, classic.Generation, consumer.ClassicType
	for _, m := range classic.Members {
		member := &Member{
			ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, Host: m.Host, Protocols: m.Protocols, Assignment: m.Assignment,
			sessionTimeout: m.SessionTimeout, rebalanceTimeout: m.RebalanceTimeout, synced: true,
		}
		s.keepAlive(now, member)
		s.insert(member)
	}
	s.leader, s.protocol = s.members[0].ID, s.choose()
	s.keep()
	if k.Phase() != consumer.Stable {
		s.prepare(now, "the last member of the consumer protocol left")
	}
	c.log.Info("group speaks the classic protocol again", "group", g.name, "generation", s.generation, "members", len(s.members))
	g.become(s)
}

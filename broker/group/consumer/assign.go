package consumer

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/topic"
)

// The assignors, by the names that members ask for.
const (
	Uniform = "uniform" // balanced, and moves as little as it can
	Range   = "range"   // the same indexes of all topics together
)

// Assignors are the names of all; the first is taken when no member asks for one.
func Assignors() []string { return []string{Uniform, Range} }

// nobody is the seat of a partition that has none.
const nobody int32 = -1

// problem is what an assignor solves. Members are seats, by number.
type problem struct {
	topics []Topic
	seats  int
	// subscribed are the seats that each topic may go to, ascending.
	subscribed [][]int32
	// same: every topic may go to every seat.
	same bool
	// owner is, per topic and partition, the seat that has it now, or nobody; the
	// assignor writes there who is to have it. A seat that has a partition
	// subscribes to its topic. A topic without subscribers is not there.
	owner [][]int32
}

// assign computes the target of the group's epoch.
func (s *State) assign(t *Topics) {
	p := s.problem(t)
	switch s.assignor() {
	case Range:
		p.solveRange()
	default:
		p.solveUniform()
	}
	target := make(map[string]Assignment, len(s.members))
	given := p.assignments()
	for seat, m := range s.members {
		if old := s.target[m.ID]; old != nil && old.Equal(given[seat]) {
			target[m.ID] = old // let the new one go
		} else {
			target[m.ID] = given[seat]
			m.row = nil
		}
	}
	s.target, s.assignmentEpoch = target, s.epoch
	for _, m := range s.members {
		s.count(m)
	}
	s.changed(nil)
}

// assignor is the one that most of the members that ask for one ask for.
func (s *State) assignor() string {
	votes := make(map[string]int)
	for _, m := range s.members {
		if m.Assignor != "" {
			votes[m.Assignor]++
		}
	}
	best := Assignors()[0]
	for _, name := range Assignors() {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

func (s *State) problem(t *Topics) *problem {
	p := &problem{topics: s.topics(t), seats: len(s.members), same: len(s.subscriptions) <= 1}
	at := make(map[topic.ID]int32, len(p.topics))
	p.owner = make([][]int32, len(p.topics))
	for i, one := range p.topics {
		at[one.ID] = int32(i)
		p.owner[i] = slices.Repeat([]int32{nobody}, int(one.Partitions))
	}
	p.subscribe(s, t, at)
	for seat, m := range s.members {
		for id, indexes := range s.target[m.ID] {
			i, ok := at[id]
			if !ok {
				continue // the topic is gone, or nobody subscribes to it
			}
			if _, ok := slices.BinarySearch(p.subscribed[i], int32(seat)); !ok {
				continue
			}
			for _, index := range indexes {
				if int(index) < len(p.owner[i]) && p.owner[i][index] == nobody {
					p.owner[i][index] = int32(seat)
				}
			}
		}
	}
	return p
}

// subscribe fills in which topic may go where.
func (p *problem) subscribe(s *State, t *Topics, at map[topic.ID]int32) {
	p.subscribed = make([][]int32, len(p.topics))
	if p.same {
		everybody := make([]int32, p.seats)
		for seat := range everybody {
			everybody[seat] = int32(seat)
		}
		for i := range p.subscribed {
			p.subscribed[i] = everybody
		}
		return
	}
	for seat, m := range s.members {
		for _, one := range m.subscription.resolve(t) {
			i := at[one.ID]
			p.subscribed[i] = append(p.subscribed[i], int32(seat))
		}
	}
	p.same = !slices.ContainsFunc(p.subscribed, func(seats []int32) bool { return len(seats) != p.seats })
}

// assignments is what each seat is to have.
func (p *problem) assignments() []Assignment {
	given := make([]Assignment, p.seats)
	for seat := range given {
		given[seat] = make(Assignment)
	}
	for i, owners := range p.owner {
		id := p.topics[i].ID
		for index, seat := range owners {
			if seat != nobody {
				given[seat][id] = append(given[seat][id], int32(index))
			}
		}
	}
	return given
}

// solveRange gives each subscriber of a topic a stretch of its partitions, the
// first subscribers one more when it does not come out even. Topics with as many
// partitions and the same subscribers are cut alike, so that who has a partition
// of one has that of the other.
func (p *problem) solveRange() {
	for i, owners := range p.owner {
		seats := p.subscribed[i]
		each, more := len(owners)/len(seats), len(owners)%len(seats)
		next := 0
		for at, seat := range seats {
			n := each
			if at < more {
				n++
			}
			for range n {
				owners[next] = seat
				next++
			}
		}
	}
}

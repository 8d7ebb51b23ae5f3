package consumer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newProblem makes one of topics with that many partitions, of which seat i may
// have those in may[i]; all when may is nil.
func newProblem(seats int, partitions []int, may [][]int) *problem {
	p := &problem{seats: seats, same: may == nil}
	for i, n := range partitions {
		p.topics = append(p.topics, Topic{testID(i), fmt.Sprintf("t%03d", i), int32(n)})
		p.owner = append(p.owner, slices.Repeat([]int32{nobody}, n))
	}
	p.subscribed = make([][]int32, len(partitions))
	for seat := range seats {
		for i := range partitions {
			if may == nil || slices.Contains(may[seat], i) {
				p.subscribed[i] = append(p.subscribed[i], int32(seat))
			}
		}
	}
	return p
}

func (p *problem) loads() []int {
	load := make([]int, p.seats)
	for _, owners := range p.owner {
		for _, seat := range owners {
			load[seat]++
		}
	}
	return load
}

func (p *problem) copied() [][]int32 {
	owner := make([][]int32, len(p.owner))
	for i := range owner {
		owner[i] = slices.Clone(p.owner[i])
	}
	return owner
}

func moves(before, after [][]int32) int {
	n := 0
	for i := range before {
		for index, seat := range before[i] {
			if seat != nobody && seat != after[i][index] {
				n++
			}
		}
	}
	return n
}

func TestUniformIsBalancedAndMovesNoMoreThanItMust(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		partitions := make([]int, 1+rng.IntN(6))
		total := 0
		for i := range partitions {
			partitions[i] = 1 + rng.IntN(12)
			total += partitions[i]
		}
		seats := 1 + rng.IntN(9)
		p := newProblem(seats, partitions, nil)
		kept := make([]int, seats)
		for i := range p.owner {
			for index := range p.owner[i] {
				if seat := rng.IntN(2*seats) - seats/2; seat >= 0 && seat < seats {
					p.owner[i][index] = int32(seat)
					kept[seat]++
				}
			}
		}
		// Who has more than its share must give up the rest, and no more.
		each, more, must := total/seats, total%seats, 0
		for _, n := range kept {
			if n > each && more > 0 {
				more--
				n--
			}
			must += max(0, n-each)
		}
		before := p.copied()
		p.solveUniform()
		load := p.loads()
		require.LessOrEqual(t, slices.Max(load)-slices.Min(load), 1, "seed %d: %v", seed, load)
		require.Equal(t, must, moves(before, p.owner), "seed %d", seed)

		again := p.copied()
		p.solveUniform()
		require.Zero(t, moves(again, p.owner), "seed %d: what is balanced stays", seed)
	}
}

func TestUniformSpreadsEachTopic(t *testing.T) {
	p := newProblem(2, []int{4, 4}, nil)
	p.solveUniform()
	require.Equal(t, [][]int32{{0, 0, 0, 0}, {1, 1, 1, 1}}, slices.SortedFunc(slices.Values(p.copied()), slices.Compare), "dealt index by index")
	p = newProblem(1, []int{4, 4}, nil)
	p.solveUniform()
	grown := newProblem(2, []int{4, 4}, nil)
	grown.owner = p.owner
	grown.solveUniform()
	for _, owners := range grown.owner {
		require.Equal(t, 2, len(slices.DeleteFunc(owners, func(seat int32) bool { return seat == 0 })))
	}
}

func TestUniformWithDifferentSubscriptionsCannotBeImprovedByOneMove(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		partitions := make([]int, 1+rng.IntN(8))
		for i := range partitions {
			partitions[i] = 1 + rng.IntN(12)
		}
		may := make([][]int, 1+rng.IntN(9))
		for seat := range may {
			for i := range partitions {
				if rng.IntN(2) == 0 || seat == 0 { // somebody may have each
					may[seat] = append(may[seat], i)
				}
			}
		}
		p := newProblem(len(may), partitions, may)
		p.solveUniform()
		load := p.loads()
		for i, owners := range p.owner {
			for _, seat := range owners {
				require.Contains(t, p.subscribed[i], seat)
				for _, other := range p.subscribed[i] {
					require.LessOrEqual(t, load[seat], load[other]+1, "seed %d: %v", seed, load)
				}
			}
		}
		again := p.copied()
		p.solveUniform()
		require.Zero(t, moves(again, p.owner), "seed %d: what is balanced stays", seed)

		// One leaves: only what it had moves, and what that sets off.
		gone := int32(rng.IntN(p.seats))
		lost := load[gone]
		for i := range p.owner {
			for index, seat := range p.owner[i] {
				if seat == gone {
					p.owner[i][index] = nobody
				}
			}
			if len(p.subscribed[i]) > 1 {
				p.subscribed[i] = slices.DeleteFunc(p.subscribed[i], func(seat int32) bool { return seat == gone })
			}
		}
		before := p.copied()
		p.solveUniform()
		require.LessOrEqual(t, moves(before, p.owner), 3*lost+3, "seed %d: %d were lost", seed, lost)
	}
}

func TestRangeCutsTopicsAlike(t *testing.T) {
	p := newProblem(3, []int{7, 7, 2}, nil)
	p.solveRange()
	require.Equal(t, [][]int32{{0, 0, 0, 1, 1, 2, 2}, {0, 0, 0, 1, 1, 2, 2}, {0, 1}}, p.owner)
	p = newProblem(3, []int{4, 4}, [][]int{{0, 1}, {0}, {0, 1}})
	p.solveRange()
	require.Equal(t, [][]int32{{0, 0, 1, 2}, {0, 0, 2, 2}}, p.owner)
}

// large is a group of many members that have settled, over topics of 1,000
// partitions each.
func large(b *testing.B, members, topics, kinds int) (*State, *Topics) {
	b.Helper()
	var all []Topic
	var names []string
	for i := range topics {
		all = append(all, Topic{testID(i), fmt.Sprintf("t%03d", i), 1000})
		names = append(names, all[i].Name)
	}
	view := NewTopics(1, all)
	s := NewState(Limits{SessionTimeout: testSession, MembersMax: members + 1})
	for i := range members {
		m := &Member{ID: fmt.Sprintf("m%d", i)}
		s.insert(m)
		s.subscribe(m, names[i%kinds:], "", nil)
	}
	s.look(view, true)
	s.bump()
	s.assign(view)
	return s, view
}

func BenchmarkAssign(b *testing.B) {
	for _, size := range []struct{ members, topics, kinds int }{{100, 1, 1}, {10_000, 10, 1}, {10_000, 100, 1}, {10_000, 100, 20}} {
		b.Run(fmt.Sprintf("members=%d,partitions=%d,subscriptions=%d", size.members, 1000*size.topics, size.kinds), func(b *testing.B) {
			s, view := large(b, size.members, size.topics, size.kinds)
			for b.Loop() { // one comes or goes
				if s.Len() == size.members {
					m := &Member{ID: "another"}
					s.insert(m)
					s.subscribe(m, s.members[0].Names(), "", nil)
				} else {
					s.remove(s.byID["another"])
				}
				s.assign(view)
			}
		})
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	s, view := large(b, 10_000, 10, 1)
	now := time.Unix(1000, 0)
	for _, m := range s.members {
		s.reconcile(now, m, Assignment{})
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m := s.members[i%len(s.members)]
		i++
		now = now.Add(time.Microsecond)
		if _, err := s.Heartbeat(now, view, Heartbeat{MemberID: m.ID, Epoch: m.Epoch, RebalanceTimeout: -1}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestALargeFleetThatStartsIsAssignedTogether(t *testing.T) {
	const members, partitions = 3000, 3000
	view := NewTopics(1, []Topic{{testID(0), "t0", partitions}})
	s := NewState(Limits{SessionTimeout: testSession, MembersMax: members})
	now := time.Unix(1000, 0)
	computed := map[int32]bool{}
	for i := range members {
		beat, err := s.Heartbeat(now, view, joinRequest(fmt.Sprintf("m%d", i)))
		require.NoError(t, err)
		require.Positive(t, beat.Epoch)
		computed[s.assignmentEpoch] = true
		now = now.Add(time.Millisecond)
	}
	require.Less(t, len(computed), 1100, "the first thousand each, then in bunches")
	for range 3 {
		for _, m := range s.members {
			_, err := s.Heartbeat(now, view, Heartbeat{MemberID: m.ID, Epoch: m.Epoch, RebalanceTimeout: -1, Owned: m.Assigned})
			require.NoError(t, err)
		}
		now = now.Add(5 * time.Second)
	}
	require.Equal(t, Stable, s.Phase())
	for _, m := range s.members {
		require.Equal(t, 1, m.Assigned.Len())
	}
}

// A fleet of 10,000 that starts within ten seconds.
func BenchmarkTenThousandJoin(b *testing.B) {
	for b.Loop() {
		_, view := large(b, 1, 10, 1)
		s := NewState(Limits{SessionTimeout: testSession, MembersMax: 10_000})
		now := time.Unix(1000, 0)
		for i := range 10_000 {
			r := joinRequest(fmt.Sprintf("m%d", i), "t000", "t001", "t002", "t003", "t004", "t005", "t006", "t007", "t008", "t009")
			now = now.Add(time.Millisecond)
			if _, err := s.Heartbeat(now, view, r); err != nil {
				b.Fatal(err)
			}
		}
	}
}

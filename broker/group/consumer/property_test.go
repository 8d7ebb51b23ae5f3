package consumer

import (
	"fmt"
	"testing"
	"time"
)

// checkWhole: every partition that somebody subscribes to has one reader, and no
// reader could be relieved by another.
func (w *world) checkWhole() {
	p := w.state.problem(w.view)
	load := make([]int, p.seats)
	for i, owners := range p.owner {
		for index, seat := range owners {
			if seat == nobody {
				w.fatal("nobody reads %s/%d", p.topics[i].Name, index)
			}
			load[seat]++
		}
	}
	if w.state.assignor() == Range {
		return
	}
	for i, owners := range p.owner {
		for index, seat := range owners {
			for _, other := range p.subscribed[i] {
				if load[seat] > load[other]+1 {
					w.fatal("seat %d has %d partitions, %s/%d among them; seat %d has %d: %v", seat, load[seat], p.topics[i].Name, index, other, load[other], load)
				}
			}
		}
	}
}

func (w *world) run(events int) {
	for range events {
		w.event()
	}
	// Those that are gone are given up; then it settles.
	for range 20 {
		for _, c := range w.clients {
			w.turn(c, false)
			w.check()
		}
		w.pass(5 * time.Second)
	}
	if rounds := w.settle(); rounds > 20 {
		w.fatal("it took %d rounds to settle %d clients", rounds, len(w.clients))
	}
	w.checkWhole()
}

func TestNoPartitionIsEverReadByTwoAndEveryGroupSettles(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			newWorld(t, uint64(seed), 4).run(400)
		})
	}
}

func TestMembersOfTheClassicProtocolReadBesideTheOthers(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, uint64(seed), 4)
			w.classic = true
			w.run(400)
		})
	}
}

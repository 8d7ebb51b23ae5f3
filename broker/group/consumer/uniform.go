package consumer

import "iter"

// solveUniform spreads the partitions so that no seat could be relieved of one by
// another that may have it and has at least two fewer, and moves no more of them
// than that takes.
func (p *problem) solveUniform() {
	if p.seats == 0 {
		return
	}
	if p.same {
		p.solveSame()
		return
	}
	p.solveMixed()
}

// byIndex yields all partitions, those of all topics with index 0 first: what is
// taken and dealt in this order spreads every topic over the seats.
func (p *problem) byIndex() iter.Seq2[int, int] {
	return func(yield func(topic, index int) bool) {
		for index, more := 0, true; more; index++ {
			more = false
			for i, owners := range p.owner {
				if index >= len(owners) {
					continue
				}
				more = true
				if !yield(i, index) {
					return
				}
			}
		}
	}
}

// solveSame is for seats that may all have everything: each gets the same number,
// some one more.
func (p *problem) solveSame() {
	total := 0
	load := make([]int, p.seats)
	for _, owners := range p.owner {
		total += len(owners)
		for _, seat := range owners {
			if seat != nobody {
				load[seat]++
			}
		}
	}
	each, more := total/p.seats, total%p.seats
	room := make([]int, p.seats) // how many more a seat may keep
	for seat, n := range load {
		room[seat] = each
		if n > each && more > 0 {
			room[seat]++
			more--
		}
	}
	left := 0
	for i, index := range p.byIndex() {
		seat := p.owner[i][index]
		if seat != nobody && room[seat] > 0 {
			room[seat]--
			continue
		}
		p.owner[i][index] = nobody
		left++
	}
	if left == 0 {
		return
	}
	// Who still has room has less than each; the others may have one more.
	hands := make(deal, 0, left)
	for seat := range room {
		if room[seat] > 0 {
			hands = append(hands, hand{int32(seat), room[seat]})
		}
	}
	needed := hands.size()
	for seat := 0; seat < p.seats && needed < left; seat++ {
		if load[seat] <= each {
			hands = append(hands, hand{int32(seat), 1})
			needed++
		}
	}
	for i, index := range p.byIndex() {
		if p.owner[i][index] == nobody {
			p.owner[i][index] = hands.next()
		}
	}
}

// deal hands out partitions in turn to seats, each as many as it is to get.
type deal []hand

type hand struct {
	seat int32
	want int
}

func (d deal) size() int {
	n := 0
	for _, h := range d {
		n += h.want
	}
	return n
}

// next returns the seat that is to get the next one. There must be one.
func (d *deal) next() int32 {
	h := (*d)[0]
	*d = (*d)[1:]
	if h.want > 1 {
		*d = append(*d, hand{h.seat, h.want - 1})
	}
	return h.seat
}

// solveMixed is for seats with different subscriptions. Topic by topic it levels
// the loads of the topic's subscribers, like water that is poured over stones,
// until no topic changes any more. That ends, for each change makes the sum of
// the squares of the loads smaller.
func (p *problem) solveMixed() {
	load := make([]int, p.seats)
	for _, owners := range p.owner {
		for _, seat := range owners {
			if seat != nobody {
				load[seat]++
			}
		}
	}
	have, want := make([]int, p.seats), make([]int, p.seats)
	for changed := true; changed; {
		changed = false
		for i := range p.owner {
			changed = p.level(i, load, have, want) || changed
		}
	}
}

// level spreads the partitions of one topic, and reports whether any moved. have
// and want are room to count in.
func (p *problem) level(i int, load, have, want []int) bool {
	seats, owners := p.subscribed[i], p.owner[i]
	for _, seat := range seats {
		have[seat] = 0
	}
	for _, seat := range owners {
		if seat != nobody {
			have[seat]++
		}
	}
	// The highest level such that filling everybody up to it takes no more
	// partitions than there are; what is left goes on top, one each.
	base := func(seat int32) int { return load[seat] - have[seat] }
	low, high := base(seats[0]), 0
	for _, seat := range seats {
		low = min(low, base(seat))
	}
	takes := func(level int) int {
		n := 0
		for _, seat := range seats {
			n += max(0, level-base(seat))
		}
		return n
	}
	for high = low + len(owners) + 1; high-low > 1; {
		if middle := (low + high) / 2; takes(middle) <= len(owners) {
			low = middle
		} else {
			high = middle
		}
	}
	rest := len(owners) - takes(low)
	moved := false
	for _, seat := range seats {
		want[seat] = max(0, low-base(seat))
	}
	for _, keeps := range [...]bool{true, false} { // who has one more already keeps it
		for _, seat := range seats {
			if rest > 0 && base(seat) <= low && want[seat] == max(0, low-base(seat)) && (have[seat] > want[seat]) == keeps {
				want[seat]++
				rest--
			}
		}
	}
	var hands deal
	for _, seat := range seats {
		load[seat] += want[seat] - have[seat]
		if want[seat] > have[seat] {
			hands = append(hands, hand{seat, want[seat] - have[seat]})
			moved = true
		}
	}
	if !moved {
		return false
	}
	for index, seat := range owners {
		if seat != nobody && want[seat] > 0 {
			want[seat]--
		} else {
			owners[index] = nobody
		}
	}
	for index, seat := range owners {
		if seat == nobody {
			owners[index] = hands.next()
		}
	}
	return true
}

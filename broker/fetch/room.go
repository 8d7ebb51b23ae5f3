package fetch

import "github.com/chronik-stream/chronik/broker/core"

// room is what an answer may have: what its client wants, and of that what there
// is besides the answers of all others. Its first batch may be larger than the
// client wants, as it could never go on otherwise, but not larger than what there
// is: thousands of clients that do not take their large batches would have the
// broker's memory.
type room struct {
	of       core.AnswerRoom // nil: there are no others
	bytesMax int             // that the client wants
	used     int
	left     int  // what is set aside besides
	most     int  // that the answer can have, as it turned out
	short    bool // there was no room for the first batch
}

func newRoom(of core.AnswerRoom, bytesMax int) *room {
	return &room{of: of, bytesMax: bytesMax, most: bytesMax}
}

func (r *room) empty() bool { return r.used == 0 }

// full tells that nothing more fits.
func (r *room) full() bool { return r.left <= 0 && !r.empty() }

// take sets aside what there is of wanted bytes more, in place of what is left.
func (r *room) take(wanted int) {
	wanted = max(0, min(wanted, r.bytesMax-r.used))
	r.left = wanted
	if r.of != nil {
		if r.left = max(0, r.of.Take(r.used+wanted)-r.used); r.left < wanted {
			r.most = r.used + r.left
		}
	}
}

// forFirst is how large the next batch may be, if it is the first.
func (r *room) forFirst() int {
	if r.empty() {
		return r.left
	}
	return 0
}

// first makes room for the first batch, which is larger than what is left.
func (r *room) first(bytes int) bool {
	if !r.empty() {
		return false
	}
	if r.of != nil && !r.of.First(bytes) {
		r.short = true
		return false
	}
	further := r.left
	if r.left = bytes; bytes < r.bytesMax {
		r.take(bytes + further)
	}
	return true
}

func (r *room) use(n int) {
	r.used += n
	r.left -= n
}

// keep gives back what is left.
func (r *room) keep() {
	r.left = 0
	if r.of != nil {
		r.of.Keep(r.used)
	}
}

package embedder

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// queue makes requests of the texts of calls. A request takes from the call that
// waits the longest, and, while it has room, from the next; a call that has more
// goes to the end, so that a long one does not hold up short ones. Nothing
// lingers: as long as fewer requests are under way than may be, texts go at once.
type queue struct {
	settle      func(context.Context, *batch) error
	concurrency int
	limits      limits
	meter       *meter

	mu       sync.Mutex
	batchMax int     // texts of a request
	waiting  []*call // which have texts that are in no request
	running  int
}

func newQueue(settle func(context.Context, *batch) error, batchMax, concurrency int, l limits, m *meter) *queue {
	return &queue{settle: settle, batchMax: batchMax, concurrency: concurrency, limits: l, meter: m}
}

// call is one caller's texts. The queue's lock guards it until done is closed.
type call struct {
	texts    []item
	next     int // of texts, those before it are in requests
	underway map[*request]struct{}
	err      error // the first; nothing more is sent then
	done     chan struct{}

	settled    []settled
	values     []float32
	dimensions int
	tokens     int
	cut        int
	blank      int
}

// item is a text that is to be embedded, and its place among the caller's.
type item struct {
	text string
	at   int
	cut  bool // the caller's is longer
}

// request is a batch under way, and whose texts it has.
type request struct {
	batch  *batch
	parts  []part
	cancel context.CancelFunc
}

// part is the texts of one call in a request.
type part struct {
	call  *call
	items []item
}

func newCall(texts []string, l limits) *call {
	c := &call{
		texts: make([]item, 0, len(texts)), underway: make(map[*request]struct{}),
		done: make(chan struct{}), settled: make([]settled, len(texts)),
	}
	for i, text := range texts {
		if strings.TrimSpace(text) == "" {
			c.settled[i] = refused // providers refuse blank texts, and with them the whole request
			c.blank++
			continue
		}
		it := item{text: text, at: i}
		if l.inputBytesMax > 0 && len(text) > l.inputBytesMax {
			it.text, it.cut = cut(text, l.inputBytesMax), true
			c.cut++
		}
		c.texts = append(c.texts, it)
	}
	return c
}

// vectors is what the call has, once it is done.
func (c *call) vectors(m Model) Vectors {
	v := Vectors{Model: m, Values: c.values, Cut: c.cut, Tokens: c.tokens, settled: c.settled}
	if n := slices.Index(c.settled, pending); n >= 0 {
		v.settled = c.settled[:n]
		v.Values = c.values[:min(len(c.values), n*c.dimensions)]
	}
	return v
}

// do embeds a call's texts. It returns when none of them is in a request any
// more, or ctx ends.
func (q *queue) do(ctx context.Context, c *call) error {
	if err := context.Cause(ctx); err != nil || len(c.texts) == 0 {
		return err // also where an answer would be there at once
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	q.meter.waits(len(c.texts))
	for more := len(c.texts); more > 0 && q.running < q.concurrency; more -= q.batchMax {
		q.running++
		go q.work()
	}
	q.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	default:
	}
	q.give(c, context.Cause(ctx))
	for r := range c.underway {
		delete(c.underway, r)
		if !slices.ContainsFunc(r.parts, func(p part) bool { _, wanted := p.call.underway[r]; return wanted }) {
			r.cancel() // nobody waits for it any more
		}
	}
	close(c.done)
	return c.err
}

// give takes a call's texts that are in no request out of the queue. The lock is
// held.
func (q *queue) give(c *call, err error) {
	if c.err == nil {
		c.err = err
	}
	q.meter.waits(-(len(c.texts) - c.next))
	c.next = len(c.texts)
	q.waiting = slices.DeleteFunc(q.waiting, func(other *call) bool { return other == c })
}

// work sends requests while there are texts for them.
func (q *queue) work() {
	for {
		ctx, cancel := context.WithCancel(context.Background()) // many callers' requests are no single one's
		q.mu.Lock()
		r := q.take()
		if r == nil {
			q.running--
			q.mu.Unlock()
			cancel()
			return
		}
		r.cancel = cancel
		q.mu.Unlock()
		err := q.settle(ctx, r.batch)
		cancel()
		q.hand(r, err)
	}
}

// shrink is a provider that takes fewer texts in a request.
func (q *queue) shrink(texts int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batchMax = min(q.batchMax, max(texts, 1))
}

// take makes the next request. The lock is held.
func (q *queue) take() *request {
	if len(q.waiting) == 0 {
		return nil
	}
	r := &request{batch: &batch{}}
	room, tokens, bytes := q.batchMax, q.limits.requestTokensMax, q.limits.requestBytesMax
	for room > 0 && len(q.waiting) > 0 {
		c := q.waiting[0]
		first := c.next
		for ; c.next < len(c.texts) && room > 0; c.next++ {
			text := c.texts[c.next].text
			if (tokensOf(text) > tokens || len(text) > bytes) && len(r.batch.texts) > 0 {
				room = 0
				break
			}
			r.batch.texts = append(r.batch.texts, text)
			tokens -= tokensOf(text)
			bytes -= len(text)
			room--
		}
		if c.next > first {
			r.parts = append(r.parts, part{c, c.texts[first:c.next]})
			c.underway[r] = struct{}{}
		}
		q.waiting = q.waiting[1:]
		if c.next < len(c.texts) {
			q.waiting = append(q.waiting, c)
			break // the request is full
		}
	}
	r.batch.settled = make([]settled, len(r.batch.texts))
	return r
}

// hand gives the calls of a request what became of their texts.
func (q *queue) hand(r *request, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b, at := r.batch, 0
	q.meter.waits(-len(b.texts))
	for _, p := range r.parts {
		c, first := p.call, at
		at += len(p.items)
		if _, wanted := c.underway[r]; !wanted {
			continue // it was given up, and its caller reads what it has
		}
		delete(c.underway, r)
		c.take(b, first, p.items)
		if err != nil {
			q.give(c, err)
		}
		if c.next == len(c.texts) && len(c.underway) == 0 {
			close(c.done)
		}
	}
}

// take copies what a batch has for the items that begin at first of it.
func (c *call) take(b *batch, first int, items []item) {
	d := len(b.values) / len(b.texts)
	if c.values == nil && d > 0 {
		c.values, c.dimensions = make([]float32, len(c.settled)*d), d
	}
	for i, it := range items {
		i += first
		c.settled[it.at] = b.settled[i]
		if b.settled[i] == embedded {
			copy(c.values[it.at*d:], b.values[i*d:(i+1)*d])
		}
		if b.cut != nil && b.cut[i] && !it.cut {
			c.cut++
		}
	}
	// Tokens are counted for a request: each call has its share.
	c.tokens += b.tokens * len(items) / len(b.texts)
}

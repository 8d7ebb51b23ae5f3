package tail

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/topic"
)

// errRestarted means: this reader is over, a new one may begin.
var errRestarted = errors.New("tail reader restarted")

// reader follows one topic.
type reader struct {
	tails  *Tails
	client *kgo.Client
	name   string
	key    Key
	id     topic.ID
	ctx    context.Context // of run
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned

	buffered int64 // bytes that the client has fetched ahead, as the budget has them; run's alone

	mu      sync.Mutex
	parts   map[int32]store
	used    time.Time
	waiting int           // queries
	err     error         // the brokers' last, for those who wait in vain
	over    error         // set once: why this reader serves no more
	changed chan struct{} // closed and replaced at each change of the above
}

func newReader(t *Tails, client *kgo.Client, name string, key Key) *reader {
	ctx, cancel := context.WithCancel(context.Background())
	return &reader{
		tails: t, client: client, name: name, key: key, id: key.ID, ctx: ctx, cancel: cancel, done: make(chan struct{}),
		parts: map[int32]store{}, changed: make(chan struct{}),
	}
}

// use notes that a query came, and begins partitions that were not read before.
func (r *reader) use(request Request, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = now
	begin := map[int32]kgo.Offset{}
	for _, w := range request.Wants {
		switch p := r.parts[w.Partition].(type) {
		case nil:
			r.parts[w.Partition] = r.newStore(request, w)
			begin[w.Partition] = kgo.NewOffset().At(w.First)
		case *index:
			p.configure(*request.Index)
		}
	}
	if len(begin) > 0 {
		r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.name: begin})
	}
}

// newStore is what keeps a partition's records in the form that is asked for.
func (r *reader) newStore(request Request, w Want) store {
	partition := topic.Partition{Topic: r.id, Index: w.Partition}
	if request.Index != nil {
		return newIndex(r.ctx, r.tails.options.Dir, partition, *request.Index, w.First, r.tails.budget, r.tails.options.Log)
	}
	o := columnar.TailOptions(r.name, partition)
	o.Fixed = request.Fixed
	return newPart(r.tails.options.Dir, o, w.First, r.tails.budget)
}

// idle reports whether no query waits, or came or waited since then.
func (r *reader) idle(since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting == 0 && r.used.Before(since)
}

// lastUsed is when a query came last, or stopped waiting; idle: none waits now.
func (r *reader) lastUsed() (used time.Time, idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used, r.waiting == 0
}

// await counts a query that waits, until it calls what is returned.
func (r *reader) await() (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting--
		r.used = time.Now()
	}
}

// run reads until the reader is closed or has to begin anew.
func (r *reader) run() {
	defer close(r.done)
	defer func() { r.buffer(0) }()
	for r.room() {
		fetches := r.client.PollRecords(r.ctx, 20_000)
		if r.ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		var failed error
		fetches.EachTopic(func(f kgo.FetchTopic) {
			// A broker told the client which topic has the name: it may know of
			// the one before, or already of the next.
			if f.TopicID != (topic.ID{}) && f.TopicID != r.id {
				failed = fmt.Errorf("records came of another topic of that name, %s", topic.ID(f.TopicID))
			}
		})
		if failed != nil {
			r.tails.options.Log.Info("the tail of a topic begins anew", "topic", r.name, "err", failed)
			r.end(errRestarted)
			return
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if p := r.part(f.Partition); p != nil {
				// The client has gone on where the log begins now.
				if start := f.LogStartOffset; start > p.position() {
					p.delete(start)
				}
				failed = errors.Join(failed, p.append(f.Records))
			}
			if f.Err != nil {
				r.note(f.Partition, f.Err)
				if lost := (*kgo.ErrDataLoss)(nil); errors.As(f.Err, &lost) {
					failed = errors.Join(failed, f.Err)
				}
			}
		})
		if failed != nil {
			r.tails.options.Log.Warn("the tail of a topic begins anew", "topic", r.name, "err", failed)
			r.end(errRestarted)
			return
		}
		r.buffer(r.client.BufferedFetchBytes())
		r.notify(func() {})
	}
}

// buffer counts what the client has fetched ahead.
func (r *reader) buffer(bytes int64) {
	r.tails.budget.add(bytes - r.buffered)
	r.buffered = bytes
}

// room waits until there is room for more, or returns false when the reader ends.
// While queries wait, tails that none waits for give way.
func (r *reader) room() bool {
	for r.ctx.Err() == nil {
		room, freed := r.tails.budget.fits(r.buffered)
		if room {
			return true
		}
		if _, idle := r.lastUsed(); !idle {
			if gone := r.tails.evict(); gone != nil {
				freed = gone
			}
		}
		again := time.NewTimer(roomPause) // a query may have come or gone
		select {
		case <-freed:
		case <-again.C:
		case <-r.ctx.Done():
		}
		again.Stop()
	}
	return false
}

// roomPause is between two looks for a tail that could give way.
const roomPause = 100 * time.Millisecond

func (r *reader) part(index int32) store {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts[index]
}

// note keeps a broker's error; the client tries again by itself.
func (r *reader) note(partition int32, err error) {
	r.tails.options.Log.Debug("fetch for the tail failed", "topic", r.name, "partition", partition, "err", err)
	r.tails.reseed(r.client)
	r.notify(func() { r.err = fmt.Errorf("fetch %s/%d: %w", r.name, partition, err) })
}

// notify changes the state under its lock and wakes those who wait.
func (r *reader) notify(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// end makes every call fail with err from now on; the first reason stays.
func (r *reader) end(err error) {
	r.notify(func() {
		if r.over == nil {
			r.over = err
		}
	})
}

// close ends the reader and removes the files that no snapshot holds.
func (r *reader) close() {
	r.end(errRestarted)
	r.cancel()
	<-r.done
	r.client.Close()
	r.mu.Lock()
	parts := maps.Clone(r.parts)
	r.mu.Unlock()
	for _, index := range slices.Sorted(maps.Keys(parts)) {
		parts[index].close()
	}
}

// wait blocks until every target is reached.
func (r *reader) wait(ctx context.Context, request Request) error {
	defer r.await()()
	for {
		r.mu.Lock()
		over, changed, lastErr := r.over, r.changed, r.err
		r.mu.Unlock()
		if over != nil {
			return over
		}
		behind := r.behind(request.Wants)
		if len(behind) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &LaggingError{
				Topic: r.name, Partitions: behind, Full: r.tails.budget.full(), Cause: errors.Join(ctx.Err(), lastErr),
			}
		}
	}
}

func (r *reader) behind(wants []Want) []Lag {
	var lags []Lag
	for _, w := range wants {
		if next := r.part(w.Partition).position(); next < w.Target {
			lags = append(lags, Lag{w.Partition, next, w.Target})
		}
	}
	return lags
}

// snapshot holds what was read.
func (r *reader) snapshot(request Request) (*Snapshot, error) {
	parts := make([]held, len(request.Wants))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, w := range request.Wants {
		group.Go(func() (err error) {
			parts[i], err = r.part(w.Partition).take(r.ctx, w)
			return err
		})
	}
	err := group.Wait()
	s := &Snapshot{Starts: map[int32]int64{}, Next: map[int32]int64{}, release: func() {
		for _, h := range parts {
			if h.release != nil {
				h.release()
			}
		}
	}}
	if err != nil {
		s.Release()
		return nil, err
	}
	for i, h := range parts {
		s.Files, s.Splits = append(s.Files, h.files...), append(s.Splits, h.splits...)
		index := request.Wants[i].Partition
		s.Starts[index], s.Next[index] = h.start, h.next
	}
	return s, nil
}

// trim lets go of rows below the marks. A partition whose mark has overtaken
// the reader goes on at the mark.
func (r *reader) trim(marks map[int32]int64) {
	skip := map[int32]kgo.Offset{}
	for index, mark := range marks {
		if p := r.part(index); p != nil && p.trim(mark) {
			skip[index] = kgo.NewOffset().At(mark)
		}
	}
	if len(skip) > 0 {
		r.client.RemoveConsumePartitions(map[string][]int32{r.name: slices.Sorted(maps.Keys(skip))})
		r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.name: skip})
	}
	r.notify(func() {})
}

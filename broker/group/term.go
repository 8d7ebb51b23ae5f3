package group

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/metastore"
)

// term is the coordinator's work in one ownership of a slot.
type term struct {
	coordinator *Coordinator
	slot        int
	storage     Storage
	commits     *committer
	life        context.Context
	end         context.CancelFunc
	tasks       sync.WaitGroup

	mu      sync.Mutex
	groups  map[string]*running
	retired bool // no group is opened any more
}

// owns tells whether a group is of the term's slot.
func (t *term) owns(name string) bool { return metastore.SlotOf(name) == t.slot }

// retireWait is how long a slot is held for writes that are under way.
const retireWait = 2 * time.Second

// retire ends the term. Writes that are under way have a moment to end well: what
// they store need not be done again elsewhere.
func (t *term) retire() {
	t.mu.Lock()
	t.retired = true
	t.mu.Unlock()
	groups := t.all()
	for _, g := range groups {
		g.retire()
	}
	wait := retireWait
	if !t.storage.Valid() {
		wait = 0 // what is written is refused, or cannot be sent
	}
	enough, stop := context.WithTimeout(context.Background(), wait)
	defer stop()
	for _, g := range groups {
		select {
		case <-g.over:
		case <-enough.Done():
		}
	}
	t.commits.close(enough.Done())
	t.end()
	for _, g := range t.all() {
		g.drop(ErrNotCoordinator)
	}
	t.tasks.Wait()
}

// open returns the group, read if it is not in memory. It is ready, and may be
// gone when the caller comes to use it.
func (t *term) open(ctx context.Context, name string) (*running, error) {
	t.mu.Lock()
	g := t.groups[name]
	if g == nil {
		if t.retired {
			t.mu.Unlock()
			return nil, ErrNotCoordinator
		}
		g = &running{name: name, term: t, ready: make(chan struct{}), over: make(chan struct{}), used: time.Now()}
		t.groups[name] = g
		t.tasks.Go(g.load)
	}
	t.mu.Unlock()
	select {
	case <-g.ready: // whether or not somebody still waits for the answer
		return g, nil
	default:
	}
	timeout := time.NewTimer(storeWait)
	defer timeout.Stop()
	select {
	case <-g.ready:
		return g, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrLoading, ctx.Err())
	case <-timeout.C:
		return nil, ErrLoading
	}
}

const (
	// loadersMax is how many groups are read at once in the background.
	loadersMax = 16
	// loadPause is how long a group, or all of them, are let alone that could
	// not be read.
	loadPause = time.Second
)

// load reads the groups of the slot that have members.
func (t *term) load() {
	var heads map[string][]byte
	for {
		var err error
		if heads, err = t.storage.GroupHeads(t.life); err == nil {
			break
		}
		if t.life.Err() == nil {
			t.coordinator.log.Warn("groups cannot be read yet", "slot", t.slot, "error", err)
		}
		select {
		case <-time.After(loadPause):
		case <-t.life.Done():
			return
		}
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	for name, head := range heads {
		if s, err := summarize(head); !t.owns(name) || err == nil && s.Phase == Empty {
			continue
		}
		select {
		case t.coordinator.loads <- struct{}{}:
		case <-t.life.Done():
			return
		}
		reading.Go(func() {
			defer func() { <-t.coordinator.loads }()
			// What cannot be read is told where it is read, and asked for again.
			_, _ = t.open(t.life, name)
		})
	}
}

func (t *term) forget(g *running) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.groups[g.name] == g {
		delete(t.groups, g.name)
	}
}

// all returns the groups in memory.
func (t *term) all() []*running {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*running, 0, len(t.groups))
	for _, g := range t.groups {
		all = append(all, g)
	}
	return all
}

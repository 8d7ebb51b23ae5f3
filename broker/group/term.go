package group

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// term is the coordinator's work in one session of the broker.
type term struct {
	coordinator *Coordinator
	storage     Storage
	commits     *committer
	life        context.Context
	end         context.CancelFunc
	tasks       sync.WaitGroup
	review      chan struct{} // asks loads to look again; holds one

	mu     sync.Mutex
	groups map[string]*running
}

// open returns the group, read if it is not in memory. It is ready, and may be
// gone when the caller comes to use it.
func (t *term) open(ctx context.Context, name string) (*running, error) {
	t.mu.Lock()
	g := t.groups[name]
	if g == nil {
		if t.life.Err() != nil {
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
	// loadersMax is how many groups are read at once when a session begins.
	loadersMax = 16
	// loadPause is how long a group, or all of them, are let alone that could
	// not be read.
	loadPause = time.Second
)

// loads reads this broker's groups when the term begins, and after each review.
func (t *term) loads() {
	for {
		t.loadAll()
		select {
		case <-t.review:
		case <-t.life.Done():
			return
		}
	}
}

// loadAll reads the groups that this broker coordinates and that are not in
// memory.
func (t *term) loadAll() {
	var heads map[string][]byte
	for {
		var err error
		if heads, err = t.storage.GroupHeads(t.life); err == nil {
			break
		}
		if t.life.Err() == nil {
			t.coordinator.log.Warn("groups cannot be read yet", "error", err)
		}
		select {
		case <-time.After(loadPause):
		case <-t.life.Done():
			return
		}
	}
	names := make(chan string)
	var loaders sync.WaitGroup
	for range loadersMax {
		loaders.Go(func() {
			for name := range names {
				// What cannot be read is told where it is read, and asked for again.
				_, _ = t.open(t.life, name)
			}
		})
	}
	for name, head := range heads {
		if s, err := summarize(head); t.life.Err() == nil && t.coordinator.owns(name) && (err != nil || s.Phase != Empty) {
			names <- name
		}
	}
	close(names)
	loaders.Wait()
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

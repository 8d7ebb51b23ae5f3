// Package node runs roles in one process: it starts the modules that they need,
// each after those that it needs itself, and stops them in reverse order.
//
// What runs is the table in modules.go; a deployment is a choice of its rows. A
// module that fails while running ends the node. The package knows how parts
// are wired and nothing of what they do.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/chronik-stream/chronik/cmd/chronik/admin"
	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Node is a process with its started modules.
type Node struct {
	Kafka string // the first address for Kafka clients
	HTTP  string // the address for HTTP

	cfg      *config.Config
	log      *slog.Logger
	level    *slog.LevelVar
	registry *prometheus.Registry
	identity string // of the data folder
	httpPort int
	parts    parts
	surface  *admin.Surface
	probe    func() error // asks over HTTP, from outside

	started []started // in the order of their start
	failed  chan error

	mu      sync.Mutex
	state   string           // why it does not serve, whatever the roles say; empty: ask them
	ready   []func() error   // of roles: nil once it serves, else why it does not
	store   *metastore.Store // nil: not open yet
	bucket  objstore.Bucket  // nil: not open yet
	janitor func() bool      // nil: this is no compactor
}

type started struct {
	module  module
	running running
}

// running is what a module's start returns.
type running struct {
	// stop ends the module and returns when it has ended, or with an error when
	// ctx ends before.
	stop func(ctx context.Context) error
	// failed gives the error with which the module ended by itself. Nil when
	// it cannot.
	failed <-chan error
}

// Start starts roles with everything that they need. When it fails, what was
// started has been stopped again. ctx bounds the start only. level is
// that of log; clients of the broker can alter it.
func Start(ctx context.Context, cfg *config.Config, log *slog.Logger, level *slog.LevelVar, roles ...string) (*Node, error) {
	n := &Node{cfg: cfg, log: log, level: level, registry: prometheus.NewRegistry()}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	order, err := startOrder(modules(cfg), append([]string{surface}, roles...))
	if err != nil {
		return nil, err
	}
	n.failed = make(chan error, len(order))
	for _, m := range order {
		began := time.Now()
		n.is("starting: " + m.name)
		r, err := m.start(ctx, n)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start the %s: %w", m.name, err), n.Stop())
		}
		log.Debug("started", "module", m.name, "took", time.Since(began))
		n.started = append(n.started, started{m, r})
		if r.failed != nil {
			go n.watch(m.name, r.failed)
		}
	}
	n.is("")
	return n, nil
}

// is says why the process does not serve; empty leaves it to the roles.
func (n *Node) is(state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = state
}

// opened changes what the surface shows.
func (n *Node) opened(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// asks adds a role to those that have to serve before the process is ready.
func (n *Node) asks(ready func() error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = append(n.ready, ready)
}

func (n *Node) watch(name string, failed <-chan error) {
	if err, ok := <-failed; ok && err != nil {
		n.failed <- fmt.Errorf("the %s failed: %w", name, err)
	}
}

// Ready returns nil when all roles serve and HTTP answers, else the reasons.
func (n *Node) Ready() error {
	if reasons := n.reasons(); len(reasons) > 0 {
		return errors.New(strings.Join(reasons, "; "))
	}
	return n.probe()
}

// reasons is why the process does not serve, for /health/ready.
func (n *Node) reasons() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var texts []string
	if n.state != "" {
		texts = append(texts, n.state)
	}
	for _, ready := range n.ready {
		if err := ready(); err != nil {
			texts = append(texts, err.Error())
		}
	}
	return texts
}

// Drain makes readiness say that the process is about to stop, while it goes on
// as before, and returns after the delay that the configuration gives load
// balancers to notice.
func (n *Node) Drain(ctx context.Context) {
	n.is("stopping")
	if n.cfg.Drain.Delay == 0 {
		return
	}
	n.log.Info("stopping soon: not ready any more, and still serving", "for", n.cfg.Drain.Delay)
	select {
	case <-time.After(n.cfg.Drain.Delay):
	case <-ctx.Done():
	}
}

// Failed gives the errors of modules that ended by themselves.
func (n *Node) Failed() <-chan error { return n.failed }

// Stop stops all modules, the last started first, each within its bound. It
// goes on after one that fails.
func (n *Node) Stop() error {
	n.is("stopping")
	var failed []error
	for _, s := range slices.Backward(n.started) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), s.module.stopWithin)
		err := s.running.stop(ctx)
		cancel()
		if err != nil {
			failed = append(failed, fmt.Errorf("stop the %s: %w", s.module.name, err))
		}
		n.log.Debug("stopped", "module", s.module.name, "took", time.Since(began), "error", err)
	}
	n.started = nil
	return errors.Join(failed...)
}

// background runs a role whose Run blocks until its context ends.
func background(run func(ctx context.Context) error) running {
	ctx, cancel := context.WithCancel(context.Background())
	ended, failed := make(chan struct{}), make(chan error, 1)
	var result error
	go func() {
		result = run(ctx)
		if errors.Is(result, context.Canceled) && ctx.Err() != nil {
			result = nil // it was asked to
		}
		if ctx.Err() == nil {
			if result == nil {
				result = errors.New("it ended by itself")
			}
			failed <- result
		}
		close(failed)
		close(ended)
	}()
	return running{failed: failed, stop: func(stopping context.Context) error {
		cancel()
		select {
		case <-ended:
			return result
		case <-stopping.Done():
			return fmt.Errorf("it still runs: %w", stopping.Err())
		}
	}}
}

// closing makes a running of something that is only closed.
func closing(close func() error) running {
	return running{stop: func(ctx context.Context) error {
		ended := make(chan error, 1)
		go func() { ended <- close() }()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return fmt.Errorf("it still runs: %w", ctx.Err())
		}
	}}
}

// startOrder returns the modules that the named ones need, and these, so that
// each comes after those that it needs; otherwise in the order of the table,
// whose first row, HTTP, reports on all others.
func startOrder(table []module, names []string) ([]module, error) {
	var order []module
	state := make(map[string]int) // 1: being placed, 2: placed
	var place func(name string) error
	place = func(name string) error {
		switch state[name] {
		case 1:
			return fmt.Errorf("module %s needs itself", name)
		case 2:
			return nil
		}
		i := slices.IndexFunc(table, func(m module) bool { return m.name == name })
		if i < 0 {
			return fmt.Errorf("there is no module %s", name)
		}
		state[name] = 1
		for _, need := range table[i].needs {
			if err := place(need); err != nil {
				return err
			}
		}
		state[name] = 2
		order = append(order, table[i])
		return nil
	}
	at := func(name string) int {
		return slices.IndexFunc(table, func(m module) bool { return m.name == name })
	}
	for _, name := range slices.SortedFunc(slices.Values(names), func(a, b string) int { return cmp.Compare(at(a), at(b)) }) {
		if err := place(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

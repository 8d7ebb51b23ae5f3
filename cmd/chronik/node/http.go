package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/chronik-stream/chronik/cmd/chronik/admin"
	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/cmd/chronik/sniff"
	"github.com/chronik-stream/chronik/internal/version"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// startHTTP serves the process's surface, on which roles put theirs.
func startHTTP(_ context.Context, n *Node) (running, error) {
	listeners, err := listen(n.cfg.HTTP.Bind, n.cfg.HTTP.Port)
	if err != nil {
		return running{}, fmt.Errorf("listen for HTTP: %w", err)
	}
	n.surface = admin.New(admin.Options{
		Version: version.String(), Roles: n.cfg.Roles(), Reasons: n.reasons, Degraded: n.degraded, Gatherer: n.registry, Log: n.log,
		NodeID: n.nodeID(), APIKey: n.cfg.Admin.APIKey.Reveal(),
		Store:   func() *metastore.Store { return locked(n, func() *metastore.Store { return n.store }) },
		Janitor: func() bool { f := locked(n, func() func() bool { return n.janitor }); return f != nil && f() },
	})
	if n.cfg.Clustered() && config.Wildcard(n.cfg.HTTP.Bind) {
		n.log.Warn("HTTP is served to everybody who reaches this machine: SQL, search, and writing and deleting topics as Elasticsearch's clients do, without any authentication: http.bind chooses an address")
	}
	n.HTTP = shown(n.cfg.HTTP.Bind, listeners[0])
	n.httpPort = portOf(listeners[0])
	n.probe = probeHTTP(listeners)
	return background(func(ctx context.Context) error { return servePort(ctx, n.surface, n.log, listeners) }), nil
}

// nodeID is what /admin/health calls the process: a broker's number, else the
// machine's name.
func (n *Node) nodeID() any {
	if n.cfg.Has(RoleBroker) {
		if id, err := n.cfg.BrokerID(); err == nil {
			return id
		}
	}
	return n.cfg.Hostname()
}

func locked[T any](n *Node, get func() T) T {
	n.mu.Lock()
	defer n.mu.Unlock()
	return get()
}

// degraded is what does not work though the process serves.
func (n *Node) degraded() []string {
	bucket := locked(n, func() objstore.Bucket { return n.bucket })
	if bucket == nil {
		return nil
	}
	if err := objstore.Available(bucket); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// helloWithin bounds how long a client may take to say what it speaks, and to
// send the head of a request.
const helloWithin = 10 * time.Second

// requestsWithin bounds how long a stop waits for the surface's own requests: those
// of a role have ended with it.
const requestsWithin = 10 * time.Second

// rpcWithin bounds how long gRPC's connections may take to end.
const rpcWithin = time.Second

// servePort serves HTTP/1.1 and gRPC until ctx ends, and lets requests under way
// finish.
func servePort(ctx context.Context, s *admin.Surface, log *slog.Logger, listeners []net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: helloWithin,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	group, inner := errgroup.WithContext(ctx)
	for _, l := range listeners {
		rpc, other := sniff.Split(l, helloWithin)
		group.Go(func() error {
			if err := server.Serve(other); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve HTTP on %s: %w", l.Addr(), err)
			}
			return nil
		})
		group.Go(func() error {
			if err := s.RPC().Serve(rpc); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serve gRPC on %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-inner.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestsWithin)
		defer cancel()
		rpcs := make(chan struct{})
		go func() {
			defer close(rpcs)
			s.RPC().GracefulStop()
		}()
		// Flight's calls ended with the role. What is left watches the process's
		// health, or does not read how its call ended: it is cut off.
		cut := time.AfterFunc(rpcWithin, s.RPC().Stop)
		defer cut.Stop()
		err := server.Shutdown(drain)
		if err != nil {
			err = errors.Join(fmt.Errorf("drain HTTP requests: %w", err), server.Close())
		}
		<-rpcs
		return err
	})
	return group.Wait()
}

// address is where other machines reach the process over HTTP.
func (n *Node) address() string {
	host := n.cfg.HTTP.Bind
	if config.Wildcard(host) {
		host = n.cfg.Hostname()
	}
	return net.JoinHostPort(host, fmt.Sprint(n.httpPort))
}

// memberID is the process's name among the compactors and the query nodes: the
// machine's, and enough of the data folder's to tell two on one machine apart.
func (n *Node) memberID() string {
	return n.cfg.Hostname() + "-" + strings.ToLower(n.identity[len(n.identity)-6:])
}

// probeHTTP asks every listener for /health/ready, as a load balancer would.
func probeHTTP(listeners []net.Listener) func() error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	return func() error {
		for _, l := range listeners {
			response, err := client.Get("http://" + l.Addr().String() + "/health/ready")
			if err != nil {
				return fmt.Errorf("HTTP: %w", err)
			}
			if err := response.Body.Close(); err != nil {
				return fmt.Errorf("HTTP: %w", err)
			}
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("HTTP: /health/ready answers %s", response.Status)
			}
		}
		return nil
	}
}

package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/internal/version"
	"github.com/chronik-stream/chronik/query"
)

func startQuery(ctx context.Context, n *Node) (running, error) {
	listeners, err := listen(n.cfg.HTTP.Bind, n.cfg.HTTP.Port)
	if err != nil {
		return running{}, fmt.Errorf("listen for HTTP: %w", err)
	}
	c := queryConfig(n.cfg)
	c.Catalog, c.Bucket, c.NotReady = n.parts.metadata.Catalog(), n.parts.bucket, n.reasons
	c.Log, c.Registerer, c.Gatherer = n.log.With("role", RoleQuery), n.registry, n.registry
	q, err := query.Open(ctx, c)
	if err != nil {
		return running{}, errors.Join(err, closeAll(listeners))
	}
	n.HTTP = shown(n.cfg.HTTP.Bind, listeners[0])
	n.probe = probeHTTP(listeners)
	return background(func(ctx context.Context) error { return q.Run(ctx, listeners...) }), nil
}

func queryConfig(c *config.Config) query.Config {
	return query.Config{
		DataDir: c.Path("query"), TopicDefaults: c.TopicDefaults(), Version: version.String(),
		Timeout: time.Duration(c.Query.TimeoutSeconds) * time.Second, ConcurrentMax: c.Query.Concurrent, Threads: c.Query.Threads,
		MemoryBytesMax: int64(c.Query.MemoryBytes), CacheBytesMax: int64(c.Query.CacheBytes), TailBytesMax: int64(c.Query.TailBytes),
	}
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

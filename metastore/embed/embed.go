// Package embed runs an etcd server within the process, for `chronik dev` and
// for tests: one member, one directory, ready in about a tenth of a second.
//
// It is a whole etcd with its own WAL and fsync; what it has acknowledged
// survives a crash. It is not for clusters, which bring their own etcd: its
// timing is set for a single member.
package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

const (
	tick         = 10 * time.Millisecond
	election     = 100 * time.Millisecond
	retention    = "5m" // of old revisions
	progressTick = time.Second
	anyPort      = "http://127.0.0.1:0"

	tidyEvery     = 10 * time.Minute
	tidyBytesMin  = 64 << 20 // smaller files are not worth the pause
	tidyInUseMost = 0.5      // defragmented when less than this share is in use
)

// Config of a Server.
type Config struct {
	Dir    string       // its data; made if missing
	Listen string       // URL to serve clients at; empty: a free port of 127.0.0.1
	Log    *slog.Logger // etcd's errors go there; nil: nowhere
	// Progress is how often watches are told the revision; 0: every second.
	Progress time.Duration
}

// Server is a running etcd.
type Server struct {
	etcd    *embed.Etcd
	closing atomic.Bool
	once    sync.Once
	stop    context.CancelFunc
	tidying sync.WaitGroup
}

// Start starts a server and returns when it serves.
func Start(ctx context.Context, c Config) (*Server, error) {
	s := new(Server)
	cfg, err := s.config(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", c.Dir, err)
	}
	if s.etcd, err = embed.StartEtcd(cfg); err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", c.Dir, err)
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case err = <-s.etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		s.closing.Store(true)
		s.etcd.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", c.Dir, err)
	}
	tidying, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.tidying.Go(func() { s.tidy(tidying, c.Log) })
	return s, nil
}

func (s *Server) config(c Config) (*embed.Config, error) {
	if c.Dir == "" {
		return nil, errors.New("no directory given")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	if c.Listen == "" {
		c.Listen = anyPort
	}
	if c.Progress == 0 {
		c.Progress = progressTick
	}
	clients, err := url.Parse(c.Listen)
	if err != nil {
		return nil, err
	}
	peers, err := url.Parse(anyPort)
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name = "chronik"
	cfg.Dir = c.Dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*clients}, []url.URL{*clients}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peers}, []url.URL{*peers}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs = uint(tick.Milliseconds())
	cfg.ElectionMs = uint(election.Milliseconds())
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = retention
	// Entries since the last snapshot are kept in memory, and read again at the
	// start: those of a busy group are tens of kilobytes each. Nobody follows who
	// would want the ones before it.
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 1000, 100
	cfg.WatchProgressNotifyInterval = c.Progress
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&bridge{log: c.Log, quiet: &s.closing}))
	return cfg, nil
}

// Endpoint is the address that clients connect to.
func (s *Server) Endpoint() string { return s.etcd.Clients[0].Addr().String() }

// Err gives the error with which the server failed while it ran.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the server. Close its clients before.
func (s *Server) Close() {
	s.once.Do(func() {
		s.closing.Store(true)
		s.stop()
		s.tidying.Wait()
		s.etcd.Close()
	})
}

// tidy gives the space of old revisions back to the file system now and then.
// It goes through a client of its own: the in-process one cannot defragment.
func (s *Server) tidy(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := Defragment(ctx, s.Endpoint(), tidyBytesMin); err != nil && ctx.Err() == nil && log != nil {
			log.Warn("etcd could not be defragmented", "err", err)
		}
	}
}

// Defragment rewrites the database of the member at endpoint if its file has at
// least bytesMin and less than half of that is in use. The member does not
// answer meanwhile: a second or so a gigabyte.
func Defragment(ctx context.Context, endpoint string, bytesMin int64) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return fmt.Errorf("defragment etcd at %s: %w", endpoint, err)
	}
	status, err := client.Status(ctx, endpoint)
	if err == nil && status.DbSize >= bytesMin && float64(status.DbSizeInUse) < tidyInUseMost*float64(status.DbSize) {
		_, err = client.Defragment(ctx, endpoint)
	}
	if err = errors.Join(err, client.Close()); err != nil {
		return fmt.Errorf("defragment etcd at %s: %w", endpoint, err)
	}
	return nil
}

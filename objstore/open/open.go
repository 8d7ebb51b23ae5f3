// Package open makes a bucket from the settings of a process: it picks the
// store and puts the wrappers around it, innermost first: faults (where asked
// for), metrics, which see every attempt, retry, and the cluster's prefix.
package open

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/aws"
	"github.com/chronik-stream/chronik/objstore/dir"
	"github.com/chronik-stream/chronik/objstore/faults"
	"github.com/chronik-stream/chronik/objstore/metrics"
	"github.com/chronik-stream/chronik/objstore/retry"
	"github.com/chronik-stream/chronik/objstore/s3"
)

// Config is where a cluster keeps its objects.
type Config struct {
	// Provider is "local", a directory; "s3", a store that speaks S3; or "aws",
	// S3 through Amazon's own library, with all its ways to credentials.
	Provider string
	Prefix   string // of all names in the bucket; one per cluster that shares it

	Dir string // local: the directory

	Bucket       string // s3 and aws, and below
	Endpoint     string // "http(s)://host[:port]"; empty is AWS
	Region       string // default us-east-1; of aws what the environment says first
	AccessKey    string // both keys empty: LocalKey on loopback (s3), else environment, credentials file or role
	SecretKey    string
	SessionToken string
	PathStyle    bool
	CAFile       string
	CreateBucket bool // make the bucket when it is absent
	// MayBeAway lets a start go on without a store that has the bucket made: this
	// process was here before, and has something to serve. Without CreateBucket
	// any start goes on.
	MayBeAway bool

	Retry  retry.Options // its Log and Registerer are set by Bucket
	Faults faults.Plan   // for tests: what the store is made to do wrong
}

// ErrProvider means: there is no such provider.
var ErrProvider = errors.New("unknown object store provider")

// LocalKey is both keys of a MinIO as it comes. They are used for a store on this
// very machine when the settings name none, so that deployments/local needs no
// more than its address.
const LocalKey = "minioadmin"

// Bucket opens the bucket; release lets go of it when nothing uses it any more.
//
// A bucket that is absent or closed to us is an error. A store that cannot be
// reached is one only at a first start that has to make the bucket, where it is
// most likely a mistake: a broker that restarts while its store is away still has
// its WAL to serve. Then the store is looked for until it answers, or release is
// called.
func Bucket(ctx context.Context, c Config, log *slog.Logger, reg prometheus.Registerer) (b objstore.Bucket, release func() error, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	store, closer, err := c.store(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	if b, err = c.wrap(store, log, reg); err != nil {
		return nil, nil, errors.Join(err, closer.Close())
	}
	return b, closer.Close, nil
}

func (c Config) store(ctx context.Context, log *slog.Logger) (objstore.Bucket, io.Closer, error) {
	switch c.Provider {
	case "local":
		if c.Dir == "" {
			return nil, nil, errors.New("a local bucket needs a directory")
		}
		b, err := dir.Open(c.Dir)
		return b, b, err
	case "s3":
		if c.AccessKey == "" && c.SecretKey == "" && loopback(c.Endpoint) {
			c.AccessKey, c.SecretKey = LocalKey, LocalKey
		}
		b, err := s3.New(s3.Config{
			Bucket: c.Bucket, Endpoint: c.Endpoint, Region: c.Region,
			AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken,
			PathStyle: c.PathStyle, CAFile: c.CAFile,
		})
		if err != nil {
			return nil, nil, err
		}
		return c.ensure(ctx, log, b)
	case "aws":
		b, err := aws.New(ctx, aws.Config{
			Bucket: c.Bucket, Endpoint: c.Endpoint, Region: c.Region,
			AccessKey: c.AccessKey, SecretKey: c.SecretKey, SessionToken: c.SessionToken,
			PathStyle: c.PathStyle, CAFile: c.CAFile,
		})
		if err != nil {
			return nil, nil, err
		}
		return c.ensure(ctx, log, b)
	default:
		return nil, nil, fmt.Errorf("%w: %q is none of \"local\", \"s3\" and \"aws\"", ErrProvider, c.Provider)
	}
}

// remote is a bucket behind a network.
type remote interface {
	objstore.Bucket
	io.Closer
	Ensure(ctx context.Context, create bool) error
}

func (c Config) ensure(ctx context.Context, log *slog.Logger, b remote) (objstore.Bucket, io.Closer, error) {
	err := c.look(ctx, b)
	if errors.Is(err, objstore.ErrUnavailable) && (c.MayBeAway || !c.CreateBucket) {
		log.Warn("object store does not answer, going on without having seen the bucket", "bucket", c.Bucket, "error", err)
		return b, c.keepLooking(log, b), nil
	}
	if err != nil {
		where := c.Endpoint
		if where == "" {
			where = "AWS"
		}
		return nil, nil, errors.Join(fmt.Errorf("open bucket at %s: %w", where, err), b.Close())
	}
	return b, b, nil
}

// lookWithin bounds how long a start waits for a store that is silent.
const lookWithin = 10 * time.Second

func (c Config) look(ctx context.Context, b remote) error {
	looking, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	err := b.Ensure(looking, c.CreateBucket)
	if err != nil && looking.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: no answer within %v: %w", objstore.ErrUnavailable, lookWithin, err)
	}
	return err
}

// later is a bucket that is looked for in the background.
type later struct {
	bucket  remote
	cancel  context.CancelFunc
	stopped chan struct{}
}

// Close ends the looking and closes the bucket.
func (l *later) Close() error {
	l.cancel()
	<-l.stopped
	return l.bucket.Close()
}

// keepLooking looks for the bucket, and makes it where that is asked for, until
// the store has answered.
func (c Config) keepLooking(log *slog.Logger, b remote) io.Closer {
	ctx, cancel := context.WithCancel(context.Background())
	l := &later{bucket: b, cancel: cancel, stopped: make(chan struct{})}
	go func() {
		defer close(l.stopped)
		for pause := lookMin; ; pause = min(2*pause, lookMax) {
			timer := time.NewTimer(pause/2 + rand.N(pause/2))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			switch err := c.look(ctx, b); {
			case ctx.Err() != nil:
				return
			case err == nil:
				log.Info("object store answers, the bucket is there", "bucket", c.Bucket)
				return
			case !errors.Is(err, objstore.ErrUnavailable):
				log.Error("object store answers, the bucket is not to be had", "bucket", c.Bucket, "error", err)
			}
		}
	}()
	return l
}

// Pauses between looks.
const (
	lookMin = 500 * time.Millisecond
	lookMax = 10 * time.Second
)

func loopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) wrap(b objstore.Bucket, log *slog.Logger, reg prometheus.Registerer) (objstore.Bucket, error) {
	if len(c.Faults.Rules) > 0 {
		log.Warn("object store fails on purpose", "faults", c.Faults.String())
		b = faults.New(b, c.Faults)
	}
	measured, err := metrics.New(b, reg)
	if err != nil {
		return nil, err
	}
	c.Retry.Log, c.Retry.Registerer = log, reg
	retried, err := retry.New(measured, c.Retry)
	if err != nil {
		return nil, err
	}
	return objstore.WithPrefix(retried, c.Prefix)
}

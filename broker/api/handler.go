package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/quota"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Config is what the operator decides about the protocol.
type Config struct {
	RequestBytesMax           int           // of a Produce frame; default 100 MiB, Kafka's socket.request.max.bytes
	FetchBytesMax             int           // of one Fetch answer; default 55 MiB, Kafka's fetch.max.bytes
	FetchSessionsMax          int           // fetch sessions that are remembered; default 1,000, negative: none
	FetchSessionPartitionsMax int           // partitions in all of them; default 200,000
	AutoCreateTopics          bool          // Metadata for an unknown topic creates it, when the client allows it
	PartitionsDefault         int32         // default 1
	PartitionsMax             int32         // of one topic; default 10,000
	DescribePartitionsMax     int32         // in one answer of DescribeTopicPartitions; default 2,000
	LeaderWaitMax             time.Duration // how long a creating request waits for leaders; default 1 s
	TopicDefaults             topicconfig.Defaults
	Quota                     quota.Config
	Shared                    bool           // clients see one node, the address that all brokers advertise, and this one asks the others
	Static                    []StaticConfig // the process's other settings, under Kafka's names
}

func (c Config) withDefaults() Config {
	if c.RequestBytesMax == 0 {
		c.RequestBytesMax = 100 << 20
	}
	if c.FetchBytesMax == 0 {
		c.FetchBytesMax = 55 << 20
	}
	if c.FetchSessionsMax == 0 {
		c.FetchSessionsMax = 1000
	}
	if c.FetchSessionPartitionsMax == 0 {
		c.FetchSessionPartitionsMax = 200_000
	}
	if c.PartitionsDefault == 0 {
		c.PartitionsDefault = 1
	}
	if c.PartitionsMax == 0 {
		c.PartitionsMax = 10_000
	}
	if c.DescribePartitionsMax == 0 {
		c.DescribePartitionsMax = 2000
	}
	if c.LeaderWaitMax == 0 {
		c.LeaderWaitMax = time.Second
	}
	return c
}

// controlBytesMax bounds every request but Produce. kmsg allocates an array as
// its length is announced, up to the bytes that are left, so a request may cost
// a hundred times its size before it proves to be false.
const controlBytesMax = 4 << 20

// parseAloneBytes is the size from which such requests are parsed one at a time.
const parseAloneBytes = 64 << 10

// Handler is the wire.Handler of a broker.
type Handler struct {
	Deps
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	routes  map[int16]*served
	codes   []errorCode
	limits  limits
	derived atomic.Pointer[defaults]
	notices notices
	parsing sync.Mutex // held while a request of parseAloneBytes or more is parsed

	produces sync.Pool // of *produceWork
	fetches  sync.Pool // of *fetchWork
	sessions *fetchSessions
	accounts *quota.Accounts
}

// served is a route with what is derived from it once.
type served struct {
	*route
	spread   spread
	flexible int16            // first flexible version
	layouts  []func() *layout // by version, from the lowest; made when first needed
	metrics  routeMetrics
	making   gate // of ample answers
}

// New returns the handler of a broker. reg may be nil.
func New(cfg Config, deps Deps, log *slog.Logger, reg prometheus.Registerer) *Handler {
	h := &Handler{Deps: deps, cfg: cfg.withDefaults(), log: log, metrics: newMetrics(reg), routes: make(map[int16]*served), codes: codes()}
	h.accounts = quota.New(cfg.Quota, h.Quotas.Quotas)
	h.sessions = newFetchSessions(h.cfg.FetchSessionsMax, h.cfg.FetchSessionPartitionsMax, reg)
	if h.LogLevel == nil {
		h.LogLevel = new(slog.LevelVar)
	}
	spreads := spreads()
	for _, r := range routes() {
		h.routes[r.key] = &served{route: r, spread: spreads[r.key], flexible: flexibleFrom(r.key), layouts: layoutsOf(r), metrics: h.metrics.of(r.name), making: newGate()}
	}
	return h
}

// FrameBytesMax implements wire.Handler.
func (h *Handler) FrameBytesMax(key int16) int {
	r, ok := h.routes[key]
	switch {
	case !ok:
		return 0
	case r.large:
		return h.cfg.RequestBytesMax
	}
	return min(controlBytesMax, h.cfg.RequestBytesMax)
}

var errVersion = errors.New("version is not served")

// errAway ends a connection that came through a load balancer: the client is to
// come in by a broker that knows who owns what.
var errAway = errors.New("this broker has lost the cluster, others serve its clients")

// Start implements wire.Handler. A version that is not served closes the
// connection, as Kafka does; only ApiVersions answers every version.
func (h *Handler) Start(ctx context.Context, r *wire.Request) (wire.Work, error) {
	route, ok := h.routes[r.Key]
	if !ok {
		return nil, fmt.Errorf("api key %d: %w", r.Key, errVersion)
	}
	begun := time.Now()
	if r.Version < route.min || r.Version > route.max {
		if r.Key != apiVersionsKey {
			return nil, errVersion
		}
		return h.measured(route, begun, unknownApiVersions{h}), nil
	}
	if h.shared(r) && h.Away() {
		return nil, errAway
	}
	if r.Version >= route.flexible {
		if err := r.SkipHeaderTags(); err != nil {
			return nil, err
		}
	}
	work, err := route.start(ctx, h, r)
	if err != nil {
		return nil, err
	}
	return h.measured(route, begun, work), nil
}

// measuredWork tells the metrics how long its request took.
type measuredWork struct {
	work  wire.Work
	route *served
	begun time.Time
}

func (h *Handler) measured(r *served, begun time.Time, work wire.Work) wire.Work {
	return &measuredWork{work, r, begun}
}

// Finish implements wire.Work.
func (m *measuredWork) Finish(ctx context.Context, w *wire.Response) error {
	err := m.work.Finish(ctx, w)
	m.route.metrics.seconds.Observe(time.Since(m.begun).Seconds())
	if err != nil {
		m.route.metrics.failed.Inc()
	}
	return err
}

// request is any kmsg request type.
type request[T any] interface {
	*T
	kmsg.Request
}

// whole makes the start of an API that has nothing to do in the order of
// arrival: the request is parsed and answered in its turn, or not at all, when
// answer returns nil because the connection has ended. kmsg copies strings,
// but bytes of req lie in the frame: what is to outlive the answer is cloned.
func whole[T any, R request[T]](answer func(ctx context.Context, h *Handler, r *wire.Request, req R) kmsg.Response) func(context.Context, *Handler, *wire.Request) (wire.Work, error) {
	return func(_ context.Context, h *Handler, r *wire.Request) (wire.Work, error) {
		return &wholeWork[T, R]{h, r, answer}, nil
	}
}

type wholeWork[T any, R request[T]] struct {
	h      *Handler
	r      *wire.Request
	answer func(ctx context.Context, h *Handler, r *wire.Request, req R) kmsg.Response
}

// Finish implements wire.Work.
func (work *wholeWork[T, R]) Finish(ctx context.Context, w *wire.Response) error {
	req := R(new(T))
	req.SetVersion(work.r.Version)
	counted := work.h.counts(quota.Request, work.r)
	begun := time.Now()
	if err := work.h.parse(work.r, req.ReadFrom); err != nil {
		return err
	}
	var throttle time.Duration
	busy := work.h.routes[work.r.Key].busy
	if counted && !busy {
		throttle = work.h.worked(work.r, begun)
	}
	resp := work.respond(ctx, req)
	if resp == nil { // the connection has ended
		return context.Cause(ctx)
	}
	resp.SetVersion(work.r.Version)
	if counted {
		if busy {
			throttle = work.h.worked(work.r, begun)
		}
		defer func(encoding time.Time) { work.h.worked(work.r, encoding) }(time.Now())
	}
	work.h.throttle(ctx, work.r, throttle, resp)
	// ApiVersions answers before the client knows what the server understands.
	w.Begin(resp.IsFlexible() && resp.Key() != apiVersionsKey)
	w.Buf = resp.AppendTo(w.Buf)
	return nil
}

// respond answers a request, or has it answered by those who can.
func (work *wholeWork[T, R]) respond(ctx context.Context, req R) kmsg.Response {
	spread := work.h.routes[work.r.Key].spread
	if spread.partitions != nil {
		work.h.awaitOwner(work.r.Conn.Patience(), work.r, time.Now(), spread.partitions(work.h, req)...)
	}
	if spread.run == nil || !work.h.shared(work.r) {
		return work.answer(ctx, work.h, work.r, req)
	}
	return spread.run(ctx, work.h, work.r, req, func() kmsg.Response { return work.answer(ctx, work.h, work.r, req) })
}

// parse reads a request's body with read, large ones one at a time.
func (h *Handler) parse(r *wire.Request, read func([]byte) error) error {
	if len(r.Body) >= parseAloneBytes {
		h.parsing.Lock()
		defer h.parsing.Unlock()
	}
	if route := h.routes[r.Key]; !route.layouts[r.Version-route.min]().holds(r.Body) {
		return fmt.Errorf("%w: the body is not one of api key %d version %d", wire.ErrMalformed, r.Key, r.Version)
	}
	if err := read(r.Body); err != nil {
		return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
	}
	return nil
}

package metastore

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// metrics of one Store.
type metrics struct {
	requests  *prometheus.HistogramVec // by operation and outcome
	doubts    prometheus.Counter
	anomalies prometheus.Counter
	lapses    *prometheus.CounterVec // by kind of lease

	registerer prometheus.Registerer
	collectors []prometheus.Collector
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chronik_metastore_request_seconds",
			Help:    "Time that requests to the metadata store took, by operation and outcome.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"operation", "outcome"}),
		doubts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_metastore_unknown_outcomes_total",
			Help: "Metadata writes whose answer was lost and that were repeated.",
		}),
		anomalies: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_metastore_anomalies_total",
			Help: "Contradictions found in the metadata. Any is a bug or a damaged store.",
		}),
		lapses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_metastore_leases_lost_total",
			Help: "Sessions, memberships and locks that were lost and not closed.",
		}, []string{"kind"}),
	}
}

// register exports the metrics; a nil registerer leaves them in the dark.
func (m *metrics) register(r prometheus.Registerer, catalog *Catalog) error {
	if r == nil {
		return nil
	}
	m.registerer = r
	gauge := func(name, help string, value func(*View) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(ask(catalog, value)) })
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.doubts, m.anomalies, m.lapses,
		gauge("chronik_metastore_catalog_revision", "Revision that the catalog shows.",
			func(v *View) int { return int(v.revision) }),
		gauge("chronik_metastore_catalog_segments", "Committed segments that are not compacted away.",
			func(v *View) int { return len(v.segments) }),
		gauge("chronik_metastore_catalog_topics", "Topics.",
			func(v *View) int { return len(v.topics) }),
		gauge("chronik_metastore_catalog_partitions", "Partitions with an owner, a manifest or a committed range.",
			func(v *View) int { return len(v.partitions) }),
		gauge("chronik_metastore_catalog_brokers", "Live brokers.",
			func(v *View) int { return len(v.brokers) }),
	} {
		if err := r.Register(c); err != nil {
			m.unregister()
			return err
		}
		m.collectors = append(m.collectors, c)
	}
	return nil
}

func (m *metrics) unregister() {
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
	m.collectors = nil
}

// measured times the requests of a kv.Store. A watch is not a request.
type measured struct {
	kv.Store
	metrics *metrics
}

func (m measured) observe(operation string, start time.Time, err error) {
	outcome := "ok"
	switch {
	case errors.Is(err, kv.ErrUnknownOutcome):
		outcome = "unknown"
	case errors.Is(err, kv.ErrUnavailable):
		outcome = "unavailable"
	case err != nil:
		outcome = "refused"
	}
	m.metrics.requests.WithLabelValues(operation, outcome).Observe(time.Since(start).Seconds())
}

func (m measured) Get(ctx context.Context, key string) (kv.Entry, bool, error) {
	start := time.Now()
	entry, ok, err := m.Store.Get(ctx, key)
	m.observe("get", start, err)
	return entry, ok, err
}

func (m measured) Range(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	start := time.Now()
	entries, revision, err := m.Store.Range(ctx, prefix)
	m.observe("range", start, err)
	return entries, revision, err
}

func (m measured) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	start := time.Now()
	result, err := m.Store.Txn(ctx, txn)
	m.observe("txn", start, err)
	return result, err
}

func (m measured) Grant(ctx context.Context, ttl time.Duration) (kv.LeaseID, error) {
	start := time.Now()
	id, err := m.Store.Grant(ctx, ttl)
	m.observe("grant", start, err)
	return id, err
}

func (m measured) KeepAlive(ctx context.Context, id kv.LeaseID) error {
	start := time.Now()
	err := m.Store.KeepAlive(ctx, id)
	m.observe("keepalive", start, err)
	return err
}

func (m measured) Revoke(ctx context.Context, id kv.LeaseID) error {
	start := time.Now()
	err := m.Store.Revoke(ctx, id)
	m.observe("revoke", start, err)
	return err
}

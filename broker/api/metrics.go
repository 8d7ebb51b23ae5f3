package api

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	seconds  *prometheus.HistogramVec
	failed   *prometheus.CounterVec
	refusals *prometheus.CounterVec

	throttled, throttledSeconds *prometheus.CounterVec
}

// routeMetrics are those of one API.
type routeMetrics struct {
	seconds prometheus.Observer
	failed  prometheus.Counter

	throttled, throttledSeconds prometheus.Counter
}

// newMetrics registers with reg unless it is nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "chronik", Subsystem: "kafka", Name: "request_seconds",
			Help:    "From a request's arrival to its answer, waiting included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14),
		}, []string{"api"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "chronik", Subsystem: "kafka", Name: "requests_failed_total",
			Help: "Requests that ended their connection.",
		}, []string{"api"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "chronik", Subsystem: "kafka", Name: "refusals_total",
			Help: "Partitions of Produce and Fetch requests that were answered with an error.",
		}, []string{"api", "error"}),
	}
	m.throttled = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "chronik", Subsystem: "kafka", Name: "throttled_requests_total",
		Help: "Requests whose client was over a quota.",
	}, []string{"api"})
	m.throttledSeconds = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "chronik", Subsystem: "kafka", Name: "throttled_seconds_total",
		Help: "Time that clients were throttled for by a quota.",
	}, []string{"api"})
	if reg != nil {
		reg.MustRegister(m.seconds, m.failed, m.refusals, m.throttled, m.throttledSeconds)
	}
	return m
}

func (m *metrics) of(api string) routeMetrics {
	return routeMetrics{
		m.seconds.WithLabelValues(api), m.failed.WithLabelValues(api),
		m.throttled.WithLabelValues(api), m.throttledSeconds.WithLabelValues(api),
	}
}

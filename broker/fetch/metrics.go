package fetch

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the figures of the read path.
type Metrics struct {
	tailBytes prometheus.Counter
	coldBytes prometheus.Counter
	failures  prometheus.Counter

	coldUnderway prometheus.Gauge
	coldWaits    prometheus.Counter
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		tailBytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_fetch_tail_bytes_total", Help: "Bytes served from the tail: memory or WAL."}),
		coldBytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_fetch_cold_bytes_total", Help: "Bytes served from segments and log files."}),
		failures:     prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_fetch_failures_total", Help: "Cold reads that failed."}),
		coldUnderway: prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_fetch_cold_underway_bytes", Help: "Memory set aside for cold reads under way."}),
		coldWaits:    prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_fetch_cold_waits_total", Help: "Fetches that waited for kafka.cold_bytes_max."}),
	}
	if reg != nil {
		reg.MustRegister(m.tailBytes, m.coldBytes, m.failures, m.coldUnderway, m.coldWaits)
	}
	return m
}

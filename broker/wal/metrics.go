package wal

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the log's figures. They outlive a log: a broker that opens its log
// again goes on counting in the same ones.
type Metrics struct {
	syncSeconds prometheus.Histogram
	groupFrames prometheus.Histogram
	bytes       prometheus.Counter
	files       prometheus.Gauge
	failed      prometheus.Gauge
	full        prometheus.Gauge
	damage      prometheus.Counter
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		syncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chronik_wal_sync_seconds", Help: "Time to write and fdatasync one group of batches.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16),
		}),
		groupFrames: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chronik_wal_group_batches", Help: "Batches made durable by one fdatasync.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		bytes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_wal_written_bytes_total", Help: "Bytes written to the WAL, frame headers included."}),
		files:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_wal_files", Help: "WAL files that hold batches not yet committed, and the active one."}),
		failed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_wal_failed", Help: "1 after a failed write or sync, until the WAL is opened again."}),
		full:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_wal_disk_full", Help: "1 while the disk has no space for another WAL file."}),
		damage: prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_wal_damage_total", Help: "Damaged stretches found when the WAL was opened."}),
	}
	if reg != nil {
		reg.MustRegister(m.syncSeconds, m.groupFrames, m.bytes, m.files, m.failed, m.full, m.damage)
	}
	return m
}

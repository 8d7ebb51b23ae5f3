package ingest

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the figures of the write path. They outlive a Log.
type Metrics struct {
	partitions       prometheus.Gauge
	uncommittedBytes prometheus.Gauge
	tailBytes        prometheus.Gauge
	budgetWaits      prometheus.Counter
	budgetWaiting    prometheus.Gauge
	budgetRefusals   *prometheus.CounterVec // reason
	seals            *prometheus.CounterVec // reason
	sealsWaiting     prometheus.Gauge
	uploads          prometheus.Gauge
	flushes          prometheus.Counter
	flushBytes       prometheus.Histogram
	uploadSeconds    prometheus.Histogram
	commitSeconds    prometheus.Histogram
	uploadFailures   prometheus.Counter
	commitFailures   prometheus.Counter
	lostRecords      prometheus.Counter
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	seconds := prometheus.ExponentialBuckets(1e-3, 2, 16)
	m := &Metrics{
		partitions:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_broker_partitions_owned", Help: "Partitions that this broker owns."}),
		uncommittedBytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_broker_uncommitted_bytes", Help: "Bytes in the WAL that are not yet committed."}),
		tailBytes:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_broker_tail_bytes", Help: "Memory that batches take which are held for readers."}),
		budgetWaits:      prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_broker_budget_waits_total", Help: "Batches that had to wait for room in the WAL budget."}),
		budgetWaiting:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_broker_budget_waiting_bytes", Help: "Bytes of batches that wait for room in the WAL budget."}),
		budgetRefusals:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chronik_broker_budget_refusals_total", Help: "Batches refused for want of room, by reason: wal_full (the WAL budget stayed full), waiting_full (too many bytes wait already), disk_full."}, []string{"reason"}),
		seals:            prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chronik_broker_seals_total", Help: "Times that the log was sealed into a segment, by reason: size, age, urgent (somebody waits for the commit), flush (the broker stops or gives partitions back)."}, []string{"reason"}),
		sealsWaiting:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_broker_seals_waiting", Help: "Sealed segments whose upload has not begun, for want of a free upload."}),
		uploads:          prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_broker_uploads", Help: "Segments that are uploaded, or wait for those before them to be committed; segment.uploads_max bounds them."}),
		flushes:          prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_broker_flushes_total", Help: "Segments committed."}),
		flushBytes:       prometheus.NewHistogram(prometheus.HistogramOpts{Name: "chronik_broker_flush_bytes", Help: "Bytes of a committed segment.", Buckets: prometheus.ExponentialBuckets(1<<10, 4, 10)}),
		uploadSeconds:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "chronik_broker_upload_seconds", Help: "Time to put a segment, retries included.", Buckets: seconds}),
		commitSeconds:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "chronik_broker_commit_seconds", Help: "Time to commit a segment, retries included.", Buckets: seconds}),
		uploadFailures:   prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_broker_upload_failures_total", Help: "Attempts to put a segment that failed and are repeated."}),
		commitFailures:   prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_broker_commit_failures_total", Help: "Attempts to commit a segment that failed and are repeated."}),
		lostRecords:      prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_broker_unreadable_records_total", Help: "Records left out of a segment because the WAL did not read back: a damaged disk."}),
	}
	if reg != nil {
		reg.MustRegister(m.partitions, m.uncommittedBytes, m.tailBytes, m.budgetWaits, m.budgetWaiting, m.budgetRefusals, m.seals, m.sealsWaiting, m.uploads, m.flushes,
			m.flushBytes, m.uploadSeconds, m.commitSeconds, m.uploadFailures, m.commitFailures, m.lostRecords)
	}
	return m
}

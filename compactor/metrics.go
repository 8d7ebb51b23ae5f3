package compactor

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	passes       *prometheus.CounterVec // by outcome
	passSeconds  prometheus.Histogram
	bytesRead    prometheus.Counter
	files        *prometheus.CounterVec // by kind
	bytesWritten *prometheus.CounterVec // by kind
	records      *prometheus.CounterVec // by kind
	merges       *prometheus.CounterVec // by kind
	swaps        *prometheus.CounterVec // by outcome
	cleanings    prometheus.Counter
	cleanedBytes *prometheus.CounterVec // in and out
	removed      *prometheus.CounterVec // by reason
	dirtyRatio   prometheus.Gauge
	lastCleaned  prometheus.Gauge
	holes        prometheus.Counter
	lostOffsets  prometheus.Counter
	unreadable   prometheus.Counter
	rebuilt      prometheus.Counter
	unfounded    prometheus.Counter
	lostFiles    prometheus.Gauge
	fieldsLost   prometheus.Counter
	overflow     prometheus.Counter
	failures     *prometheus.CounterVec // by kind
	segments     prometheus.Counter
	obsolete     prometheus.Counter
	unfit        prometheus.Counter
	jobsFailing  prometheus.Gauge

	icebergCommits *prometheus.CounterVec // by outcome
	deleted        *prometheus.CounterVec // by reason
	failing        prometheus.Gauge
	longHistory    prometheus.Gauge
	lagBytes       prometheus.Gauge
	lagRecords     *prometheus.GaugeVec // by kind
	lagSeconds     prometheus.Gauge
	all            []prometheus.Collector
	registered     prometheus.Registerer
}

func newMetrics() *metrics {
	m := &metrics{}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "chronik_compactor_" + name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	counters := func(label, name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chronik_compactor_" + name, Help: help}, []string{label})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_compactor_" + name, Help: help})
		m.all = append(m.all, g)
		return g
	}
	m.passes = counters("outcome", "passes_total", "Passes over a partition: done, failed, or partly when one of their parts failed.")
	m.passSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "chronik_compactor_pass_seconds", Help: "Time that a pass took, without the swap of the manifest.", Buckets: prometheus.ExponentialBuckets(0.005, 4, 9)})
	m.icebergCommits = counters("outcome", "iceberg_commits_total", "Commits of Iceberg tables: done or failed.")
	m.bytesRead = counter("read_bytes_total", "Bytes of batches read from segments and log files, and of derived files that are merged or looked at.")
	m.files = counters("kind", "files_total", "Objects written, by kind.")
	m.bytesWritten = counters("kind", "written_bytes_total", "Bytes of the objects written, by kind.")
	m.records = counters("kind", "records_total", "Records written, by kind of file; a record counts again in each merge.")
	m.merges = counters("kind", "merges_total", "Merges of files, by kind.")
	m.swaps = counters("outcome", "swaps_total", "Partitions whose manifest was to be swapped: done, conflict, failed.")
	m.cleanings = counter("cleanings_total", "Cleanings, compaction by key, of a partition that came to their end.")
	m.cleanedBytes = counters("direction", "cleaned_bytes_total", "Bytes of log files that cleaning went through (in), and that it left of those that it rewrote or found in order (out).")
	m.removed = counters("reason", "cleaned_records_total", "Records that cleaning took out of the log, by reason: superseded, tombstone (past its horizon), keyless.")
	m.dirtyRatio = gauge("dirty_ratio_max", "The largest dirty ratio of this compactor's partitions with cleanup.policy=compact: bytes not cleaned yet among all that can be.")
	m.lastCleaned = gauge("last_cleaning_timestamp_seconds", "When a cleaning last came to its end; 0 before the first.")
	m.holes = counter("holes_total", "Spans of offsets that were never committed or are lost, met in a log.")
	m.lostOffsets = counter("lost_offsets_total", "Offsets that were left out of log files since their bytes are damaged.")
	m.unreadable = counter("unreadable_batches_total", "Batches that could not be decoded and are missing in tables or splits; one counts for each.")
	m.rebuilt = counter("rebuilt_files_total", "Columnar files, splits and shards that were damaged or missing and were made again of the log.")
	m.unfounded = counter("unfounded_reports_total", "Columnar files, splits and shards that were reported as damaged and are not.")
	m.lostFiles = gauge("lost_files", "Columnar files and splits of this compactor's partitions that are damaged or missing and that the log does not have any more: queries that need them fail.")
	m.fieldsLost = counter("fields_lost_total", "JSON fields of a file that got no column: too many of them, or a name taken.")
	m.overflow = counter("text_overflow_total", "JSON values that are searched in the field _all only, since their splits have as many fields as they may.")
	m.failures = counters("kind", "failures_total", "Parts of passes that failed, by kind of file; each is tried again.")
	m.obsolete = counter("obsolete_jobs_total", "Jobs whose work was thrown away, since their partition was changed by somebody else meanwhile.")
	m.unfit = counter("unfit_vectors_total", "Vectors that another quantization cannot hold, since their numbers are too large: their records are in no shard any more.")
	m.jobsFailing = gauge("jobs_failing", "Jobs (embedding, embedding again, merge of shards; one of each a partition) that failed the last time, being tried again with growing pauses.")
	m.segments = counter("segments_dropped_total", "Segments dropped after all their ranges had been rewritten.")
	m.deleted = counters("reason", "objects_deleted_total", "Objects deleted, by reason: replaced, topic (deleted), or orphan.")
	m.failing = gauge("partitions_failing", "Partitions whose last pass failed, being tried again with growing pauses.")
	m.longHistory = gauge("metadata_history_long", "1 when etcd keeps history that should have been compacted: it fills up.")
	m.lagBytes = gauge("lag_bytes", "Bytes of this compactor's partitions that lie in segments and not yet in log files.")
	m.lagRecords = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chronik_compactor_lag_records", Help: "Committed offsets of this compactor's partitions that are not yet in files of that kind."}, []string{"kind"})
	m.lagSeconds = gauge("lag_seconds", "Age of the oldest segment that holds something not yet in a log file.")
	m.all = append(m.all, m.passSeconds, m.lagRecords)
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for i, c := range m.all {
		if err := r.Register(c); err != nil {
			for _, done := range m.all[:i] {
				r.Unregister(done)
			}
			return errors.Join(errors.New("register the compactor's metrics"), err)
		}
	}
	m.registered = r
	return nil
}

func (m *metrics) unregister() {
	if m.registered == nil {
		return
	}
	for _, c := range m.all {
		m.registered.Unregister(c)
	}
}

func (m *metrics) read(bytes int) { m.bytesRead.Add(float64(bytes)) }

func (m *metrics) wrote(kind string, bytes int64) {
	m.files.WithLabelValues(kind).Inc()
	m.bytesWritten.WithLabelValues(kind).Add(float64(bytes))
}

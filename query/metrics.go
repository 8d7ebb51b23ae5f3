package query

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the node's figures; nil has none.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	rows     prometheus.Counter
	files    *prometheus.CounterVec
	needed   prometheus.Counter
	damaged  prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, n *Node) (*metrics, error) {
	if registerer == nil {
		return nil, nil
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_query_requests_total", Help: "Requests answered, by route and status; calls of Arrow Flight by their gRPC code.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "chronik_query_request_seconds", Help: "Time to answer a request, by route.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"route"}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_query_rows_total", Help: "Rows in answers of SQL queries.",
		}),
		files: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_query_files_total", Help: "Parquet files of the tables that queries name: read, or pruned.",
		}, []string{"outcome"}),
		needed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_query_needed_bytes_total", Help: "Bytes of Parquet files that queries needed, from the bucket or the cache.",
		}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chronik_query_damaged_objects_total", Help: "Files of topics that a query could not read.",
		}),
	}
	var err error
	for _, c := range []prometheus.Collector{
		m.requests, m.seconds, m.rows, m.files, m.needed, m.damaged,
		gauge("chronik_query_tail_bytes", "Bytes of records that are in no Parquet file or split yet, on disk and in memory.",
			func() float64 { return float64(n.tails.Bytes()) }),
		gauge("chronik_query_running", "Queries that run now.", func() float64 { return float64(n.places.Running()) }),
		gauge("chronik_query_waiting", "Queries that wait until others have ended.", func() float64 { return float64(n.places.Waiting()) }),
		counter("chronik_query_refused_total", "Queries that were answered UNAVAILABLE since too many ran and waited.",
			func() float64 { return float64(n.places.Refused()) }),
		gauge("chronik_query_results_bytes", "Bytes of answers that are kept.",
			func() float64 { return float64(n.results.Counts().Bytes) }),
		counter("chronik_query_results_hits_total", "Queries answered by an answer that was kept.",
			func() float64 { return float64(n.results.Counts().Hits) }),
		counter("chronik_query_results_misses_total", "Queries whose answer was looked for and not kept.",
			func() float64 { return float64(n.results.Counts().Misses) }),
		counter("chronik_query_results_joined_total", "Queries that waited for the answer to the same one, which ran already.",
			func() float64 { return float64(n.results.Counts().Joined) }),
		counter("chronik_query_results_evictions_total", "Kept answers removed for room or for their age.",
			func() float64 { return float64(n.results.Counts().Evictions) }),
		counter("chronik_query_searches_total", "Full-text searches, each of several in one request.",
			func() float64 { return float64(n.elastic.Counts().Searches) }),
		counter("chronik_query_hybrid_searches_total", "Searches by words and meaning.",
			func() float64 { return float64(n.semantic.Counts().Hybrid) }),
		counter("chronik_query_hybrid_partial_total", "Of them, those that were answered though one side failed.",
			func() float64 { return float64(n.semantic.Counts().Partial) }),
		counter("chronik_query_documents_written_total", "Documents written over HTTP.",
			func() float64 { return float64(n.elastic.Counts().Written) }),
		counter("chronik_query_documents_failed_total", "Documents that were to be written over HTTP, and were refused or failed.",
			func() float64 { return float64(n.elastic.Counts().Unwritten) }),
		gauge("chronik_query_cache_bytes", "Bytes of objects kept as local files.",
			func() float64 { return float64(n.cache.Counts().Bytes) }),
		counter("chronik_query_cache_hits_total", "Objects found as local files.",
			func() float64 { return float64(n.cache.Counts().Hits) }),
		counter("chronik_query_cache_misses_total", "Objects that had to be fetched.",
			func() float64 { return float64(n.cache.Counts().Misses) }),
		counter("chronik_query_cache_fetched_bytes_total", "Bytes of objects fetched from the bucket.",
			func() float64 { return float64(n.cache.Counts().BytesFetched) }),
		counter("chronik_query_cache_ranges_total", "Ranges of objects fetched from the bucket, and not kept: of large splits that are searched seldom.",
			func() float64 { return float64(n.cache.Counts().Ranges) }),
		gauge("chronik_query_splits_open", "Text splits whose footers are in memory.",
			func() float64 { return float64(n.splits.Counts().Files) }),
		gauge("chronik_query_splits_memory_bytes", "Memory that footers of text splits take, and ranges that were read of them.",
			func() float64 { return float64(n.splits.Counts().MemoryBytes) }),
		gauge("chronik_query_splits_mapped_bytes", "Bytes of text splits that are mapped into memory.",
			func() float64 { return float64(n.splits.Counts().MappedBytes) }),
		counter("chronik_query_splits_searched_total", "Text splits that searches looked into, those of the tail too.",
			func() float64 { return float64(n.search.Splits().Searched) }),
		counter("chronik_query_splits_skipped_total", "Text splits in which no document could match a search, so that no more than footer and terms were looked at.",
			func() float64 { return float64(n.search.Splits().Skipped) }),
		counter("chronik_query_cache_evictions_total", "Local files removed for room.",
			func() float64 { return float64(n.cache.Counts().Evictions) }),
	} {
		err = errors.Join(err, registerer.Register(c))
	}
	for _, c := range vectorMetrics(n) {
		err = errors.Join(err, registerer.Register(c))
	}
	if n.peers != nil {
		err = errors.Join(err,
			registerer.Register(counter("chronik_query_handed_on_total", "Queries and searches that another query node answered for this one.",
				func() float64 { return float64(n.peers.Forwarded()) })),
			registerer.Register(counter("chronik_query_declined_total", "Queries and searches that another query node did not answer, so that this one did.",
				func() float64 { return float64(n.peers.Declined()) })))
	}
	return m, err
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func counter(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
}

// vectorMetrics are the figures of search by meaning.
func vectorMetrics(n *Node) []prometheus.Collector {
	return []prometheus.Collector{
		counter("chronik_query_vector_searches_total", "Searches by meaning.",
			func() float64 { return float64(n.vectors.Counts().Searches) }),
		gauge("chronik_query_shards_open", "Vector shards whose footers are in memory.",
			func() float64 { return float64(n.shards.Counts().Files) }),
		gauge("chronik_query_shards_memory_bytes", "Memory that footers of vector shards take, and ranges that were read of them.",
			func() float64 { return float64(n.shards.Counts().MemoryBytes) }),
		gauge("chronik_query_shards_mapped_bytes", "Bytes of vector shards that are mapped into memory.",
			func() float64 { return float64(n.shards.Counts().MappedBytes) }),
		counter("chronik_query_shards_searched_total", "Vector shards that searches looked into.",
			func() float64 { return float64(n.vectors.Counts().Shards) }),
		counter("chronik_query_shards_requests_total", "Requests to the bucket that searches by meaning needed for shards.",
			func() float64 { return float64(n.vectors.Counts().Requests) }),
		counter("chronik_query_shards_fetched_bytes_total", "Bytes of the bucket that searches by meaning needed of shards.",
			func() float64 { return float64(n.vectors.Counts().Bytes) }),
	}
}

func (m *metrics) answered(route string, status int, took time.Duration) {
	if m == nil {
		return
	}
	if route == "" {
		route = "unknown"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// called counts a call that is no HTTP request: its outcome is a word.
func (m *metrics) called(route, outcome string, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(route, outcome).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) addRows(n int) {
	if m != nil {
		m.rows.Add(float64(n))
	}
}

// addFiles counts the files of a topic that a query was bound to.
func (m *metrics) addFiles(s stats) {
	if m != nil {
		m.files.WithLabelValues("pruned").Add(float64(s.FilesPruned))
		m.files.WithLabelValues("read").Add(float64(s.FilesTotal - s.FilesPruned))
		m.needed.Add(float64(s.BytesRead))
	}
}

func (m *metrics) addDamaged() {
	if m != nil {
		m.damaged.Inc()
	}
}

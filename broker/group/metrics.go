package group

import "github.com/prometheus/client_golang/prometheus"

// Metrics of a Coordinator.
type Metrics struct {
	rebalances      prometheus.Counter
	writes          *prometheus.CounterVec // of states, by outcome
	late            prometheus.Counter
	expired         prometheus.Counter
	metadataRefused prometheus.Counter
	full            prometheus.Counter
	slots           prometheus.Gauge
	taken           prometheus.Counter
}

// NewMetrics registers the metrics with r, which may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		rebalances: counter("chronik_group_rebalances_total", "Rebalances of groups of the classic protocol that began."),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_group_state_writes_total", Help: "Writes of the states of groups to the metadata store, by outcome.",
		}, []string{"outcome"}),
		late: counter("chronik_group_answers_not_stored_total",
			"Answers to members that were refused, because what they would have told of was not stored in time."),
		expired: counter("chronik_group_offsets_expired_total", "Committed offsets that were deleted because group.offsets_retention was over."),
		metadataRefused: counter("chronik_group_offset_metadata_refused_total",
			"Offsets that were refused because their metadata was longer than group.offset_metadata_bytes_max."),
		full: counter("chronik_group_full_total", "Members that were refused because their group had group.members_max."),
	}
	m.slots = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chronik_group_slots", Help: "Coordinator slots, of 64 in the cluster, whose groups this broker serves.",
	})
	m.taken = counter("chronik_group_slots_taken_total", "Coordinator slots whose groups this broker began to serve.")
	if r != nil {
		r.MustRegister(m.slots, m.taken, m.rebalances, m.writes, m.late, m.expired, m.metadataRefused, m.full)
	}
	return m
}

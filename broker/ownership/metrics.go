package ownership

import "github.com/prometheus/client_golang/prometheus"

// move is why a partition changed hands.
type move string

const (
	moveNew       move = "new"       // taken: nobody ever owned it
	moveReleased  move = "released"  // taken: its owner gave it up
	moveRestart   move = "restart"   // taken: it was ours before
	moveTakeover  move = "takeover"  // taken: its owner is dead
	moveAgain     move = "again"     // taken: an earlier write of ours is in doubt
	moveRebalance move = "rebalance" // given up: another broker is wished for
	moveDrain     move = "drain"     // given up: this broker drains
	moveStop      move = "stop"      // given up: this broker stops
)

// Metrics are the figures of ownership. They outlive a Manager.
type Metrics struct {
	moves          *prometheus.CounterVec
	unownedSeconds prometheus.Histogram
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chronik_broker_partition_moves_total",
			Help: "Partitions that this broker took (new, released, restart, takeover, again) or gave up (rebalance, drain, stop).",
		}, []string{"reason"}),
		unownedSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chronik_broker_partition_unowned_seconds", Help: "Time for which a partition that this broker took was seen without an owner.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 2, 18),
		}),
	}
	for _, r := range []move{moveNew, moveReleased, moveRestart, moveTakeover, moveAgain, moveRebalance, moveDrain, moveStop} {
		m.moves.WithLabelValues(string(r))
	}
	if reg != nil {
		reg.MustRegister(m.moves, m.unownedSeconds)
	}
	return m
}

package forward

import "github.com/prometheus/client_golang/prometheus"

// Values of the label "reason": why requests got no answer.
const (
	failureDial  = "unreachable"
	failureLimit = "connections"
	failureLost  = "lost"
)

type metrics struct {
	connections       prometheus.Gauge
	opened, requests  prometheus.Counter
	bytesIn, bytesOut prometheus.Counter
	failures          *prometheus.CounterVec
}

// newMetrics registers with reg unless it is nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "chronik", Subsystem: "forward", Name: name, Help: help})
	}
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "chronik", Subsystem: "forward", Name: "connections",
			Help: "Connections to other brokers for requests of clients that are theirs to answer."}),
		opened:   counter("connections_opened_total", "Such connections that were opened."),
		requests: counter("requests_total", "Requests that were sent to other brokers."),
		bytesOut: counter("sent_bytes_total", "Bytes of those requests."),
		bytesIn:  counter("received_bytes_total", "Bytes of their answers."),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "chronik", Subsystem: "forward", Name: "failures_total",
			Help: "Requests that could not be sent, or got no answer."}, []string{"reason"}),
	}
	for _, reason := range []string{failureDial, failureLimit, failureLost} {
		m.failures.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.opened, m.requests, m.bytesIn, m.bytesOut, m.failures)
	}
	return m
}

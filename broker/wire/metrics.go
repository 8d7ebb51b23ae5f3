package wire

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections      prometheus.Gauge
	refused, aborted prometheus.Counter
	bytesIn          prometheus.Counter
	bytesOut         prometheus.Counter
}

// newMetrics registers with reg unless it is nil.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "chronik", Subsystem: "kafka", Name: name, Help: help})
	}
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "chronik", Subsystem: "kafka", Name: "connections", Help: "Client connections that are open.",
		}),
		refused:  counter("connections_refused_total", "Connections closed at once because there were too many."),
		aborted:  counter("connections_aborted_total", "Connections closed for bad bytes or a failed request."),
		bytesIn:  counter("received_bytes_total", "Bytes of request frames."),
		bytesOut: counter("sent_bytes_total", "Bytes of responses."),
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.refused, m.aborted, m.bytesIn, m.bytesOut)
	}
	return m
}

func (m *metrics) received(n int) { m.bytesIn.Add(float64(n + 4)) }
func (m *metrics) sent(n int64)   { m.bytesOut.Add(float64(n)) }

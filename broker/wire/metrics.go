package wire

import "github.com/prometheus/client_golang/prometheus"

// Values of the label "limit": what a connection was refused for, or had to wait
// for. Each is a row of the settings.
const (
	limitConnections     = "connections"
	limitPerIP           = "connections_per_ip"
	limitQuota           = "connection_quota"
	limitInternal        = "internal_connections"
	limitRate            = "connection_rate"
	limitPipeline        = "pipeline"
	limitRequests        = "requests"
	limitConnectionBytes = "connection_bytes"
	limitFrameBytes      = "frame_bytes"
	limitAnswerBytes     = "answer_bytes"
	limitRequestBytes    = "request_bytes"
)

type metrics struct {
	connections prometheus.Gauge
	internal    prometheus.Gauge
	requests    prometheus.Gauge
	refused     *prometheus.CounterVec
	waits       *prometheus.CounterVec
	answerBytes prometheus.Gauge
	shortened   prometheus.Counter
	timeouts    *prometheus.CounterVec
	tooLarge    *prometheus.CounterVec
	aborted     prometheus.Counter
	bytesIn     prometheus.Counter
	bytesOut    prometheus.Counter
}

// newMetrics registers with reg unless it is nil.
func newMetrics(reg prometheus.Registerer, frameBytes func() float64) *metrics {
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "chronik", Subsystem: "kafka", Name: name, Help: help}, []string{label})
		for _, value := range values { // 0 tells "never" from "no such limit"
			v.WithLabelValues(value)
		}
		return v
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: "chronik", Subsystem: "kafka", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "chronik", Subsystem: "kafka", Name: name, Help: help})
	}
	m := &metrics{
		connections: prometheus.NewGauge(gauge("connections", "Client connections that are open.")),
		internal:    prometheus.NewGauge(gauge("internal_connections", "Connections of this cluster's own processes that are open.")),
		requests:    prometheus.NewGauge(gauge("requests_underway", "Requests that are started and not answered yet.")),
		refused: vec("connections_refused_total", "Connections closed unserved because of a limit.", "limit",
			limitConnections, limitPerIP, limitQuota, limitInternal),
		waits: vec("limit_waits_total", "Times that a connection, or the next one, was not read or not answered for a while because a limit was reached.", "limit",
			limitRate, limitPipeline, limitRequests, limitConnectionBytes, limitFrameBytes, limitAnswerBytes),
		answerBytes: prometheus.NewGauge(gauge("answer_bytes", "Bytes of answers that clients have not taken yet.")),
		shortened:   counter("answers_shortened_total", "Answers that got less room than was asked for because clients had not taken others yet."),
		timeouts: vec("connection_timeouts_total", "Connections closed because a time was over.", "timeout",
			timeoutIdle, timeoutFrame, timeoutWrite, timeoutMemory, timeoutStall),
		tooLarge: vec("requests_refused_total", "Requests that are larger than a limit ever allows; their connections are closed.", "limit", limitRequestBytes, limitFrameBytes),
		aborted:  counter("connections_aborted_total", "Connections closed for bad bytes or a failed request."),
		bytesIn:  counter("received_bytes_total", "Bytes of request frames."),
		bytesOut: counter("sent_bytes_total", "Bytes of responses."),
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.internal, m.requests, m.refused, m.waits, m.answerBytes, m.shortened, m.timeouts, m.tooLarge, m.aborted, m.bytesIn, m.bytesOut,
			prometheus.NewGaugeFunc(gauge("frame_bytes", "Memory that request frames have."), frameBytes))
	}
	return m
}

func (m *metrics) received(n int) { m.bytesIn.Add(float64(n + 4)) }
func (m *metrics) sent(n int64)   { m.bytesOut.Add(float64(n)) }

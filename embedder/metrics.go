package embedder

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	latency  *prometheus.HistogramVec
	depth    *prometheus.GaugeVec
	requests *prometheus.CounterVec
	retries  *prometheus.CounterVec
	errors   *prometheus.CounterVec // by kind
	tokens   *prometheus.CounterVec
	cost     *prometheus.CounterVec
	messages *prometheus.CounterVec
	vectors  *prometheus.CounterVec
	cut      *prometheus.CounterVec
	skipped  *prometheus.CounterVec // by reason
	queries  *prometheus.CounterVec // by outcome
	all      []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chronik_embedding_" + name, Help: help}, append([]string{"provider", "model"}, labels...))
		m.all = append(m.all, c)
		return c
	}
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "chronik_embedding_latency_seconds", Help: "Time from sending a request to a provider to its answer.",
		Buckets: prometheus.ExponentialBuckets(0.002, 2, 15),
	}, []string{"provider", "model"})
	m.depth = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "chronik_embedding_queue_depth", Help: "Texts of messages that wait for their vectors, in requests or before.",
	}, []string{"provider", "model"})
	m.all = append(m.all, m.latency, m.depth)
	m.requests = counters("requests_total", "Requests that were sent to providers.")
	m.retries = counters("retries_total", "Requests that were sent again after a failure.")
	m.errors = counters("errors_total", "Requests that failed, or were not sent since the circuit is open, by kind.", "kind")
	m.tokens = counters("tokens_total", "Tokens that were embedded: as the provider counts, or where it does not, an estimate.")
	m.cost = counters("cost_total", "What they cost, by embedding.price_per_million_tokens and in its currency.")
	m.messages = counters("messages_total", "Messages whose text was to be embedded, again where that failed.")
	m.vectors = counters("vectors_total", "Vectors that were made of messages.")
	m.cut = counters("cut_total", "Texts that were longer than the model takes, and were cut.")
	m.skipped = counters("skipped_total", "Messages without a vector, by reason: no text, or the provider refuses it.", "reason")
	m.queries = counters("queries_total", "Texts that were searched for, by outcome: cached, embedded, failed.", "outcome")
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	var errs []error
	for _, c := range m.all {
		errs = append(errs, r.Register(c))
	}
	return errors.Join(errs...)
}

// meter is the metrics of one model.
type meter struct {
	latency                                                   prometheus.Observer
	depth                                                     prometheus.Gauge
	requests, retries, tokens, cost, messages, vectors, cutUp prometheus.Counter
	errors, skips, queries                                    *prometheus.CounterVec
	price                                                     float64 // of a token
}

func (m *metrics) of(model Model, pricePerMillion float64) *meter {
	name := model.Name
	if name == "" {
		name = hostOf(model.Endpoint)
	}
	// Neither a topic's words nor a URL's path have to be UTF-8, as labels do.
	labels := prometheus.Labels{"provider": model.Provider, "model": strings.ToValidUTF8(name, "\ufffd")}
	return &meter{
		latency: m.latency.With(labels), depth: m.depth.With(labels),
		requests: m.requests.With(labels), retries: m.retries.With(labels), tokens: m.tokens.With(labels), cost: m.cost.With(labels),
		messages: m.messages.With(labels), vectors: m.vectors.With(labels), cutUp: m.cut.With(labels),
		errors: m.errors.MustCurryWith(labels), skips: m.skipped.MustCurryWith(labels), queries: m.queries.MustCurryWith(labels),
		price: pricePerMillion / 1e6,
	}
}

// waits is that many texts more, or less, that wait for their vectors.
func (m *meter) waits(texts int) { m.depth.Add(float64(texts)) }

func (m *meter) retried() { m.retries.Inc() }

func (m *meter) began(texts, blank int) {
	m.messages.Add(float64(texts))
	m.skipped(SkipEmpty, blank)
}

// ended is a call that has what it gets.
func (m *meter) ended(c *call) {
	made := 0
	for _, s := range c.settled {
		if s == embedded {
			made++
		}
	}
	m.vectors.Add(float64(made))
	m.cutUp.Add(float64(c.cut))
}

func (m *meter) skipped(why Skip, n int) {
	if n > 0 {
		m.skips.WithLabelValues(string(why)).Add(float64(n))
	}
}

// sent is a request that was sent, and what came back.
func (m *meter) sent(took time.Duration, a answer, err error) {
	m.requests.Inc()
	m.latency.Observe(took.Seconds())
	if err != nil {
		m.failed(err)
		return
	}
	m.tokens.Add(float64(a.tokens))
	m.cost.Add(float64(a.tokens) * m.price)
}

// failed counts an error; a request that its caller gave up is none.
func (m *meter) failed(err error) {
	if kind := kindOf(err); kind != "" {
		m.errors.WithLabelValues(string(kind)).Inc()
	}
}

func (m *meter) query(cached bool, err error) {
	outcome := "embedded"
	switch {
	case err != nil && errors.Is(err, context.Canceled):
		return
	case err != nil:
		outcome = "failed"
	case cached:
		outcome = "cached"
	}
	m.queries.WithLabelValues(outcome).Inc()
}

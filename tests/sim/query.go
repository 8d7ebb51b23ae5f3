package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/query"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/tail"
	"github.com/chronik-stream/chronik/tests/history"
)

// newQuery is a query node, whole: its tail reads the brokers over the simulated
// network, its engine is DuckDB. Its caches are real files, which nothing befalls,
// and gone with each life; what is left of a cache is the matter of its own tests.
func (w *World) newQuery(number int) *server {
	name := fmt.Sprintf("q%d", number)
	return &server{w: w, name: name, rng: w.random(name), start: startQuery}
}

func startQuery(ctx context.Context, s *server, l *life) (func(context.Context) error, error) {
	log := s.logger(l)
	store, bucket, err := s.seams(l)
	if err != nil {
		return nil, err
	}
	meta, err := s.open(ctx, store, log)
	if err != nil {
		return nil, err
	}
	embeds, err := s.embedder(l)
	if err != nil {
		meta.Close()
		return nil, err
	}
	node, err := query.Open(ctx, query.Config{
		Catalog: meta.Catalog(), CatchUp: meta.CatchUp, Bucket: bucket, Embedder: embeds, DataDir: s.w.t.TempDir(), TopicDefaults: topicconfig.Defaults{"durability": "wal"},
		Kafka: []tail.ClientOption{kgo.Dialer(func(ctx context.Context, _, address string) (net.Conn, error) { return s.w.net.dial(ctx, l, address) })},
		ReportDamage: func(_ context.Context, object, reason string) error {
			s.w.history.Report(history.Missing, "%s reports %s, and nothing is damaged here: %s", s.name, object, reason)
			return nil
		},
		// One thread, so that little is left to chance.
		Threads: 1, MemoryBytesMax: 256 << 20, TailBytesMax: 64 << 20, Log: log, Registerer: s.registry,
	})
	if err != nil {
		meta.Close()
		return nil, err
	}
	serving := &queryLife{l, node.Handler()}
	s.queries.Store(serving)
	return func(ctx context.Context) error {
		defer meta.Close()
		// One that was killed may come to its end after the next has begun.
		defer s.queries.CompareAndSwap(serving, nil)
		return node.Run(ctx)
	}, nil
}

// queryLife is what answers queries while a query node lives.
type queryLife struct {
	l       *life
	handler http.Handler
}

// asker asks for everything that is in a topic, by turns of every query node, in
// all ways in which it can be asked for.
func (w *World) asker(ctx context.Context, name string) {
	rng := w.random("client " + name)
	for ctx.Err() == nil {
		pass(ctx, between(rng, 200*time.Millisecond, 6*time.Second))
		topic, freshness := w.plan.Topics[rng.IntN(len(w.plan.Topics))], []string{"latest", "latest", "available", "cold"}[rng.IntN(4)]
		nodes := w.queryNodes()
		s, ways := nodes[rng.IntN(len(nodes))], w.ways(topic)
		_ = ways[rng.IntN(len(ways))](ctx, name, s, freshness) // the next one will do
	}
}

// way is a way to ask a node for all records of a topic, or for some. It tells the
// history what is answered; an error says that nothing was.
type way func(ctx context.Context, name string, s *server, freshness string) error

// ways are those of a topic.
func (w *World) ways(t TopicPlan) []way {
	all := []way{func(ctx context.Context, name string, s *server, freshness string) error {
		return w.ask(ctx, name, s, t.Name, freshness)
	}}
	if t.Searchable {
		all = append(all, w.byWords(t.Name, ""), w.byWords(t.Name, "p1"))
	}
	if t.Index != "" {
		for p := range t.Partitions {
			all = append(all, w.byMeaning(history.Partition{Topic: t.Name, Index: p}))
		}
	}
	return all
}

func (w *World) queryNodes() (nodes []*server) {
	for _, s := range w.nodes {
		if strings.HasPrefix(s.name, "q") {
			nodes = append(nodes, s)
		}
	}
	return nodes
}

// rows are what SQL answers.
type rows struct {
	Rows []struct {
		Partition int32  `json:"_partition"`
		Offset    int64  `json:"_offset"`
		Value     string `json:"_value"`
	} `json:"rows"`
	Truncated bool     `json:"truncated"`
	Coverage  coverage `json:"coverage"`
}

// coverage is what all answers say that they were computed over.
type coverage map[string]struct {
	Partitions map[int32]struct {
		From int64 `json:"from"`
		To   int64 `json:"to"`
		End  int64 `json:"high_watermark"`
	} `json:"partitions"`
	Lag int64 `json:"lag_records"`
}

// of is what is covered of a topic. Nothing else may be.
func (c coverage) of(w *World, s *server, topic string) map[int32]history.Covered {
	covered, lag := map[int32]history.Covered{}, int64(0)
	for index, p := range c[topic].Partitions {
		covered[index] = history.Covered{From: p.From, To: p.To, End: p.End}
		lag += p.End - p.To
	}
	if len(c) != 1 || lag != c[topic].Lag {
		w.history.Report(history.Uncovered, "%s says of %s: %+v", s.name, topic, c)
	}
	return covered
}

// ask asks a node in SQL for a topic, and tells the history what it says.
func (w *World) ask(ctx context.Context, name string, s *server, topic, freshness string) error {
	question := w.history.Query(name, topic, freshness == "latest")
	var got rows
	if err := w.post(ctx, name, s, "/_sql", map[string]any{
		"query": fmt.Sprintf(`SELECT _partition, _offset, CASE WHEN _value IS NULL THEN _headers['%s'] ELSE _value END AS _value FROM "%s"`, nameHeader, topic), "limit": 1_000_000, "timeout_secs": 20, "freshness": freshness,
	}, &got); err != nil {
		return err
	}
	if got.Truncated {
		w.history.Report(history.Uncovered, "%s cuts what it says of %s", s.name, topic)
	}
	rows := map[int32][]history.Item{}
	for _, r := range got.Rows {
		rows[r.Partition] = append(rows[r.Partition], history.Item{Offset: r.Offset, Value: []byte(r.Value)})
	}
	question.Answered(got.Coverage.of(w, s, topic), rows)
	return nil
}

// post asks a node once, and decodes what it answers. An error says that it did not
// answer; an answer that nothing explains is a breach.
func (w *World) post(ctx context.Context, name string, s *server, path string, body, answer any) error {
	node := s.queries.Load()
	if node == nil {
		return fmt.Errorf("%s is down", s.name)
	}
	// Nobody waits for a node that has died.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-node.l.dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	recorder := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(data))
	request.Header.Set("Content-Type", "application/json")
	node.handler.ServeHTTP(recorder, request)
	w.trace.add(w.sched.now(), "%s asks %s: %s %s: %d", name, s.name, path, data, recorder.Code)
	if node.l.isDead() {
		return fmt.Errorf("%s died", s.name)
	}
	switch recorder.Code {
	case http.StatusOK:
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, 499, http.StatusBadGateway:
		return fmt.Errorf("%d %s", recorder.Code, recorder.Body)
	default:
		w.history.Report(history.Other, "%s is asked %s %s and answers %d %s", s.name, path, data, recorder.Code, recorder.Body)
		return fmt.Errorf("%d %s", recorder.Code, recorder.Body)
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), answer); err != nil {
		w.history.Report(history.Other, "%s answers %.200q: %v", s.name, recorder.Body, err)
		return err
	}
	return nil
}

// askAll asks every query node for everything, in all ways, when nothing writes and
// nothing fails: it has to answer.
func (w *World) askAll(ctx context.Context) {
	for _, s := range w.queryNodes() {
		for _, topic := range w.plan.Topics {
			for _, ask := range w.ways(topic) {
				begun := time.Now()
				for {
					err := ask(ctx, "last", s, "latest")
					if err == nil {
						break
					}
					if time.Since(begun) > 5*time.Minute {
						w.history.Report(history.Unread, "%s, asked for %s for five minutes: %v", s.name, topic.Name, err)
						break
					}
					pass(ctx, time.Second)
				}
			}
		}
	}
}

// queriesRun says whether this build can run queries.
const queriesRun = engine.Enabled

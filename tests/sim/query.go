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
	node, err := query.Open(ctx, query.Config{
		Catalog: meta.Catalog(), CatchUp: meta.CatchUp, Bucket: bucket, DataDir: s.w.t.TempDir(), TopicDefaults: topicconfig.Defaults{"durability": "wal"},
		Kafka: []tail.ClientOption{kgo.Dialer(func(ctx context.Context, _, address string) (net.Conn, error) { return s.w.net.dial(ctx, l, address) })},
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

// asker asks for everything that is in a topic, by turns of every query node.
func (w *World) asker(ctx context.Context, name string) {
	rng := w.random("client " + name)
	for ctx.Err() == nil {
		pass(ctx, between(rng, 200*time.Millisecond, 6*time.Second))
		topics := w.topicNames()
		topic, freshness := topics[rng.IntN(len(topics))], []string{"latest", "latest", "available", "cold"}[rng.IntN(4)]
		nodes := w.queryNodes()
		w.ask(ctx, name, nodes[rng.IntN(len(nodes))], topic, freshness)
	}
}

func (w *World) queryNodes() (nodes []*server) {
	for _, s := range w.nodes {
		if strings.HasPrefix(s.name, "q") {
			nodes = append(nodes, s)
		}
	}
	return nodes
}

// answer is what POST /_sql answers; of a failure, its text.
type answer struct {
	Rows []struct {
		Partition int32  `json:"_partition"`
		Offset    int64  `json:"_offset"`
		Value     string `json:"_value"`
	} `json:"rows"`
	Truncated bool `json:"truncated"`
	Coverage  map[string]struct {
		Partitions map[int32]struct {
			From int64 `json:"from"`
			To   int64 `json:"to"`
			End  int64 `json:"high_watermark"`
		} `json:"partitions"`
		Lag int64 `json:"lag_records"`
	} `json:"coverage"`
	Code string `json:"error_code"`
	Text string `json:"error"`
}

// ask asks a node once for a topic, and tells the history what it says.
func (w *World) ask(ctx context.Context, name string, s *server, topic, freshness string) error {
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
	body, err := json.Marshal(map[string]any{
		"query": fmt.Sprintf(`SELECT _partition, _offset, CASE WHEN _value IS NULL THEN _headers['%s'] ELSE _value END AS _value FROM "%s"`, nameHeader, topic), "limit": 1_000_000, "timeout_secs": 20, "freshness": freshness,
	})
	if err != nil {
		return err
	}
	question := w.history.Query(name, topic, freshness == "latest")
	recorder := httptest.NewRecorder()
	node.handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodPost, "/_sql", bytes.NewReader(body)))
	w.trace.add(w.sched.now(), "%s asks %s for %s (%s): %d", name, s.name, topic, freshness, recorder.Code)
	if node.l.isDead() {
		return fmt.Errorf("%s died", s.name)
	}
	var got answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
		w.history.Report(history.Other, "%s answers %.200q: %v", s.name, recorder.Body, err)
		return err
	}
	switch recorder.Code {
	case http.StatusOK:
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout, 499:
		return fmt.Errorf("%s: %s", got.Code, got.Text)
	default:
		w.history.Report(history.Other, "%s is asked for %s and answers %d %s: %s", s.name, topic, recorder.Code, got.Code, got.Text)
		return fmt.Errorf("%s: %s", got.Code, got.Text)
	}
	covered, lag := map[int32]history.Covered{}, int64(0)
	for index, c := range got.Coverage[topic].Partitions {
		covered[index] = history.Covered{From: c.From, To: c.To, End: c.End}
		lag += c.End - c.To
	}
	if got.Truncated || len(got.Coverage) != 1 || lag != got.Coverage[topic].Lag {
		w.history.Report(history.Uncovered, "%s says of %s: %+v, truncated: %v", s.name, topic, got.Coverage, got.Truncated)
	}
	rows := map[int32][]history.Item{}
	for _, r := range got.Rows {
		rows[r.Partition] = append(rows[r.Partition], history.Item{Offset: r.Offset, Value: []byte(r.Value)})
	}
	question.Answered(covered, rows)
	return nil
}

// askAll asks every query node for everything, when nothing writes and nothing
// fails: it has to answer.
func (w *World) askAll(ctx context.Context) {
	for _, s := range w.queryNodes() {
		for _, topic := range w.topicNames() {
			begun := time.Now()
			for {
				err := w.ask(ctx, "last", s, topic, "latest")
				if err == nil {
					break
				}
				if time.Since(begun) > 5*time.Minute {
					w.history.Report(history.Unread, "%s, asked for %s for five minutes: %v", s.name, topic, err)
					break
				}
				pass(ctx, time.Second)
			}
		}
	}
}

// queriesRun says whether this build can run queries.
const queriesRun = engine.Enabled

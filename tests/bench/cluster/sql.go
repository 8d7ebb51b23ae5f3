package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// table makes a topic that is a table.
func table(ctx context.Context, c *harness.Cluster, name string, partitions int32) error {
	cl, err := client(c)
	if err != nil {
		return err
	}
	defer cl.Close()
	yes, wal := "true", "wal"
	made, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, 1, map[string]*string{"columnar.enabled": &yes, "durability": &wal}, name)
	return errors.Join(err, made.Err)
}

func drop(ctx context.Context, c *harness.Cluster, name string) error {
	cl, err := client(c)
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).DeleteTopic(ctx, name)
	return err
}

// event is a record's value, of about 200 bytes.
func event(n int64) []byte {
	return fmt.Appendf(nil, `{"city":"city-%d","amount":%d.5,"user":"user-%d","ok":%t,"session":"%032x","page":"/products/%d/details/and/more","agent":"Mozilla/5.0 (X11; Linux)"}`,
		n%97, n%1000, n%5003, n%7 == 0, n*7919, n%317)
}

// producers write events to topics, each record at its moment, and note how long
// its acknowledgement took.
type producers struct {
	acked atomic.Int64
	mu    sync.Mutex
	took  []time.Duration
}

// run writes perSecond records (0: as many as it can) from several clients until
// ctx ends.
func (p *producers) run(ctx context.Context, c *harness.Cluster, clients int, perSecond float64, topics ...string) error {
	failed := make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { failed[i] = p.one(ctx, c, i, perSecond/float64(clients), topics) })
	}
	all.Wait()
	return errors.Join(failed...)
}

func (p *producers) one(ctx context.Context, c *harness.Cluster, number int, perSecond float64, topics []string) error {
	cl, err := client(c, kgo.ProducerLinger(2*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failure atomic.Pointer[error]
	begun := time.Now()
	for n := int64(0); ctx.Err() == nil && failure.Load() == nil; n++ {
		if perSecond > 0 {
			if ahead := time.Duration(float64(n)/perSecond*float64(time.Second)) - time.Since(begun); ahead > 2*time.Millisecond {
				<-time.After(ahead)
			}
		}
		sent := time.Now()
		cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: topics[int(n)%len(topics)], Value: event(n*64 + int64(number))}, func(_ *kgo.Record, err error) {
			if err != nil {
				failure.Store(&err)
				return
			}
			p.acked.Add(1)
			if perSecond > 0 {
				p.mu.Lock()
				p.took = append(p.took, time.Since(sent))
				p.mu.Unlock()
			}
		})
	}
	if f := failure.Load(); f != nil {
		return *f
	}
	return cl.Flush(context.WithoutCancel(ctx))
}

// questions are what the SQL clients ask, of a topic.
var questions = []string{
	`SELECT count(*) AS n FROM "%s"`,
	`SELECT city, count(*) AS n, avg(amount) AS a FROM "%s" GROUP BY city ORDER BY n DESC LIMIT 10`,
	`SELECT count(*) AS n FROM "%s" WHERE ok AND amount > 500`,
	`SELECT * EXCLUDE (_headers) FROM "%s" WHERE "user" = 'user-17' LIMIT 20`,
	`SELECT date_trunc('minute', timestamp) AS m, count(*) AS n FROM "%s" GROUP BY m ORDER BY m DESC LIMIT 5`,
}

// askers are SQL clients.
type askers struct {
	mu     sync.Mutex
	took   []time.Duration
	failed map[string]int
	pause  time.Duration // the longest without any answer
	last   time.Time
}

// run lets clients ask, each with a pause behind an answer, until ctx ends.
func (a *askers) run(ctx context.Context, address string, clients int, think time.Duration, topics ...string) {
	if a.failed == nil {
		a.failed = map[string]int{}
	}
	a.last = time.Now()
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport, Timeout: time.Minute}
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Duration((0.5 + random.Float64()) * float64(think))):
				}
				begun := time.Now()
				err := ask(ctx, hc, address, fmt.Sprintf(questions[random.IntN(len(questions))], topics[random.IntN(len(topics))]))
				if ctx.Err() == nil {
					a.note(time.Since(begun), err)
				}
			}
		})
	}
	all.Wait()
}

func (a *askers) note(took time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), `","`)
		a.failed[fmt.Sprintf("%.60s", reason)]++
		return
	}
	now := time.Now()
	a.took, a.pause, a.last = append(a.took, took), max(a.pause, now.Sub(a.last)), now
}

func ask(ctx context.Context, hc *http.Client, address, query string) error {
	body, err := json.Marshal(map[string]any{"query": query})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/_sql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := hc.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", response.StatusCode, text)
	}
	return err
}

// spent is what processes did between two looks.
type spent struct {
	nodes  []*harness.Node
	before []map[string]float64
	begun  time.Time
}

func look(nodes []*harness.Node) (*spent, error) {
	s := &spent{nodes: nodes, begun: time.Now()}
	for _, n := range nodes {
		m, err := counters("http://" + n.HTTP)
		if err != nil {
			return nil, err
		}
		s.before = append(s.before, m)
	}
	return s, nil
}

// rates are a metric's growth per second, by node.
func (s *spent) rates(names ...string) ([]float64, error) {
	seconds := time.Since(s.begun).Seconds()
	out := make([]float64, len(s.nodes))
	for i, n := range s.nodes {
		m, err := counters("http://" + n.HTTP)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			grown := m[name] - s.before[i][name]
			if grown < 0 { // it was started again
				grown = m[name]
			}
			out[i] += grown / seconds
		}
	}
	return out, nil
}

func sum(all []float64) (s float64) {
	for _, v := range all {
		s += v
	}
	return s
}

func percents(all []float64) string {
	var texts []string
	for _, v := range all {
		texts = append(texts, fmt.Sprintf("%.0f %%", 100*v))
	}
	return strings.Join(texts, ", ")
}

// sqlClients is how many ask at once.
const sqlClients = 20

// load measures acknowledgements at a share of what the cluster takes, with SQL
// clients and without, in turn.
func (b *bench) load(ctx context.Context, c *harness.Cluster) error {
	const name = "load"
	timed := func(d time.Duration, f func(context.Context) error) error {
		part, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return f(part)
	}
	var most producers
	const floods = 10 * time.Second
	// Nothing that reads the flood takes from what follows.
	if err := topic(ctx, c, "flood", 12, "wal"); err != nil {
		return err
	}
	if err := timed(floods, func(ctx context.Context) error { return most.run(ctx, c, 4, 0, "flood") }); err != nil {
		return err
	}
	maximum := float64(most.acked.Load()) / floods.Seconds()
	rate := b.share * maximum
	if err := errors.Join(drop(ctx, c, "flood"), table(ctx, c, name, 12)); err != nil {
		return err
	}
	var quiet, busy producers
	var asking askers
	var seconds float64
	var queryCPU, brokerCPU, quietCPU []float64
	for range 2 {
		brokers, err := look(c.Brokers)
		if err != nil {
			return err
		}
		if err := timed(b.seconds, func(ctx context.Context) error { return quiet.run(ctx, c, 4, rate, name) }); err != nil {
			return err
		}
		if quietCPU, err = brokers.rates("process_cpu_seconds_total"); err != nil {
			return err
		}
		brokers, err = look(c.Brokers)
		queries, err2 := look(c.Queries)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		begun := time.Now()
		if err := timed(b.seconds, func(ctx context.Context) error {
			var all sync.WaitGroup
			defer all.Wait()
			all.Go(func() { asking.run(ctx, c.HTTP, sqlClients, b.think, name) })
			return busy.run(ctx, c, 4, rate, name)
		}); err != nil {
			return err
		}
		seconds += time.Since(begun).Seconds()
		brokerCPU, err = brokers.rates("process_cpu_seconds_total")
		queryCPU, err2 = queries.rates("process_cpu_seconds_total")
		if err := errors.Join(err, err2); err != nil {
			return err
		}
	}
	q50, q99 := quantiles(quiet.took)
	b50, b99 := quantiles(busy.took)
	s50, s99 := quantiles(asking.took)
	b.report(fmt.Sprintf("ack of 200-byte records, acks=all, durability=wal, at %.0f records/s (%.0f %% of the %.0f/s measured before), %d brokers", rate, 100*b.share, maximum, len(c.Brokers)),
		fmt.Sprintf("SQL: %.1f answers/s from %d query nodes, p50 %v, p99 %v, not answered %v; CPU: brokers %s (without SQL %s), query nodes %s",
			float64(len(asking.took))/seconds, len(c.Queries), s50, s99, asking.failed, percents(brokerCPU), percents(quietCPU), percents(queryCPU)),
		"without SQL p50 %v, p99 %v (%d acks); with %d SQL clients p50 %v, p99 %v (%d acks)", q50, q99, len(quiet.took), sqlClients, b50, b99, len(busy.took))
	return nil
}

// fleet measures what a number of query nodes do with the same questions.
func (b *bench) fleet(ctx context.Context, c *harness.Cluster) error {
	var topics []string
	for i := range 8 {
		topics = append(topics, fmt.Sprintf("fleet-%d", i))
		if err := table(ctx, c, topics[i], 3); err != nil {
			return err
		}
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var written producers
	var all sync.WaitGroup
	var failed error
	all.Go(func() { failed = written.run(writing, c, 2, 1000, topics...) })
	defer all.Wait()
	defer stop()
	warm, cancel := context.WithTimeout(ctx, 10*time.Second)
	var first askers
	first.run(warm, c.HTTP, sqlClients, b.think, topics...)
	cancel()
	for _, kill := range []bool{false, true} {
		if kill && len(c.Queries) < 2 {
			continue
		}
		queries, err := look(c.Queries)
		brokers, err2 := look(c.Brokers)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		asked, cancel := context.WithTimeout(ctx, b.seconds)
		var asking askers
		what := fmt.Sprintf("%d query nodes%s, %d SQL clients, 8 topics with 1,000 records/s", len(c.Queries), b.note, sqlClients)
		if kill {
			what += "; one is killed in the middle and comes back"
			all.Go(func() {
				<-time.After(b.seconds / 3)
				last := c.Queries[len(c.Queries)-1]
				last.Kill()
				<-time.After(b.seconds / 6)
				if err := last.Start(ctx); err != nil {
					failed = errors.Join(failed, err)
				}
			})
		}
		begun := time.Now()
		asking.run(asked, c.HTTP, sqlClients, b.think, topics...)
		cancel()
		seconds := time.Since(begun).Seconds()
		cpu, err := queries.rates("process_cpu_seconds_total")
		read, err2 := brokers.rates("chronik_fetch_tail_bytes_total", "chronik_fetch_cold_bytes_total")
		brokerCPU, err3 := brokers.rates("process_cpu_seconds_total")
		on, err4 := queries.rates("chronik_query_handed_on_total")
		fetched, err5 := queries.rates("chronik_query_cache_fetched_bytes_total")
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			return err
		}
		p50, p99 := quantiles(asking.took)
		b.report(what, fmt.Sprintf("CPU: query nodes %s, brokers %s; brokers are read %.0f kB/s, the bucket %.0f kB/s; handed on %.1f/s",
			percents(cpu), percents(brokerCPU), sum(read)/1e3, sum(fetched)/1e3, sum(on)),
			"%.1f answers/s, p50 %v, p99 %v, longest without any %v, not answered: %v", float64(len(asking.took))/seconds, p50, p99, asking.pause.Round(time.Millisecond), asking.failed)
	}
	stop()
	all.Wait()
	return failed
}

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

var switchFor = flag.Duration("switch.for", 15*time.Second, "how long queries are held against what was acknowledged, while records move from the log to files")

// TestNoAnswerIsWrongWhileRecordsMoveFromTheLogToFiles asks two query nodes
// without pause, while records are produced, written to Parquet, merged, deleted
// and compacted by key, a topic is made again under its name, and brokers come
// and go. Whatever an answer says that it covers, each record of that is in it
// once; and the latest covers all that was acknowledged before the question.
func TestNoAnswerIsWrongWhileRecordsMoveFromTheLogToFiles(t *testing.T) {
	c := nodes(t, harness.Options{Brokers: 2, Compactors: 2, Queries: 2, Settings: []string{
		"segment.age=50ms", "compactor.first_age=150ms", "compactor.look_every=20ms", "compactor.merge_files=3", "compactor.deletion_grace=2s",
	}})
	s := &switching{t: t, cluster: c}
	s.client = s.newClient()
	admin := kadm.NewClient(s.client)
	table := func(partitions int32, name string, more ...string) error {
		config := map[string]*string{"columnar.enabled": kadm.StringPtr("true"), "columnar.json_schema": kadm.StringPtr(`{"n":"int64","g":"int64"}`)}
		for i := 0; i < len(more); i += 2 {
			config[more[i]] = &more[i+1]
		}
		_, err := admin.CreateTopic(t.Context(), partitions, 1, config, name)
		return err
	}
	for _, err := range []error{
		table(int32(len(s.acked)), "dense"),
		table(1, "keyed", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01", "segment.ms", "1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), *switchFor)
	defer cancel()
	var work sync.WaitGroup
	for p := range s.acked {
		work.Go(func() { s.produce(ctx, int32(p)) })
	}
	work.Go(func() { s.produceKeys(ctx) })
	work.Go(func() { s.deleteRecords(ctx, admin) })
	work.Go(func() { s.remake(ctx, admin, table) })
	work.Go(func() { s.restartBrokers(ctx) })
	for i, q := range slices.Concat(c.Queries, c.Queries) {
		asks := rand.New(rand.NewPCG(uint64(i), 7))
		work.Go(func() {
			for ctx.Err() == nil {
				s.ask(ctx, q.HTTP, asks)
			}
		})
	}
	work.Wait()
	var total int64
	for what := range s.answers {
		n := s.answers[what].Load()
		if total += n; n == 0 {
			t.Errorf("not one answer was held against %s", switchChecks[what].name)
		}
	}
	t.Logf("%d answers, %d refusals; %v records of partitions, %d of keys; %d generations of a topic, %d records deleted",
		total, s.refused.Load(), []int64{s.acked[0].Load(), s.acked[1].Load(), s.acked[2].Load()}, s.keyed.Load(), s.generation.Load(), s.deleted.Load())
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

const switchKeys = 20

// switching is what is known of the topics while they change.
type switching struct {
	t       *testing.T
	cluster *harness.Cluster
	client  *kgo.Client

	acked      [3]atomic.Int64 // dense: offsets below it, by partition
	deleted    atomic.Int64    // dense: records that were asked to be deleted
	keyed      atomic.Int64    // keyed: offsets below it
	generation atomic.Int64    // remade: the last one that was made
	answers    [6]atomic.Int64
	refused    atomic.Int64
	told       atomic.Int64
}

func (s *switching) newClient(more ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(s.cluster.Kafka, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(0),
	}, more...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	return client
}

// produce sends record n to offset n of a partition of dense. Field v has one
// type in some files and another in others.
func (s *switching) produce(ctx context.Context, partition int32) {
	client := s.newClient()
	next := int64(0)
	for ctx.Err() == nil {
		records := make([]*kgo.Record, 1+rand.IntN(40))
		for i := range records {
			n := next + int64(i)
			v := strconv.FormatInt(n, 10)
			if n/1000%3 == 1 {
				v = `"` + v + `"`
			}
			records[i] = &kgo.Record{Topic: "dense", Partition: partition, Value: fmt.Appendf(nil, `{"n":%d,"v":%s}`, n, v)}
		}
		// Not within ctx: what is given up may have been written.
		results := client.ProduceSync(context.WithoutCancel(ctx), records...)
		if err := results.FirstErr(); err != nil {
			s.t.Errorf("produce to partition %d: %v", partition, err)
			return
		}
		if first := records[0].Offset; first != next {
			s.t.Errorf("record %d of partition %d has offset %d", next, partition, first)
			return
		}
		next += int64(len(records))
		s.acked[partition].Store(next)
		s.pause(ctx, time.Duration(rand.IntN(15))*time.Millisecond)
	}
}

// produceKeys writes the same few keys over and over.
func (s *switching) produceKeys(ctx context.Context) {
	client := s.newClient()
	for n := int64(0); ctx.Err() == nil; n += switchKeys {
		records := make([]*kgo.Record, switchKeys)
		for i := range records {
			records[i] = &kgo.Record{Topic: "keyed", Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, `{"n":%d}`, n+int64(i))}
		}
		if err := client.ProduceSync(context.WithoutCancel(ctx), records...).FirstErr(); err != nil {
			s.t.Errorf("produce keys: %v", err)
			return
		}
		s.keyed.Store(n + switchKeys)
		s.pause(ctx, 30*time.Millisecond)
	}
}

// deleteRecords moves the log start of partition 0, also past what is in files.
func (s *switching) deleteRecords(ctx context.Context, admin *kadm.Client) {
	for ctx.Err() == nil {
		s.pause(ctx, 700*time.Millisecond)
		at := s.acked[0].Load() - int64(rand.IntN(2000))
		if at <= s.deleted.Load() {
			continue
		}
		var offsets kadm.Offsets
		offsets.AddOffset("dense", 0, at, -1)
		if _, err := admin.DeleteRecords(ctx, offsets); err == nil {
			s.deleted.Store(at)
		}
	}
}

// remake deletes a topic and makes it again, with records that say of which
// generation they are.
func (s *switching) remake(ctx context.Context, admin *kadm.Client, table func(int32, string, ...string) error) {
	for g := int64(1); ctx.Err() == nil; g++ {
		// Likewise; had the one before not gone, two generations would be in an answer.
		if err := table(2, "remade"); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			s.t.Errorf("make generation %d: %v", g, err)
			return
		}
		client := s.newClient()
		for range 1 + rand.IntN(6) {
			var records []*kgo.Record
			for range 1 + rand.IntN(200) {
				records = append(records, &kgo.Record{Topic: "remade", Partition: rand.Int32N(2), Value: fmt.Appendf(nil, `{"g":%d}`, g)})
			}
			if err := client.ProduceSync(context.WithoutCancel(ctx), records...).FirstErr(); err != nil {
				s.t.Errorf("produce generation %d: %v", g, err)
				return
			}
			s.generation.Store(g)
			s.pause(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
		}
		client.Close()
		// A request that a dying broker carried out, and did not answer, is repeated
		// and finds no topic. Were there one still, it could not be made again.
		if _, err := admin.DeleteTopic(context.WithoutCancel(ctx), "remade"); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			s.t.Errorf("delete generation %d: %v", g, err)
			return
		}
	}
}

// restartBrokers moves all partitions to and fro.
func (s *switching) restartBrokers(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		s.pause(ctx, 6*time.Second)
		if ctx.Err() != nil {
			return
		}
		b := s.cluster.Brokers[i%2]
		if i%3 == 2 {
			b.Kill()
		} else if err := b.Process.Stop(s.t.Context()); err != nil {
			s.t.Error(err)
			return
		}
		if err := b.Start(s.t.Context()); err != nil {
			s.t.Error(err)
			return
		}
	}
}

func (s *switching) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// perPartition sums a topic's rows up, by partition.
const perPartition = `SELECT _partition AS p, count(*) AS rows, count(DISTINCT _offset) AS distinct_rows, min(_offset) AS first, max(_offset) AS last,
	sum(_offset)::BIGINT AS offsets, sum(n)::BIGINT AS numbers, min(g) AS g_first, max(g) AS g_last FROM `

// switchChecks are the questions, and what has to be true of their answers.
var switchChecks = []struct {
	name, query, freshness string
	check                  func(s *switching, before [3]int64, a *sqlAnswer) error
}{
	{"dense, latest", perPartition + `dense GROUP BY 1`, "latest", (*switching).checkLatest},
	{"dense, both parts", perPartition + `(SELECT * FROM dense_hot UNION ALL SELECT * FROM dense_cold) GROUP BY 1`, "latest", (*switching).checkLatest},
	{"dense, hot", perPartition + `dense_hot GROUP BY 1`, "latest", (*switching).checkLatest},
	{"dense, available", perPartition + `dense GROUP BY 1`, "available", (*switching).checkDense},
	{"dense, cold", perPartition + `dense_cold GROUP BY 1`, "cold", (*switching).checkDense},
	{"remade", perPartition + `remade GROUP BY 1`, "latest", (*switching).checkRemade},
}

const (
	keyedQuery = `SELECT _key AS k, max(n) AS n, count(*) AS rows, count(DISTINCT _offset) AS distinct_rows, bool_and(n = _offset) AS same FROM keyed GROUP BY 1`
	typesQuery = `SELECT _partition AS p, sum(CAST(v AS BIGINT))::BIGINT AS v, sum(n)::BIGINT AS n FROM dense WHERE v IS NOT NULL GROUP BY 1`
)

// ask asks one question of a node, and holds the answer against what is known.
func (s *switching) ask(ctx context.Context, address string, random *rand.Rand) {
	what := random.IntN(len(switchChecks) + 2)
	var before [3]int64
	for p := range before {
		before[p] = s.acked[p].Load()
	}
	keyed, generation := s.keyed.Load(), s.generation.Load()
	question := func(query, freshness string) *sqlAnswer {
		a, err := askNode(ctx, address, query, freshness)
		if err != nil {
			if s.refused.Add(1); ctx.Err() == nil && !strings.Contains(err.Error(), "remade") && s.told.Add(1) < 20 {
				s.t.Logf("refused: %v", err)
			}
			return nil
		}
		return a
	}
	var a *sqlAnswer
	var err error
	var name string
	switch what {
	case len(switchChecks):
		name = "keyed"
		if a = question(keyedQuery, "latest"); a != nil && keyed > 0 {
			err = checkKeyed(keyed, a)
		}
	case len(switchChecks) + 1:
		name = "types"
		if before[1] == 0 {
			return // no file and no record has the field yet
		}
		if a = question(typesQuery, "latest"); a != nil {
			err = checkTypes(a)
		}
	default:
		c := switchChecks[what]
		name = c.name
		if a = question(c.query, c.freshness); a != nil {
			err = c.check(s, before, a)
			if err == nil && name == "remade" {
				err = checkGeneration(generation, a)
			}
			s.answers[what].Add(1)
		}
	}
	if err != nil && ctx.Err() == nil {
		coverage, _ := json.Marshal(a.Coverage)
		s.t.Errorf("%s at %s: %v\nrows %v\ncoverage %s", name, address, err, a.Rows, coverage)
	}
}

func askNode(ctx context.Context, address, query, freshness string) (*sqlAnswer, error) {
	body, err := json.Marshal(map[string]any{"query": query, "freshness": freshness, "timeout_secs": 30})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/_sql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%d %s", response.StatusCode, text)
	}
	a := &sqlAnswer{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return a, decoder.Decode(a)
}

// figures reads a row of numbers; NULL is −1.
func figures(row map[string]any) map[string]int64 {
	out := map[string]int64{}
	for name, v := range row {
		out[name] = -1
		if number, ok := v.(json.Number); ok {
			out[name], _ = number.Int64()
		}
	}
	return out
}

// checkCovered: of each partition there are the offsets that are covered, once
// each, and nothing else.
func checkCovered(topic string, a *sqlAnswer) (map[string]map[string]int64, error) {
	byPartition := map[string]map[string]int64{}
	for _, row := range a.Rows {
		f := figures(row)
		byPartition[strconv.FormatInt(f["p"], 10)] = f
	}
	covered := a.Coverage[topic].Partitions
	if len(covered) == 0 {
		return nil, errors.New("it covers no partition")
	}
	for p, f := range byPartition {
		if _, ok := covered[p]; !ok {
			return nil, fmt.Errorf("partition %s: %v, and it is not covered", p, f)
		}
	}
	for p, span := range covered {
		rows := span.To - span.From
		f := byPartition[p]
		switch {
		case rows < 0 || span.HighWatermark < span.To:
			return nil, fmt.Errorf("partition %s covers %+v", p, span)
		case rows == 0 && f == nil:
		case f["rows"] != rows || f["distinct_rows"] != rows || f["first"] != span.From || f["last"] != span.To-1 ||
			f["offsets"] != (span.From+span.To-1)*rows/2:
			return nil, fmt.Errorf("partition %s covers %+v and has %v", p, span, f)
		}
	}
	return byPartition, nil
}

// checkDense: numbers are offsets, too.
func (s *switching) checkDense(_ [3]int64, a *sqlAnswer) error {
	byPartition, err := checkCovered("dense", a)
	for p, f := range byPartition {
		if err == nil && f["numbers"] != f["offsets"] {
			err = fmt.Errorf("partition %s: other numbers than offsets: %v", p, f)
		}
	}
	return err
}

// checkLatest: and nothing is missing that was acknowledged before.
func (s *switching) checkLatest(before [3]int64, a *sqlAnswer) error {
	for p, acked := range before {
		if to := a.Coverage["dense"].Partitions[strconv.Itoa(p)].To; to < acked {
			return fmt.Errorf("partition %d: it covers what is below %d, acknowledged was %d", p, to, acked)
		}
	}
	return s.checkDense(before, a)
}

// checkRemade: there are records of one generation only.
func (s *switching) checkRemade(_ [3]int64, a *sqlAnswer) error {
	byPartition, err := checkCovered("remade", a)
	generations := map[int64]bool{}
	for _, f := range byPartition {
		generations[f["g_first"]], generations[f["g_last"]] = true, true
	}
	if err == nil && len(generations) > 1 {
		err = fmt.Errorf("generations %v in one answer", slices.Sorted(maps.Keys(generations)))
	}
	return err
}

// checkGeneration: it is not one that was deleted before the question.
func checkGeneration(before int64, a *sqlAnswer) error {
	for _, row := range a.Rows {
		if g := figures(row)["g_last"]; g < before {
			return fmt.Errorf("generation %d, and there was a record of %d already", g, before)
		}
	}
	return nil
}

// checkKeyed: every key has a value that is not older than the last one that was
// acknowledged before, and no record is there twice.
func checkKeyed(before int64, a *sqlAnswer) error {
	if len(a.Rows) != switchKeys {
		return fmt.Errorf("%d keys, want %d", len(a.Rows), switchKeys)
	}
	for _, row := range a.Rows {
		f := figures(row)
		if f["n"] < before-switchKeys || f["rows"] != f["distinct_rows"] || row["same"] != true {
			return fmt.Errorf("acknowledged were offsets below %d, and there is %v", before, row)
		}
	}
	return nil
}

// checkTypes: a field is the same whatever type a file gave it.
func checkTypes(a *sqlAnswer) error {
	for _, row := range a.Rows {
		if f := figures(row); f["v"] != f["n"] {
			return fmt.Errorf("the text sums up to %d, the numbers to %d", f["v"], f["n"])
		}
	}
	return nil
}

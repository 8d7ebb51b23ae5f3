package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// soon bounds the wait for what compactors do in a second or two.
const soon = 90 * time.Second

// story is a cluster, its readers, and what was produced.
type story struct {
	bucket  string
	only    string // chapters whose names have this
	cluster *harness.Cluster
	client  *kgo.Client
	admin   *kadm.Client
	readers []*reader
	told    map[string]map[int32][]told // by topic and partition, in order of offset
	today   time.Time                   // its first moment
	next    int64                       // number of the next record
}

// told is a record that was acknowledged, and how its row reads.
type told struct {
	offset int64
	at     int64 // µs
	key    string
	fields map[string]any // columns besides the system's
	value  string
	header string
}

func begin(_ context.Context, c *harness.Cluster, bucket string) (*story, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.Kafka, ",")...), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	return &story{
		bucket: bucket, cluster: c, client: client, admin: kadm.NewClient(client), told: make(map[string]map[int32][]told),
		today: time.Now().UTC().Truncate(24 * time.Hour),
	}, nil
}

// say tells that a check held.
func (s *story) say(format string, args ...any) {
	fmt.Printf("ok    %-6s  %s\n", s.bucket, fmt.Sprintf(format, args...))
}

// create makes a topic that is a table.
func (s *story) create(ctx context.Context, topic string, partitions int32, config ...string) error {
	set := map[string]*string{"columnar.enabled": kadm.StringPtr("true"), "retention.ms": kadm.StringPtr("-1")}
	for i := 0; i < len(config); i += 2 {
		set[config[i]] = &config[i+1]
	}
	answers, err := s.admin.CreateTopics(ctx, partitions, 1, set, topic)
	if err = errors.Join(err, answers.Error()); err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	s.told[topic] = make(map[int32][]told)
	return nil
}

// record makes the next record, of a moment, with further fields.
func (s *story) record(topic string, at time.Time, more map[string]any) (*kgo.Record, told) {
	n := s.next
	s.next++
	fields := map[string]any{"id": n, "city": []string{"Oslo", "Rome", "Bern"}[n%3], "amount": float64(n) / 4, "ok": n%2 == 0}
	for name, v := range more {
		fields[name] = v
	}
	value, err := json.Marshal(fields)
	if err != nil {
		panic(err) // fields are numbers, texts and booleans
	}
	// As readers tell them: numbers of JSON are float64.
	fields["id"] = float64(n)
	if v, ok := more["id"]; ok {
		delete(fields, "id")
		fields["id_text"] = v
	}
	r := &kgo.Record{Topic: topic, Timestamp: at, Key: fmt.Appendf(nil, "k%d", n%97), Value: value}
	t := told{at: at.UnixMicro(), key: string(r.Key), value: string(value), fields: fields}
	if n%5 == 0 {
		t.header = strconv.FormatInt(n, 10)
		r.Headers = []kgo.RecordHeader{{Key: "n", Value: []byte(t.header)}}
	}
	return r, t
}

// produce sends records, one for each moment, and remembers what was acknowledged.
func (s *story) produce(ctx context.Context, topic string, moments []time.Time, more map[string]any) error {
	records, rows := make([]*kgo.Record, len(moments)), make([]told, len(moments))
	for i, at := range moments {
		records[i], rows[i] = s.record(topic, at, more)
	}
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("produce to %s: %w", topic, err)
	}
	byPartition := s.told[topic]
	for i, r := range records {
		rows[i].offset = r.Offset
		byPartition[r.Partition] = append(byPartition[r.Partition], rows[i])
	}
	for _, list := range byPartition {
		slices.SortFunc(list, func(a, b told) int { return cmp.Compare(a.offset, b.offset) })
	}
	return nil
}

// moments are n of them, evenly over [from, to), whole milliseconds.
func moments(n int, from, to time.Time) []time.Time {
	out := make([]time.Time, n)
	for i := range out {
		out[i] = from.Add(to.Sub(from) * time.Duration(i) / time.Duration(n)).Truncate(time.Millisecond)
	}
	return out
}

// metadata is the part of a table's metadata that the suite looks at.
type metadata struct {
	Current   int64 `json:"current-snapshot-id"`
	Snapshots []struct {
		ID      int64             `json:"snapshot-id"`
		Summary map[string]string `json:"summary"`
	} `json:"snapshots"`
}

// load asks the catalog for a table; nil: there is none.
func (s *story) load(ctx context.Context, table string) (*metadata, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.cluster.HTTP+"/iceberg/v1/namespaces/chronik/tables/"+table, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotFound:
		return nil, nil
	case http.StatusOK:
	default:
		return nil, fmt.Errorf("load %s: %s", table, response.Status)
	}
	var loaded struct{ Metadata metadata }
	return &loaded.Metadata, json.NewDecoder(response.Body).Decode(&loaded)
}

// until waits for something that compactors do.
func until(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var last error
	for {
		ok, err := holds()
		if ok && err == nil {
			return nil
		}
		last = cmp.Or(err, last)
		select {
		case <-again.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not in time: %s", what), last)
		}
	}
}

// current waits until a table shows its topic from log start to end.
func (s *story) current(ctx context.Context, topic string) (m *metadata, err error) {
	starts, err := s.admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, err
	}
	err = until(ctx, topic+" is a table with all records", func() (bool, error) {
		if m, err = s.load(ctx, topic); m == nil || err != nil || len(m.Snapshots) == 0 {
			return false, err
		}
		summary := m.Snapshots[len(m.Snapshots)-1].Summary
		for p, rows := range s.told[topic] {
			start, _ := starts.Lookup(topic, p)
			if summary[fmt.Sprintf("kafka.end-offset.%d", p)] != strconv.FormatInt(rows[len(rows)-1].offset+1, 10) ||
				summary[fmt.Sprintf("kafka.start-offset.%d", p)] != strconv.FormatInt(start.Offset, 10) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	for p, rows := range s.told[topic] {
		start, _ := starts.Lookup(topic, p)
		s.told[topic][p] = slices.DeleteFunc(rows, func(t told) bool { return t.offset < start.Offset })
	}
	return m, nil
}

// system are the columns that every scan asks for first.
var system = []string{"partition", "_offset", "_timestamp", "_timestamp_type", "_topic", "_key", "_value", "_headers"}

// rows are what a scan of these columns has to give, by partition and offset.
func (s *story) rows(topic string, columns []string, matches func(told) bool) [][]any {
	out := [][]any{}
	for p, list := range s.told[topic] {
		for _, t := range list {
			if matches != nil && !matches(t) {
				continue
			}
			headers := []any{}
			if t.header != "" {
				headers = []any{[]any{"n", hex.EncodeToString([]byte(t.header))}}
			}
			row := []any{float64(p), float64(t.offset), float64(t.at), 0.0, topic, hex.EncodeToString([]byte(t.key)), hex.EncodeToString([]byte(t.value)), headers}
			for _, c := range columns {
				row = append(row, t.fields[c])
			}
			out = append(out, row)
		}
	}
	sortRows(out)
	return out
}

func sortRows(rows [][]any) {
	slices.SortFunc(rows, func(a, b []any) int {
		return cmp.Or(cmp.Compare(a[0].(float64), b[0].(float64)), cmp.Compare(a[1].(float64), b[1].(float64)))
	})
}

// scan lets every reader scan, and holds the rows against those wanted. The last
// reader's answer is returned: all plan alike.
func (s *story) scan(q request, want [][]any) (a answer, err error) {
	q.Ask = "scan"
	q.Columns = slices.Concat(system, q.Columns)
	for i, r := range s.readers {
		before := a
		if a, err = r.ask(q); err == nil && a.Missing != "" {
			err = fmt.Errorf("%s finds no table %s", r.name, q.Table)
		}
		if err != nil {
			return a, err
		}
		sortRows(a.Rows)
		if at, same := differ(a.Rows, want); !same {
			return a, fmt.Errorf("%s: %+v: %d rows, wanted %d; the first that differs is %s", r.name, q, len(a.Rows), len(want), at)
		}
		if i > 0 && before.records() != a.records() {
			return a, fmt.Errorf("%s: %+v: %s planned files of %d records, %s of %d", q.Table, q, s.readers[i-1].name, before.records(), r.name, a.records())
		}
	}
	return a, nil
}

func differ(got, want [][]any) (at string, same bool) {
	for i := range max(len(got), len(want)) {
		var g, w []any
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if !reflect.DeepEqual(g, w) {
			return fmt.Sprintf("%v, not %v", g, w), false
		}
	}
	return "", true
}

// between is a condition on _timestamp, for a reader and for what was told.
func between(q request, from, to time.Time) (request, func(told) bool) {
	a, b := from.UnixMicro(), to.UnixMicro()
	q.From, q.To = &a, &b
	return q, func(t told) bool { return t.at >= a && t.at < b }
}

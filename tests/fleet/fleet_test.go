// Package fleet tries several query nodes behind HAProxy, as real processes:
// they are killed and frozen while queries run, their clients hang up, and they
// start with empty disks.
package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// patience bounds whatever a healthy cluster does in moments: these machines
// are busy.
const patience = 90 * time.Second

type fleet struct {
	*testing.T
	*harness.Cluster
	kafka *kgo.Client
}

// begin starts a broker, a compactor and query nodes behind HAProxy, and makes a
// table.
func begin(t *testing.T, queries, partitions int, settings ...string) *fleet {
	t.Helper()
	binary := os.Getenv("CHRONIK_BIN")
	if binary == "" {
		t.Skip("CHRONIK_BIN names no binary to run; `make e2e` does")
	}
	haproxy, err := harness.FindHAProxy()
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := harness.Start(ctx, harness.Options{
		Dir: t.TempDir(), Chronik: binary, HAProxy: haproxy, MinIO: true, Compactors: 1, Queries: queries,
		Settings: append([]string{"drain.delay=0s", "compactor.first_age=1s", "compactor.look_every=200ms"}, settings...),
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{T: t, Cluster: c}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range f.Processes() {
				f.Logf("---- %s (%s)\n%s", n.Name, n.State(), n.Log(4<<10))
			}
		}
		if err := c.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	if f.kafka, err = kgo.NewClient(kgo.SeedBrokers(c.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.kafka.Close)
	yes := "true"
	made, err := kadm.NewClient(f.kafka).CreateTopic(ctx, int32(partitions), 1, map[string]*string{"columnar.enabled": &yes}, "orders")
	if err := errors.Join(err, made.Err); err != nil {
		t.Fatal(err)
	}
	return f
}

// produce writes records to every partition: {"a":1} each.
func (f *fleet) produce(partitions, each int) {
	f.Helper()
	var records []*kgo.Record
	for p := range partitions {
		for range each {
			records = append(records, &kgo.Record{Topic: "orders", Partition: int32(p), Value: []byte(`{"a":1}`)})
		}
	}
	if err := f.kafka.ProduceSync(f.Context(), records...).FirstErr(); err != nil {
		f.Fatal(err)
	}
}

// answer is what a query got.
type answer struct {
	status int
	n      float64
	took   time.Duration
	err    error
}

// ask sends a query that answers one number, n.
func (f *fleet) ask(ctx context.Context, address, query string) answer {
	f.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "timeout_secs": 60})
	if err != nil {
		return answer{err: err}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/_sql", bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	began := time.Now()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	a := answer{status: response.StatusCode, took: time.Since(began), err: err}
	var got struct {
		Rows []struct {
			N float64 `json:"n"`
		} `json:"rows"`
	}
	if err == nil {
		a.err = json.Unmarshal(text, &got)
	}
	switch {
	case a.err != nil:
	case a.status != http.StatusOK || len(got.Rows) != 1:
		a.err = fmt.Errorf("status %d: %.300s", a.status, text)
	default:
		a.n = got.Rows[0].N
	}
	return a
}

func (f *fleet) expect(what, address, query string, n float64) answer {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	a := f.ask(ctx, address, query)
	if a.err != nil || a.n != n {
		f.Fatalf("%s: %s answers %v, %v, want %v", what, query, a.n, a.err, n)
	}
	return a
}

// metric reads one of a node's.
func (f *fleet) metric(n *harness.Node, name string) float64 {
	f.Helper()
	response, err := http.Get("http://" + n.HTTP + "/metrics")
	if err != nil {
		f.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		f.Fatalf("%s has no metric %s", n.Name, name)
	}
	value, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		f.Fatal(err)
	}
	return value
}

func (f *fleet) await(what string, is func() bool) {
	f.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); !is(); <-again.C {
		if time.Now().After(deadline) {
			f.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// busy is the node on which a query runs.
func (f *fleet) busy(among []*harness.Node) *harness.Node {
	var found *harness.Node
	f.await("a query runs", func() bool {
		i := slices.IndexFunc(among, func(n *harness.Node) bool { return f.metric(n, "chronik_query_running") > 0 })
		if i >= 0 {
			found = among[i]
		}
		return i >= 0
	})
	return found
}

func (f *fleet) idle(among []*harness.Node) {
	f.Helper()
	f.await("no query runs any more", func() bool {
		return !slices.ContainsFunc(among, func(n *harness.Node) bool { return f.metric(n, "chronik_query_running") > 0 })
	})
}

// long takes some seconds, endless takes hours; both count the records.
const (
	count   = `SELECT count(*) AS n FROM orders`
	long    = `SELECT count(*) AS n FROM orders WHERE (SELECT max(hash(i)) FROM range(%d) r(i)) > 0`
	endless = `SELECT count(*) AS n FROM orders, range(1000000000) a(i), range(1000000) b(j) WHERE hash(i, j) = 1`
)

func TestAFleetAnswersWhateverBecomesOfItsNodes(t *testing.T) {
	f := begin(t, 3, 2)
	f.produce(2, 50)
	for _, n := range f.Queries {
		f.expect(n.Name, n.HTTP, count, 100)
	}
	handedOn := 0.0
	for _, n := range f.Queries {
		handedOn += f.metric(n, "chronik_query_handed_on_total")
	}
	if handedOn != 2 {
		t.Errorf("%v of three queries were handed on", handedOn)
	}

	// Who hangs up ends the work, through the balancer and the node between.
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan answer, 1)
		go func() { ended <- f.ask(ctx, f.HTTP, endless) }()
		f.busy(f.Queries)
		hungUp := time.Now()
		cancel()
		<-ended
		f.idle(f.Queries)
		t.Logf("a client hung up; %v later nobody works for it", time.Since(hungUp).Round(time.Millisecond))
	}

	// Killed in the middle: somebody else answers, and the client sees nothing.
	rows := 50_000_000
	for ; f.expect("a long query", f.HTTP, fmt.Sprintf(long, rows), 100).took < time.Second; rows *= 2 {
	}
	t.Logf("a query of %d rows is long", rows)
	ended := make(chan answer, 1)
	go func() { ended <- f.ask(t.Context(), f.HTTP, fmt.Sprintf(long, rows+1)) }()
	victim := f.busy(f.Queries)
	victim.Kill()
	began := time.Now()
	f.expect("the next query", f.HTTP, count, 100)
	t.Logf("killed %s; the next query is answered after %v", victim.Name, time.Since(began))
	if a := <-ended; a.err != nil || a.n != 100 {
		t.Errorf("the query that its node died under: %v, %v", a.n, a.err)
	} else {
		t.Logf("the query that its node died under is answered after %v", a.took)
	}
	if err := victim.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Frozen: it takes connections, and answers none.
	for _, frozen := range f.Queries {
		if err := frozen.Pause(); err != nil {
			t.Fatal(err)
		}
		for _, n := range f.Queries {
			if n == frozen {
				continue
			}
			a := f.expect("with "+frozen.Name+" frozen, "+n.Name, n.HTTP, count, 100)
			t.Logf("%s frozen: %s answers after %v", frozen.Name, n.Name, a.took)
		}
		if err := frozen.Resume(); err != nil {
			t.Fatal(err)
		}
		f.await(frozen.Name+" is back", func() bool { return f.ask(t.Context(), frozen.HTTP, count).err == nil })
	}
}

func TestANodeThatStartsColdAnswersSoon(t *testing.T) {
	const partitions = 100
	f := begin(t, 2, partitions, "compactor.merge_files=1000", "query.affinity=none")
	f.produce(partitions, 200)
	f.await("every partition has a file", func() bool {
		return f.files() >= partitions
	})
	cold := f.Queries[1]
	var took []time.Duration
	for range 3 {
		cold.Kill()
		if err := os.RemoveAll(f.data(cold)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := cold.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		up := time.Since(began)
		f.expect("cold", cold.HTTP, `SELECT sum(a) AS n FROM orders`, partitions*200)
		took = append(took, time.Since(began))
		t.Logf("started after %v, first answer over %d files after %v", up, f.files(), took[len(took)-1])
	}
	if slices.Min(took) > 3*time.Second {
		t.Errorf("the first answer takes %v", took)
	}
}

// data is the folder of a node.
func (f *fleet) data(n *harness.Node) string {
	at := slices.Index(n.Args, "--data")
	return n.Args[at+1]
}

// files is how many Parquet files the table has.
func (f *fleet) files() int {
	response, err := http.Get("http://" + f.Queries[0].HTTP + "/_sql/tables")
	if err != nil {
		f.Fatal(err)
	}
	defer response.Body.Close()
	var body struct {
		Tables []struct {
			Files int `json:"files"`
		} `json:"tables"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || len(body.Tables) != 1 {
		return 0
	}
	return body.Tables[0].Files
}

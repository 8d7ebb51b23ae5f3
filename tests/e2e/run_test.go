package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// nodes starts a cluster of processes without a balancer.
func nodes(t *testing.T, o harness.Options) *harness.Cluster {
	t.Helper()
	c := prepared(t, o)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func prepared(t *testing.T, o harness.Options) *harness.Cluster {
	t.Helper()
	o.Dir, o.Chronik = t.TempDir(), chronikBinary
	o.Settings = append([]string{"drain.delay=0s", "broker.lease=3s", "rebalance.delay=500ms", "compactor.first_age=500ms"}, o.Settings...)
	c, err := harness.New(o)
	if err != nil {
		t.Skip(err) // it says which tool is missing
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.Nodes() {
				t.Logf("---- %s (%s)\n%s", n.Name, n.State(), n.Log(4<<10))
			}
		}
		c.Close()
	})
	return c
}

// command runs the binary against a cluster.
func command(t *testing.T, c *harness.Cluster, http, in string, args ...string) (out, err string, code int) {
	t.Helper()
	cmd := exec.Command(chronikBinary, args...)
	cmd.Env = append(cleanEnvironment(), "CHRONIK_BOOTSTRAP="+c.Kafka, "CHRONIK_URL=http://"+http)
	cmd.Stdin = strings.NewReader(in)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if failed := cmd.Run(); failed != nil && cmd.ProcessState == nil {
		t.Fatal(failed)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func mustCommand(t *testing.T, c *harness.Cluster, http, in string, args ...string) string {
	t.Helper()
	out, err, code := command(t, c, http, in, args...)
	if code != 0 {
		t.Fatalf("chronik %v: exit %d\n%s%s", args, code, out, err)
	}
	return out
}

// ask gets a path of a node.
func ask(address, path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(body)
}

// untilTrue waits for something that a healthy cluster does soon.
func untilTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline, again := time.After(shortly), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestQueryNodesAnswerAlikeWhileNodesComeAndGo(t *testing.T) {
	c := nodes(t, harness.Options{Brokers: 2, Compactors: 2, Queries: 2})
	mustCommand(t, c, c.HTTP, "", "topic", "create", "t", "--partitions", "6", "--config", "columnar.enabled=true")
	produced := 0
	both := func() {
		t.Helper()
		mustCommand(t, c, c.HTTP, strings.Repeat(`{"a":1}`+"\n", 300), "produce", "t")
		produced += 300
		for _, q := range c.Queries {
			if !q.Running() {
				continue
			}
			if got := mustCommand(t, c, q.HTTP, "", "sql", "-o", "csv", "SELECT count(*), sum(a)::BIGINT FROM t"); !strings.HasSuffix(got, fmt.Sprintf("\n%d,%[1]d\n", produced)) {
				t.Errorf("%s counts %q of %d", q.Name, got, produced)
			}
		}
	}
	both()
	c.Brokers[0].Kill()
	both() // its partitions move: durability=object is the default of a cluster
	if err := c.Brokers[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Queries[0].Kill()
	c.Compactors[0].Kill()
	both()
	if err := c.Queries[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Brokers[1].Process.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	both()
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestANodeWaitsForItsStoresAndSaysSo(t *testing.T) {
	c := prepared(t, harness.Options{Members: 3, MinIO: true, Queries: 1})
	broker, query := c.Brokers[0], c.Queries[0]
	for _, n := range c.Nodes() {
		if err := n.Launch(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes() {
		untilTrue(t, n.Name+" waits for the bucket", func() bool {
			status, body := ask(n.HTTP, "/health/ready")
			return status == 503 && strings.Contains(body, "waiting for the bucket")
		})
		if status, body := ask(n.HTTP, "/health/live"); status != 200 {
			t.Errorf("live: %d %s", status, body)
		}
	}
	if err := c.MinIO.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes() {
		untilTrue(t, n.Name+" waits for etcd", func() bool {
			status, body := ask(n.HTTP, "/health/ready")
			return status == 503 && strings.Contains(body, "waiting for etcd")
		})
	}
	if status, body := ask(query.HTTP, "/_sql/tables"); status != 503 || !strings.Contains(body, "UNAVAILABLE") {
		t.Errorf("a query: %d %s", status, body)
	}
	if log := broker.Log(64 << 10); !strings.Contains(log, "etcd does not answer yet") {
		t.Errorf("the log has no word of it:\n%s", log)
	}
	for _, member := range c.Etcd {
		if err := member.Launch(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes() {
		if err := n.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mustCommand(t, c, c.HTTP, "", "topic", "create", "t")
}

// TestANodeThatIsAskedToStopTellsBalancersFirst: readiness goes, service stays
// for the delay, and then it hands over and ends well.
func TestANodeThatIsAskedToStopTellsBalancersFirst(t *testing.T) {
	c := nodes(t, harness.Options{Brokers: 2, Queries: 1, Settings: []string{"drain.delay=3s"}})
	mustCommand(t, c, c.HTTP, "", "topic", "create", "t", "--partitions", "4")
	for _, n := range []*harness.Node{c.Brokers[0], c.Queries[0]} {
		began := time.Now()
		if err := n.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		untilTrue(t, n.Name+" is not ready", func() bool {
			status, body := ask(n.HTTP, "/health/ready")
			return status == 503 && strings.Contains(body, "stopping")
		})
		if status, _ := ask(n.HTTP, "/health/live"); status != 200 {
			t.Errorf("%s: live answers %d", n.Name, status)
		}
		if n.Role == "broker" {
			mustCommand(t, c, c.HTTP, "x\n", "produce", "t", "--bootstrap", n.Kafka)
		}
		<-n.Exited()
		if took := time.Since(began); took < 3*time.Second || !strings.Contains(n.State(), "exit status 0") {
			t.Errorf("%s: %s after %s", n.Name, n.State(), took)
		}
	}
	// The second signal does not wait.
	if err := c.Queries[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	query := c.Queries[0]
	began := time.Now()
	if err := query.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	untilTrue(t, "the first signal was heard", func() bool { status, _ := ask(query.HTTP, "/health/ready"); return status == 503 })
	if err := query.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-query.Exited()
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("a second signal ended it after %s", took)
	}
}

func TestASecondProcessOfABrokersIdGivesUp(t *testing.T) {
	c := nodes(t, harness.Options{Brokers: 1})
	first := c.Brokers[0]
	cmd := exec.Command(chronikBinary, "broker", "--data", t.TempDir(), "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--set", "broker.lease=3s", "--set", "kafka.internal.listen=127.0.0.1:0")
	cmd.Env = slices.DeleteFunc(slices.Clone(first.Env), func(s string) bool { return strings.HasPrefix(s, "CHRONIK_KAFKA_") })
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "the broker's id is in use") || !strings.Contains(string(out), first.Kafka) {
		t.Errorf("%v\n%s", err, out)
	}
	if status, body := ask(first.HTTP, "/health/ready"); status != 200 {
		t.Errorf("the first one: %d %s", status, body)
	}

	// Its disk is lost, and the operator puts in another.
	first.Kill()
	if err := os.RemoveAll(first.Args[3]); err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestADrainedBrokerHoldsNothingUntilItIsCancelled(t *testing.T) {
	c := nodes(t, harness.Options{Brokers: 3})
	mustCommand(t, c, c.HTTP, "", "topic", "create", "t", "--partitions", "9")
	type status struct {
		Nodes []struct {
			ID         any    `json:"node_id"`
			Role       string `json:"role"`
			Partitions int    `json:"partitions"`
			Slots      int    `json:"coordinator_slots"`
			Draining   bool   `json:"draining"`
		} `json:"nodes"`
		Partitions []struct {
			Leader int    `json:"leader"`
			High   *int64 `json:"high_watermark"`
		} `json:"partitions"`
	}
	look := func() (s status) {
		if err := json.Unmarshal([]byte(mustCommand(t, c, c.Brokers[2].HTTP, "", "cluster", "status", "-o", "json")), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	mustCommand(t, c, c.HTTP, "a\nb\nc\n", "produce", "t")
	out := mustCommand(t, c, c.HTTP, "", "cluster", "drain", "2", "--wait")
	if !strings.Contains(out, "holds nothing") {
		t.Errorf("%s", out)
	}
	s := look()
	if n := s.Nodes[1]; n.ID != 2.0 || n.Partitions != 0 || n.Slots != 0 || !n.Draining {
		t.Errorf("broker 2: %+v", n)
	}
	high := int64(0)
	for _, p := range s.Partitions {
		if p.Leader != 1 && p.Leader != 3 || p.High == nil {
			t.Fatalf("partitions: %+v", s.Partitions)
		}
		high += *p.High
	}
	if high != 3 || len(s.Partitions) != 9 {
		t.Errorf("%d records in %d partitions", high, len(s.Partitions))
	}
	// Not by a restart.
	if err := c.Brokers[1].Process.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Brokers[1].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := look().Nodes[1]; n.Partitions != 0 || !n.Draining {
		t.Errorf("after a restart: %+v", n)
	}
	mustCommand(t, c, c.HTTP, "", "cluster", "drain", "2", "--cancel")
	untilTrue(t, "broker 2 takes partitions again", func() bool { return look().Nodes[1].Partitions == 3 })

	table := mustCommand(t, c, c.HTTP, "", "cluster", "status")
	for _, want := range []string{"role", "broker", "leads", c.Brokers[0].Internal, "topic", "flushed"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %s in\n%s", want, table)
		}
	}
	for args, want := range map[string]string{"cluster drain 9": "broker 9 does not live", "cluster drain q": "no broker's number", "cluster drain": "is missing"} {
		if _, stderr, code := command(t, c, c.HTTP, "", strings.Fields(args)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

func TestWhatANodeOfAClusterMissesIsSaid(t *testing.T) {
	c := &chronik{t: t}
	for _, test := range []struct {
		args string
		want string
	}{
		{"run", "--roles says what to run"},
		{"run --roles broker,controller", `no role "controller"`},
		{"compactor", "CHRONIK_ETCD_ENDPOINTS"},
		{"query --set etcd.endpoints=http://127.0.0.1:1", "OBJECT_STORE_BACKEND"},
		{"broker --set etcd.endpoints=http://127.0.0.1:1 --set objstore.dir=/x", "CHRONIK_BROKER_ID"},
		{"dev --set etcd.endpoints=http://127.0.0.1:1", "chronik run"},
	} {
		if _, stderr, code := c.cli("", strings.Fields(test.args)...); code != 2 || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: exit %d, %s", test.args, code, stderr)
		}
	}
}

// Package balancer tries a cluster of real processes behind HAProxy: with one
// address for everything, and with one to begin with. Brokers stop, are killed,
// are cut off from one another, and lose their clients to the balancer's idle
// timeouts, under a workload whose history is checked.
package balancer

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
	"github.com/chronik-stream/chronik/tests/cluster/workload"
	"github.com/chronik-stream/chronik/tests/history"
)

// patience bounds whatever a healthy cluster does in moments: these machines
// are busy.
const patience = 90 * time.Second

type run struct {
	*testing.T
	*harness.Cluster
	load  *workload.Workload
	begun time.Time
}

// begin starts three brokers behind HAProxy and clients of its address. In the
// balancer's configuration the idle timeouts are replaced.
func begin(t *testing.T, shared bool, idle string, settings ...string) *run {
	t.Helper()
	binary := os.Getenv("CHRONIK_BIN")
	if binary == "" {
		t.Skip("CHRONIK_BIN names no binary to run; `make e2e` does")
	}
	haproxy, err := harness.FindHAProxy()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cluster, err := harness.Start(ctx, harness.Options{
		Dir: dir, Chronik: binary, HAProxy: haproxy, HAProxyConfig: impatient(t, dir, idle), Shared: shared, Proxied: true, Brokers: 3, Queries: 2,
		Settings: append([]string{"broker.lease=3s", "segment.age=500ms", "rebalance.delay=1s", "drain.delay=2s"}, settings...),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{T: t, Cluster: cluster}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range r.Processes() {
				r.Logf("---- %s (%s)\n%s", n.Name, n.State(), n.Log(4<<10))
			}
		}
		if err := cluster.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	r.load, err = workload.Start(ctx, workload.Options{Seeds: []string{cluster.Kafka}, Rate: 100, Topics: []workload.Topic{
		{Name: "safe", Partitions: 6, Config: map[string]string{"durability": "object"}, Promises: history.Topic{Object: true}},
		{Name: "quick", Partitions: 6, Config: map[string]string{"durability": "wal"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.load.Close() })
	r.goesOn(500)
	r.begun = time.Now()
	return r
}

// impatient is the balancer's configuration with other idle timeouts.
func impatient(t *testing.T, dir, idle string) string {
	t.Helper()
	root, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(root, "deployments", "docker", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	const usual = "15m"
	if strings.Count(string(config), usual) != 2 {
		t.Fatalf("the balancer's configuration has other timeouts than two of %s", usual)
	}
	name := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(string(config), usual, idle)), 0o640); err != nil {
		t.Fatal(err)
	}
	return name
}

func (r *run) goesOn(records int64) time.Duration {
	r.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if err := r.load.AwaitAcks(ctx, records); err != nil {
		r.Fatal(err)
	}
	return time.Since(began)
}

func (r *run) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *run) ends() {
	r.Helper()
	latency := r.load.Latency(r.begun)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	result, err := r.load.Finish(ctx)
	r.must(err)
	r.Logf("%s\nproduced: %s, given up: %d", result, latency, r.load.Failed())
	if !result.OK() {
		r.Error("a promise is broken")
	}
	if n := r.load.Failed(); n > 0 {
		r.Errorf("producers gave %d records up: some error was none that clients retry", n)
	}
	if result.Count("acked") == 0 {
		r.Error("nothing was acknowledged: the test shows nothing")
	}
}

// nodes are the brokers that a client is shown.
func (r *run) nodes() []string {
	r.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka))
	r.must(err)
	defer client.Close()
	m, err := kadm.NewClient(client).BrokerMetadata(r.Context())
	r.must(err)
	var addresses []string
	for _, b := range m.Brokers {
		addresses = append(addresses, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	return addresses
}

// librdkafka has no fetch sessions, and ends where the high watermarks say that
// all partitions, of all brokers, end.
func (r *run) librdkafka() {
	r.Helper()
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		r.Log("kcat is not installed: librdkafka is not tried")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka))
	r.must(err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, 9, 1, nil, "lines")
	r.must(err)
	var sent strings.Builder
	const lines = 2000
	for i := range lines {
		fmt.Fprintln(&sent, "line", i)
	}
	produce := exec.CommandContext(ctx, kcat, "-b", r.Kafka, "-t", "lines", "-P")
	produce.Stdin = strings.NewReader(sent.String())
	if said, err := produce.CombinedOutput(); err != nil {
		r.Fatalf("kcat -P: %v: %s", err, said)
	}
	got, err := exec.CommandContext(ctx, kcat, "-b", r.Kafka, "-t", "lines", "-C", "-e", "-q", "-o", "beginning").Output()
	if err != nil {
		r.Fatalf("kcat -C: %v", err)
	}
	read := map[string]int{}
	for line := range strings.Lines(string(got)) {
		read[line]++
	}
	for line := range strings.Lines(sent.String()) {
		if read[line] != 1 {
			r.Errorf("%q was read %d times", line, read[line])
		}
	}
}

func TestOneAddressForEverything(t *testing.T) {
	// Shorter than a fetch waits: connections end all the time.
	r := begin(t, true, "4s")
	if nodes := r.nodes(); len(nodes) != 1 || nodes[0] != r.Kafka {
		t.Errorf("clients of %s are shown %v", r.Kafka, nodes)
	}
	r.librdkafka()
	for _, n := range r.Brokers { // one after the other, as at an upgrade
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r.must(n.Process.Stop(ctx))
		r.goesOn(100)
		r.must(n.Start(ctx))
		cancel()
		r.goesOn(300)
	}
	t.Logf("rolling restart: %s", r.load.Latency(r.begun))
	r.Brokers[1].Kill()
	r.goesOn(100)
	r.must(r.Brokers[1].Start(t.Context()))
	r.goesOn(300)
	// A broker that the others cannot reach, though it lives, and others that can.
	inward := r.Brokers[2].Links.Inward
	for _, end := range []func(){inward.Cut, inward.Refuse} {
		end()
		r.goesOn(100)
		inward.Heal()
		r.goesOn(500)
	}
	r.must(r.Brokers[0].Pause())
	r.goesOn(100)
	r.must(r.Brokers[0].Resume())
	r.goesOn(500)
	r.ends()
}

func TestOneAddressToBeginWith(t *testing.T) {
	r := begin(t, false, "4s")
	nodes := r.nodes()
	if len(nodes) != 3 {
		t.Errorf("clients are shown %v", nodes)
	}
	for _, n := range r.Brokers {
		if !strings.Contains(strings.Join(nodes, " "), n.Kafka) {
			t.Errorf("broker %d at %s is not among %v", n.ID, n.Kafka, nodes)
		}
	}
	r.Brokers[0].Kill()
	r.goesOn(100)
	r.must(r.Brokers[0].Start(t.Context()))
	r.goesOn(300)
	r.ends()
}

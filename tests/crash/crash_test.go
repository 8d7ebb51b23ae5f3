// Package crash kills, freezes, cuts off and starves the processes of a real
// cluster (brokers, compactor, query nodes, etcd, MinIO) while clients write and
// read, and then holds what the clients were told against what is there.
//
// Each test is a row of the table of failures that concerns the log. By default
// each goes on for seconds; -crash.long=20m goes on with random failures of all
// kinds for as long.
package crash

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
	"github.com/chronik-stream/chronik/tests/cluster/workload"
	"github.com/chronik-stream/chronik/tests/history"
)

var (
	long = flag.Duration("crash.long", 0, "how long TestEverythingAtOnce goes on; 0: it is left out")
	seed = flag.Uint64("crash.seed", 0, "of TestEverythingAtOnce; 0: of the clock")
)

// lease is that of the brokers: short, so that tests need not wait.
const lease = 3 * time.Second

// patience bounds whatever a healthy cluster does in moments: these machines
// are busy.
const patience = 90 * time.Second

// run is a cluster under a workload.
type run struct {
	*testing.T
	*harness.Cluster
	load  *workload.Workload
	begun time.Time
}

type options struct {
	cluster harness.Options
	topics  []workload.Topic
}

// A topic that promises everything, and is a table.
func durable(name string) workload.Topic {
	return workload.Topic{Name: name, Partitions: 6, Table: true, Config: map[string]string{"durability": "object"}, Promises: history.Topic{Object: true}}
}

// A topic whose acknowledged records wait for their broker's disk.
func local(name string) workload.Topic {
	return workload.Topic{Name: name, Partitions: 6, Config: map[string]string{"durability": "wal"}}
}

// begin starts a cluster of three brokers and clients, and waits until all goes well.
func begin(t *testing.T, o options) *run {
	t.Helper()
	binary := os.Getenv("CHRONIK_BIN")
	if binary == "" {
		t.Skip("CHRONIK_BIN names no binary to run; `make e2e` does")
	}
	o.cluster.Dir, o.cluster.Chronik = t.TempDir(), binary
	o.cluster.MinIO, o.cluster.Proxied = true, true
	o.cluster.Brokers, o.cluster.Compactors, o.cluster.Queries = 3, 1, 1
	if o.cluster.HAProxy != "" {
		o.cluster.Queries = 2
	}
	o.cluster.Settings = append([]string{
		"broker.lease=" + lease.String(), "segment.age=500ms", "compactor.first_age=2s", "compactor.look_every=200ms",
		"rebalance.delay=1s", "drain.delay=0s", "salvage.after=10s",
	}, o.cluster.Settings...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cluster, err := harness.Start(ctx, o.cluster)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{T: t, Cluster: cluster}
	t.Cleanup(func() {
		if t.Failed() {
			r.logs()
		}
		if err := cluster.Close(); err != nil {
			t.Errorf("close the cluster: %v", err)
		}
	})
	if o.topics == nil {
		o.topics = []workload.Topic{durable("safe"), local("quick")}
	}
	r.load, err = workload.Start(ctx, workload.Options{
		Seeds: strings.Split(cluster.Kafka, ","), HTTP: cluster.HTTP, Topics: o.topics, Rate: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.load.Close() })
	r.goesOn(500)
	r.begun = time.Now()
	return r
}

// logs shows the end of what the brokers said.
func (r *run) logs() {
	for _, n := range r.Nodes() {
		r.Logf("---- %s (%s)\n%s", n.Name, n.State(), n.Log(6<<10))
	}
	if keep := os.Getenv("CRASH_KEEP"); keep != "" {
		for _, p := range r.Processes() {
			name := filepath.Join(keep, strings.ReplaceAll(r.Name(), "/", "-")+"-"+p.Name+".log")
			if err := os.WriteFile(name, []byte(p.Log(64<<20)), 0o640); err != nil {
				r.Log(err)
			}
		}
	}
}

// goesOn waits until that many further records are acknowledged, and returns how
// long it took.
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

// lasts lets time go by.
func (r *run) lasts(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func (r *run) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *run) start(p *harness.Process) {
	r.Helper()
	r.must(p.Start(r.Context()))
}

// salvaged waits until nothing that was acknowledged is on one disk only, and waits
// there to be appended again.
func (r *run) salvaged() {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 3*patience)
	defer cancel()
	for none := 0; none < 2; { // who has just come back may not have looked yet
		pending := 0.0
		for _, b := range r.Brokers {
			n, err := pendingOf(ctx, b)
			r.must(err)
			pending += n
		}
		if none++; pending > 0 {
			none = 0
		}
		r.lasts(time.Second)
	}
}

// pendingOf is how many batches a broker has still to salvage.
func pendingOf(ctx context.Context, b *harness.Node) (float64, error) {
	const name = "chronik_broker_salvage_pending_batches"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.HTTP+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", b.Name, err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("metrics of %s do not have %s", b.Name, name)
}

// ends stops the clients, reads everything back, and holds it against the history.
func (r *run) ends() history.Result {
	r.Helper()
	latency := r.load.Latency(r.begun)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	result, err := r.load.Finish(ctx)
	if err != nil {
		r.Fatal(err)
	}
	answered, unanswered := r.load.Queries()
	r.Logf("%s\nproduced: %s, given up: %d; counts by SQL: %d, without an answer: %d", result, latency, r.load.Failed(), answered, unanswered)
	if !result.OK() {
		r.Error("a promise is broken")
	}
	if n := r.load.Failed(); n > 0 {
		r.Errorf("producers gave %d records up: some error was none that clients retry: %v", n, r.load.Failures())
	}
	if result.Count("acked") == 0 || answered == 0 {
		r.Error("nothing was acknowledged, or nothing counted: the test shows nothing")
	}
	return result
}

func TestKillNineOfAnyRoleInALoop(t *testing.T) {
	r := begin(t, options{})
	for round, n := range []*harness.Node{
		r.Brokers[0], r.Compactors[0], r.Brokers[1], r.Queries[0], r.Brokers[2], r.Compactors[0], r.Brokers[0],
	} {
		n.Kill()
		if round%2 == 0 {
			r.goesOn(100) // the others are not disturbed for long
		}
		r.start(n.Process)
		r.goesOn(200)
	}
	r.ends()
}

func TestABrokerThatNeverReturnsIsReplaced(t *testing.T) {
	r := begin(t, options{topics: []workload.Topic{durable("safe")}})
	killed := time.Now()
	r.Brokers[0].Kill()
	r.Brokers = r.Brokers[1:]
	r.goesOn(500)
	latency := r.load.Latency(killed)
	t.Logf("failover, lease %s: %s", lease, latency)
	r.ends()
}

func TestABrokerThatSleepsPastItsLeaseIsFenced(t *testing.T) {
	r := begin(t, options{topics: []workload.Topic{durable("safe")}})
	for i := range 2 {
		r.must(r.Brokers[i].Pause())
		r.lasts(lease + 2*time.Second)
		r.goesOn(200)
		r.must(r.Brokers[i].Resume())
		r.goesOn(500)
	}
	r.ends()
}

func TestABrokerCutOffFromEtcd(t *testing.T) {
	r := begin(t, options{})
	links := r.Brokers[1].Links
	links.Etcd.Cut()
	r.lasts(lease + 2*time.Second)
	r.goesOn(100)
	links.Etcd.Heal()
	r.goesOn(500)
	links.Etcd.Refuse()
	r.lasts(lease + time.Second)
	links.Etcd.Heal()
	r.goesOn(500)
	r.ends()
}

func TestABrokerCutOffFromTheBucket(t *testing.T) {
	r := begin(t, options{})
	links := r.Brokers[2].Links
	links.Bucket.Cut()
	r.goesOn(300) // the others', and what waits for the disk alone
	r.lasts(5 * time.Second)
	links.Bucket.Heal()
	r.goesOn(1000)
	links.Bucket.Refuse()
	r.lasts(3 * time.Second)
	links.Bucket.Heal()
	r.goesOn(500)
	r.ends()
}

func TestTheBucketIsAwayAndSlow(t *testing.T) {
	r := begin(t, options{})
	r.MinIO.Kill()
	r.goesOn(300) // what waits for the disk alone
	r.lasts(6 * time.Second)
	r.start(r.MinIO)
	r.goesOn(1000)
	for _, n := range r.Nodes() {
		n.Links.Bucket.Delay(300 * time.Millisecond)
	}
	r.goesOn(500)
	for _, n := range r.Nodes() {
		n.Links.Bucket.Delay(0)
	}
	for _, n := range r.Nodes() {
		n.Links.Bucket.Busy()
	}
	r.goesOn(300)
	r.lasts(4 * time.Second)
	for _, n := range r.Nodes() {
		n.Links.Bucket.Heal()
	}
	r.goesOn(1000)
	r.must(r.MinIO.Pause())
	r.lasts(4 * time.Second)
	r.must(r.MinIO.Resume())
	r.goesOn(1000)
	r.ends()
}

// The write-ahead log of a broker has a small disk of its own, which somebody
// else fills.
func TestADiskIsFull(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o750); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("no small disk without the right to mount one: %v: %s", err, out)
	}
	t.Cleanup(func() { // after the cluster is closed
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	r := begin(t, options{cluster: harness.Options{
		Settings: []string{"wal.file_bytes=4MiB"},
		BrokerSettings: func(i int) []string {
			if i == 1 {
				return []string{"data_dir=" + disk}
			}
			return nil
		},
	}})
	fill := filepath.Join(disk, "fill")
	for range 2 {
		if err := exec.Command("dd", "if=/dev/zero", "of="+fill, "bs=1M", "count=100").Run(); err == nil {
			t.Fatal("100 MB found room on a disk of 64 MiB")
		}
		r.Brokers[0].Links.Bucket.Refuse() // so that nothing is given free
		r.lasts(3 * time.Second)
		r.goesOn(200)
		r.must(os.Remove(fill))
		r.Brokers[0].Links.Bucket.Heal()
		r.goesOn(500)
	}
	r.ends()
}

// Any broker takes any request and asks the others: what the balancer's clients
// see when brokers do not reach one another.
func TestBrokersCutOffFromEachOtherBehindABalancer(t *testing.T) {
	haproxy, err := harness.FindHAProxy()
	if err != nil {
		t.Skip(err)
	}
	r := begin(t, options{cluster: harness.Options{HAProxy: haproxy, Shared: true}})
	r.Brokers[0].Links.Inward.Cut()
	r.lasts(3 * time.Second)
	r.goesOn(100)
	r.Brokers[0].Links.Inward.Heal()
	r.goesOn(500)
	r.Brokers[1].Links.Inward.Refuse()
	r.lasts(3 * time.Second)
	r.Brokers[1].Links.Inward.Heal()
	r.goesOn(500)
	r.Brokers[2].Kill()
	r.goesOn(200)
	r.start(r.Brokers[2].Process)
	r.goesOn(500)
	r.ends()
}

func TestEtcdLosesItsLeader(t *testing.T) {
	r := begin(t, options{cluster: harness.Options{Members: 3}})
	for i := range r.Etcd { // one of them leads
		r.Etcd[i].Kill()
		r.goesOn(200)
		r.start(r.Etcd[i])
		r.goesOn(200)
	}
	r.must(r.Etcd[0].Pause())
	r.must(r.Etcd[1].Pause()) // nobody leads: the leases of all brokers end
	r.lasts(lease + 2*time.Second)
	r.must(r.Etcd[0].Resume())
	r.must(r.Etcd[1].Resume())
	r.goesOn(500)
	r.ends()
}

func TestBrokersAreRestartedOneAfterTheOther(t *testing.T) {
	r := begin(t, options{})
	began := time.Now()
	for _, b := range r.Brokers {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r.must(b.Stop(ctx))
		cancel()
		r.start(b.Process)
		r.goesOn(200)
	}
	t.Logf("during a rolling restart: %s", r.load.Latency(began))
	r.ends()
}

// With durability=wal and an owner away for longer than the grace, others go on
// without what only its disk has; when it comes back that is appended again.
func TestTheOldOwnerReturnsAfterTheGrace(t *testing.T) {
	quick := local("quick")
	quick.Promises.Salvaged = true
	r := begin(t, options{
		topics:  []workload.Topic{quick, durable("safe")},
		cluster: harness.Options{Settings: []string{"takeover.grace=1s", "segment.age=2s"}},
	})
	for range 2 {
		b := r.Brokers[0]
		b.Links.Bucket.Refuse() // so that something is not committed
		r.goesOn(300)
		b.Kill()
		b.Links.Bucket.Heal()
		r.lasts(lease + 2*time.Second)
		r.goesOn(300)
		r.start(b.Process)
		r.goesOn(300)
	}
	r.salvaged()
	r.ends()
}

// All kinds of failures in random order, also at once.
func TestEverythingAtOnce(t *testing.T) {
	if *long == 0 {
		t.Skip("minutes to hours: -crash.long=20m")
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-crash.seed=%d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	quick := local("quick")
	quick.Promises.Salvaged = true
	r := begin(t, options{
		topics:  []workload.Topic{durable("safe"), quick},
		cluster: harness.Options{Members: 3, Settings: []string{"takeover.grace=5s", "salvage.after=30s"}},
	})
	for end := time.Now().Add(*long); time.Now().Before(end); {
		var heal, again []func() error // whoever starts needs etcd and the bucket
		for range 1 + random.IntN(2) {
			what, undo, ended, err := r.harm(random)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			t.Logf("%s %s", time.Now().Format(time.TimeOnly), what)
			if ended {
				again = append(again, undo)
			} else {
				heal = append(heal, undo)
			}
		}
		r.lasts(time.Duration(random.IntN(int(3 * lease))))
		for _, undo := range append(heal, again...) {
			r.must(undo())
		}
		if random.IntN(3) > 0 {
			r.goesOn(100)
		}
	}
	r.goesOn(500)
	r.salvaged()
	r.ends()
}

// harm does one harm and returns how it is undone, and whether a process ended.
func (r *run) harm(random *rand.Rand) (what string, undo func() error, ended bool, err error) {
	nodes := r.Nodes()
	n := nodes[random.IntN(len(nodes))]
	nothing := func() error { return nil }
	if !n.Running() {
		return n.Name + " is down already", nothing, false, nil
	}
	again := func() error {
		if n.Running() {
			return nil
		}
		return n.Start(r.Context())
	}
	link := []harness.Link{n.Links.Etcd, n.Links.Bucket, n.Links.Inward}[random.IntN(3)]
	switch random.IntN(8) {
	case 0, 1:
		n.Kill()
		return "kill -9 " + n.Name, again, true, nil
	case 2:
		// One that was frozen before would not hear it.
		return "stop " + n.Name, again, true, errors.Join(n.Signal(15), n.Resume(), await(n.Process))
	case 3:
		return "freeze " + n.Name, func() error { return ifRunning(n.Process, n.Resume) }, false, n.Pause()
	case 4:
		link.Cut()
		return fmt.Sprintf("cut %d links of %s", len(link), n.Name), func() error { link.Heal(); return nil }, false, nil
	case 5:
		link.Refuse()
		return fmt.Sprintf("refuse %d links of %s", len(link), n.Name), func() error { link.Heal(); return nil }, false, nil
	case 6:
		e := r.Etcd[random.IntN(len(r.Etcd))]
		if !e.Running() {
			return e.Name + " is down already", nothing, false, nil
		}
		return "freeze " + e.Name, func() error { return ifRunning(e, e.Resume) }, false, e.Pause()
	default:
		return "freeze minio", r.MinIO.Resume, false, r.MinIO.Pause()
	}
}

// ifRunning does something to a process that another harm may have ended.
func ifRunning(p *harness.Process, do func() error) error {
	if !p.Running() {
		return nil
	}
	return do()
}

func await(p *harness.Process) error {
	select {
	case <-p.Exited():
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s does not stop", p.Name)
	}
}

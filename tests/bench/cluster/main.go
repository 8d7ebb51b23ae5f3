// Command cluster measures a cluster of processes (etcd, MinIO, brokers) that it
// starts itself, beside what the stores under it take in the same run: the
// acknowledgement of durability=object, cold reads, what the metadata store and the
// bucket are asked, what it costs that many groups commit, what SQL clients cost
// producers, and what a fleet of query nodes does. It prints Markdown tables for docs/benchmarks.
//
//	make build tools && go run ./tests/bench/cluster
//	go run ./tests/bench/cluster -only cold -time 30s
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

type bench struct {
	chronik string
	seconds time.Duration
	brokers int
	think   time.Duration
	share   float64
	nice    bool
	note    string // about the cluster that is measured
	only    []string
	rows    []row
}

// row is a line of the report.
type row struct{ what, figure, beside string }

func main() {
	b := &bench{}
	var only string
	flag.StringVar(&b.chronik, "chronik", "bin/chronik", "the binary")
	flag.DurationVar(&b.seconds, "time", 20*time.Second, "how long each load lasts")
	flag.IntVar(&b.brokers, "brokers", 3, "brokers")
	flag.StringVar(&only, "only", "", "comma list of: object, cold, metadata, failover, moves, groups, load, fleet")
	flag.DurationVar(&b.think, "think", time.Second, "how long a SQL client pauses behind an answer")
	flag.Float64Var(&b.share, "share", 0.3, "part of the most records per second at which SQL clients are added")
	flag.BoolVar(&b.nice, "nice", false, "let query nodes run at the lowest priority, as a stand-in for machines of their own")
	flag.Parse()
	if only != "" {
		b.only = strings.Split(only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) error {
	for _, part := range []struct {
		name     string
		settings []string
		f        func(context.Context, *harness.Cluster) error
	}{
		{"object", nil, b.object},
		// What is read has left memory and is in no cache.
		{"cold", []string{"tail.bytes_max=1MiB", "cache.memory_bytes_max=16MiB", "cache.disk_bytes_max=0"}, b.cold},
		{"metadata", []string{"topic.partitions_max=10000"}, b.metadata},
		{"failover", []string{"takeover.grace=0s"}, b.failover},
		{"moves", nil, b.moves},
		{"groups", nil, b.groups},
	} {
		if b.only != nil && !slices.Contains(b.only, part.name) {
			continue
		}
		if err := b.in(ctx, harness.Options{Settings: part.settings}, part.f); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if err := b.queries(ctx); err != nil {
		return err
	}
	fmt.Println("| what | figure | beside it, in the same run |\n|---|---|---|")
	for _, r := range b.rows {
		fmt.Printf("| %s | %s | %s |\n", r.what, r.figure, r.beside)
	}
	return nil
}

// queries runs the parts with query nodes, which stand behind HAProxy.
func (b *bench) queries(ctx context.Context) error {
	wanted := func(name string) bool { return b.only == nil || slices.Contains(b.only, name) }
	if !wanted("load") && !wanted("fleet") {
		return nil
	}
	haproxy, err := harness.FindHAProxy()
	if err != nil {
		return err
	}
	// Files soon: what is measured is files and tail together.
	o := harness.Options{Queries: 2, Compactors: 1, HAProxy: haproxy, Settings: []string{"compactor.first_age=10s"}}
	if wanted("load") {
		if err := b.in(ctx, o, b.load); err != nil {
			return fmt.Errorf("load: %w", err)
		}
	}
	if !wanted("fleet") {
		return nil
	}
	settings := o.Settings
	for _, way := range []struct {
		queries  int
		affinity string
	}{{1, "topic"}, {2, "topic"}, {3, "topic"}, {3, "none"}} {
		o.Queries, o.Settings, b.note = way.queries, append(slices.Clip(settings), "query.affinity="+way.affinity), ""
		if way.affinity == "none" {
			b.note = " without affinity"
		}
		if err := b.in(ctx, o, b.fleet); err != nil {
			return fmt.Errorf("fleet of %d: %w", way.queries, err)
		}
	}
	return nil
}

// in runs a part in a cluster of its own.
func (b *bench) in(ctx context.Context, o harness.Options, f func(context.Context, *harness.Cluster) error) (err error) {
	dir, err := os.MkdirTemp("", "chronik-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := filepath.Abs(b.chronik)
	if err != nil {
		return err
	}
	o.Dir, o.Chronik, o.MinIO, o.Brokers = dir, binary, true, b.brokers
	c, err := harness.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, n := range c.Queries {
		if b.nice {
			n.Args = append([]string{"nice", "-n", "19"}, n.Args...)
		}
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	return f(ctx, c)
}

func (b *bench) report(what, beside, figure string, args ...any) {
	r := row{what, fmt.Sprintf(figure, args...), beside}
	b.rows = append(b.rows, r)
	fmt.Fprintf(os.Stderr, "%s: %s (%s)\n", r.what, r.figure, r.beside)
}

func client(c *harness.Cluster, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.Kafka, ",")...), kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, more...)...)
}

// topic creates a topic and waits until every partition of it has taken a record.
func topic(ctx context.Context, c *harness.Cluster, name string, partitions int32, durability string) error {
	cl, err := client(c, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, 1, map[string]*string{"durability": &durability}, name); err != nil {
		return err
	}
	records := make([]*kgo.Record, partitions)
	for p := range partitions {
		records[p] = &kgo.Record{Topic: name, Partition: p, Value: []byte("first")}
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// counters are the metrics at addresses, each name with all its labels, and each
// alone, summed.
func counters(addresses ...string) (map[string]float64, error) {
	sums := map[string]float64{}
	for _, address := range addresses {
		answer, err := http.Get(address + "/metrics")
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			line := lines.Text()
			at := strings.LastIndexByte(line, ' ')
			if strings.HasPrefix(line, "#") || at < 0 {
				continue
			}
			value, err := strconv.ParseFloat(line[at+1:], 64)
			if err != nil {
				continue
			}
			name, labels, labelled := strings.Cut(line[:at], "{")
			sums[name] += value
			if labelled {
				sums[name+"{"+labels] += value
			}
		}
		if err := answer.Body.Close(); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

func brokers(c *harness.Cluster) []string {
	var all []string
	for _, n := range c.Brokers {
		all = append(all, "http://"+n.HTTP)
	}
	return all
}

func quantiles(all []time.Duration) (p50, p99 time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[min(int(q*float64(len(all))), len(all)-1)].Round(10 * time.Microsecond)
	}
	return at(.5), at(.99)
}

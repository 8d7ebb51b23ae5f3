// Command cluster starts a whole cluster on this machine from nothing: three etcd,
// MinIO, three brokers that tell clients one address, HAProxy behind which all of
// it is, a compactor and two query nodes, each a process. Clients write, read,
// commit and count through the balancer, while processes are stopped, killed,
// frozen and drained one after the other. At the end everything is read back and
// held against what the clients were told; a promise that was broken makes it
// fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
	"github.com/chronik-stream/chronik/tests/cluster/workload"
	"github.com/chronik-stream/chronik/tests/history"
)

type options struct {
	binary string
	dir    string
	keep   bool
	rate   int
	within time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.binary, "chronik", "bin/chronik", "the chronik binary")
	flag.StringVar(&o.dir, "dir", "", "folder for data and logs; empty: a temporary one")
	flag.BoolVar(&o.keep, "keep", false, "leave the cluster running until interrupted")
	flag.IntVar(&o.rate, "rate", 200, "records per second of each of the four writers")
	flag.DurationVar(&o.within, "within", 4*time.Minute, "bound of the whole, but for -keep")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// show is a run that prints what it does.
type show struct {
	options
	*harness.Cluster
	out   io.Writer
	began time.Time
	load  *workload.Workload
}

func run(ctx context.Context, o options, out io.Writer) error {
	haproxy, err := harness.FindHAProxy()
	if err != nil {
		return err
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "chronik-cluster-")
		if err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	bounded, cancel := context.WithTimeout(ctx, o.within)
	defer cancel()
	s := &show{options: o, out: out, began: time.Now()}
	s.say("start 3 etcd, MinIO, 3 brokers, 1 compactor, 2 query nodes, HAProxy, in %s", o.dir)
	all := topology(o.dir, o.binary, haproxy)
	// Quicker than the defaults, so that there is something to see in a minute.
	all.Settings = []string{"broker.lease=5s", "compactor.first_age=5s", "rebalance.delay=2s"}
	s.Cluster, err = harness.Start(bounded, all)
	if err != nil {
		return err
	}
	defer s.Close()
	s.say("all of it answers after %s: kafka=%s http=%s", short(time.Since(s.began)), s.Kafka, s.HTTP)
	if err := s.act(bounded); err != nil {
		// The reason comes last: what prints this may keep only the end.
		fmt.Fprintln(os.Stderr, s.logs())
		return err
	}
	if !o.keep {
		s.say("stop all nodes")
		return s.Stop(bounded)
	}
	s.say("the cluster keeps running; try, from another terminal:")
	fmt.Fprintf(out, `
  export CHRONIK_BOOTSTRAP=%s CHRONIK_URL=http://%s
  %[3]s cluster status
  seq 1000 | %[3]s produce orders
  %[3]s sql 'SELECT _partition, count(*) FROM orders GROUP BY ALL ORDER BY ALL'
  kcat -b %[1]s -L

its processes, to stop, kill and freeze:

%[4]s
^C ends it
`, s.Kafka, s.HTTP, o.binary, s.pids())
	<-ctx.Done()
	return nil
}

// topology is what runs; deployments/docker/compose.yaml has the same.
func topology(dir, binary, haproxy string) harness.Options {
	return harness.Options{
		Dir: dir, Chronik: binary, Members: 3, MinIO: true, Brokers: 3, Compactors: 1, Queries: 2, HAProxy: haproxy, Shared: true,
	}
}

// act runs the clients, what happens to the cluster, and the check.
func (s *show) act(ctx context.Context) (err error) {
	s.load, err = workload.Start(ctx, workload.Options{
		Seeds: []string{s.Kafka}, HTTP: s.HTTP, Rate: s.rate,
		Topics: []workload.Topic{
			{Name: "orders", Partitions: 6, Table: true, Config: map[string]string{"durability": "object"}, Promises: history.Topic{Object: true}},
			{Name: "clicks", Partitions: 6, Config: map[string]string{"durability": "wal"}},
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.load.Close()) }()
	for _, e := range s.events() {
		if err := s.happens(ctx, e); err != nil {
			return err
		}
	}
	s.say("end of the writers; everything is read back")
	began := time.Now()
	broken := s.load.Verdict(ctx, s.out)
	s.say("done after %s", short(time.Since(began)))
	if err := s.status(ctx); err != nil {
		return errors.Join(broken, err)
	}
	return broken
}

// event is something that happens to the cluster while clients use it.
type event struct {
	what string
	do   func(ctx context.Context) error
}

func (s *show) events() []event {
	restart := func(p *harness.Process, after time.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			p.Kill()
			if err := wait(ctx, after); err != nil {
				return err
			}
			return p.Start(ctx)
		}
	}
	return []event{
		{"nothing, to compare with", func(ctx context.Context) error { return wait(ctx, 3*time.Second) }},
		{"rolling restart of all brokers (SIGTERM)", func(ctx context.Context) error {
			for _, b := range s.Brokers {
				if err := b.Stop(ctx); err != nil {
					return err
				}
				if err := b.Start(ctx); err != nil {
					return err
				}
			}
			return nil
		}},
		{"kill -9 broker-2, back at once", restart(s.Brokers[1].Process, 0)},
		{"kill -9 broker-3, away for 8 s: others take orders over", restart(s.Brokers[2].Process, 8*time.Second)},
		{"freeze broker-1 past its lease (SIGSTOP), go on", func(ctx context.Context) error {
			if err := s.Brokers[0].Pause(); err != nil {
				return err
			}
			return errors.Join(wait(ctx, 7*time.Second), s.Brokers[0].Resume())
		}},
		{"kill -9 compactor-1", restart(s.Compactors[0].Process, time.Second)},
		{"kill -9 query-1", restart(s.Queries[0].Process, time.Second)},
		{"kill -9 etcd-0", restart(s.Etcd[0], 2*time.Second)},
		{"kill -9 MinIO, away for 3 s", restart(s.MinIO, 3*time.Second)},
		{"drain broker-2 and let it take again", func(ctx context.Context) error {
			if err := s.chronik(ctx, io.Discard, "cluster", "drain", "2", "--wait"); err != nil {
				return err
			}
			return s.chronik(ctx, io.Discard, "cluster", "drain", "2", "--cancel")
		}},
	}
}

// goesOn is how many further records have to be acknowledged before the next
// event.
const goesOn = 1500

func (s *show) happens(ctx context.Context, e event) error {
	s.say("%s", e.what)
	began := time.Now()
	if err := e.do(ctx); err != nil {
		return fmt.Errorf("%s: %w", e.what, err)
	}
	if err := s.load.AwaitAcks(ctx, goesOn); err != nil {
		return fmt.Errorf("after %s: %w", e.what, err)
	}
	fmt.Fprintf(s.out, "           %s\n", s.load.Latency(began))
	return nil
}

// chronik runs a command of the binary against the cluster.
func (s *show) chronik(ctx context.Context, out io.Writer, args ...string) error {
	binary, err := filepath.Abs(s.binary)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "CHRONIK_BOOTSTRAP=" + s.Kafka, "CHRONIK_URL=http://" + s.HTTP}
	c.Stdout, c.Stderr = out, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("chronik %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

func (s *show) status(ctx context.Context) error {
	fmt.Fprintln(s.out, "$ chronik cluster status")
	err := s.chronik(ctx, s.out, "cluster", "status")
	fmt.Fprintln(s.out)
	return err
}

// pids are the processes and their ids.
func (s *show) pids() string {
	var b strings.Builder
	for _, p := range s.Processes() {
		fmt.Fprintf(&b, "  %-12s %d\n", p.Name, p.PID())
	}
	return b.String()
}

// logs are the ends of the logs of Chronik's processes.
func (s *show) logs() string {
	var b strings.Builder
	for _, n := range slices.Backward(s.Nodes()) {
		fmt.Fprintf(&b, "---- %s (%s)\n%s\n", n.Name, n.State(), n.Log(4<<10))
	}
	return b.String()
}

func (s *show) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%7.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func short(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

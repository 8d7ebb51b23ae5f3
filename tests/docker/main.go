// Command docker runs the cluster of deployments/docker as its users would, with
// docker compose, on the ports that it publishes. Clients write, read, commit and
// count through its balancer, while containers are restarted, killed, and all of
// them removed and made again over their volumes. At the end everything is read
// back and held against what the clients were told.
//
// It is run by hand: it needs Docker, the images and minutes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
	"github.com/chronik-stream/chronik/tests/cluster/workload"
	"github.com/chronik-stream/chronik/tests/history"
)

// The addresses that compose.yaml publishes.
const (
	kafka = "localhost:9092"
	http  = "localhost:6092"
)

func main() {
	build := flag.Bool("build", true, "build the image first, rather than use the one that is there")
	keep := flag.Bool("keep", false, "leave the cluster running")
	rate := flag.Int("rate", 200, "records per second of each of the four writers")
	within := flag.Duration("within", 30*time.Minute, "bound of the whole, of which building the image may be most")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *build, *keep, *rate, *within); err != nil {
		fmt.Fprintln(os.Stderr, "docker:", err)
		os.Exit(1)
	}
}

// composition is the cluster of compose.yaml under a project's name of its own,
// so that nobody's volumes are touched.
type composition struct {
	file  string
	began time.Time
}

func run(ctx context.Context, build, keep bool, rate int, within time.Duration) (err error) {
	repository, err := harness.Repository()
	if err != nil {
		return err
	}
	c := composition{filepath.Join(repository, "deployments/docker/compose.yaml"), time.Now()}
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if !keep {
		defer func() { err = errors.Join(err, c.compose(context.WithoutCancel(ctx), "down", "--volumes")) }()
	}
	if build {
		c.say("build the image")
		if err := c.compose(bounded, "build", "--quiet"); err != nil {
			return err
		}
	}
	c.say("start all containers")
	if err := c.up(bounded); err != nil {
		return err
	}
	c.say("all of them are healthy")
	if err := c.act(bounded, rate); err != nil {
		return errors.Join(err, c.compose(context.WithoutCancel(ctx), "logs", "--no-color", "--tail", "20"))
	}
	return nil
}

func (c *composition) act(ctx context.Context, rate int) (err error) {
	load, err := workload.Start(ctx, workload.Options{
		Seeds: []string{kafka}, HTTP: http, Rate: rate,
		Topics: []workload.Topic{
			{Name: "orders", Partitions: 6, Table: true, Config: map[string]string{"durability": "object"}, Promises: history.Topic{Object: true}},
			{Name: "clicks", Partitions: 6, Config: map[string]string{"durability": "wal"}},
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	for _, e := range c.events() {
		c.say("%s", e.what)
		began := time.Now()
		if err := e.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", e.what, err)
		}
		if err := load.AwaitAcks(ctx, goesOn); err != nil {
			return fmt.Errorf("after %s: %w", e.what, err)
		}
		fmt.Printf("           %s\n", load.Latency(began))
	}
	c.say("end of the writers; everything is read back")
	if err := load.Verdict(ctx, os.Stdout); err != nil {
		return err
	}
	return c.unharmed(ctx)
}

// goesOn is how many further records have to be acknowledged before the next
// event.
const goesOn = 1500

// event is something that happens to the containers while clients use them.
type event struct {
	what string
	do   func(ctx context.Context) error
}

func (c *composition) events() []event {
	// each runs commands of compose one after the other.
	each := func(commands ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			for _, command := range commands {
				if err := c.compose(ctx, strings.Fields(command)...); err != nil {
					return err
				}
			}
			return c.up(ctx)
		}
	}
	return []event{
		{"nothing, to compare with", each()},
		{"rolling restart of all brokers", func(ctx context.Context) error {
			for _, broker := range []string{"broker-1", "broker-2", "broker-3"} {
				if err := each("stop " + broker)(ctx); err != nil {
					return err
				}
			}
			return nil
		}},
		{"kill broker-2", each("kill broker-2")},
		{"kill query-1 and compactor-1", each("kill query-1 compactor-1")},
		{"kill etcd-0", each("kill etcd-0")},
		{"restart MinIO", each("restart minio")},
		{"freeze broker-1 past its lease", func(ctx context.Context) error {
			if err := c.compose(ctx, "pause", "broker-1"); err != nil {
				return err
			}
			pause(ctx, 15*time.Second) // the lease is 10 s
			return each("unpause broker-1")(ctx)
		}},
		{"drain broker-2 and let it take again", each(
			"exec -T query-1 chronik cluster drain 2 --wait", "exec -T query-1 chronik cluster drain 2 --cancel")},
		{"remove all containers, make them again over their volumes", each("down")},
	}
}

// up starts what does not run, and returns when all of it is healthy. Compose
// gives up as soon as it sees one that is not, though it may only just have been
// unpaused.
func (c *composition) up(ctx context.Context) error {
	for try := 1; ; try++ {
		err := c.compose(ctx, "up", "--detach", "--no-build", "--wait")
		if err == nil || try == 10 || !pause(ctx, 5*time.Second) {
			return err
		}
	}
}

// pause waits; false when ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// unharmed fails when a container was killed for the memory that it took, or
// when one of Chronik's ended by itself.
func (c *composition) unharmed(ctx context.Context) error {
	ids, err := c.command(ctx, "ps", "--all", "--quiet").Output()
	if err != nil {
		return fmt.Errorf("list the containers: %w", err)
	}
	inspect := exec.CommandContext(ctx, "docker", append([]string{"inspect", "--format",
		"{{.Name}} {{.State.Status}} killed-for-memory={{.State.OOMKilled}} restarts={{.RestartCount}}"}, strings.Fields(string(ids))...)...)
	out, err := inspect.Output()
	if err != nil {
		return fmt.Errorf("inspect the containers: %w", err)
	}
	fmt.Printf("%s", out)
	for line := range strings.Lines(string(out)) {
		if !strings.HasSuffix(strings.TrimSpace(line), " running killed-for-memory=false restarts=0") {
			err = errors.Join(err, errors.New(strings.TrimSpace(line)))
		}
	}
	return err
}

func (c *composition) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "docker", append([]string{"compose", "--progress", "quiet", "--project-name", "chronik-check", "--file", c.file}, args...)...)
}

// compose runs a command of docker compose.
func (c *composition) compose(ctx context.Context, args ...string) error {
	command := c.command(ctx, args...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("docker compose %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

func (c *composition) say(format string, args ...any) {
	fmt.Printf("%7.1f s  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

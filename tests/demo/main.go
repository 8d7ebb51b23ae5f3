// Command demo shows Chronik at work: it starts `chronik dev` on an empty folder,
// produces some hundred thousand events of an invented shop with a Kafka client,
// asks SQL questions and searches right after the last acknowledgement, finds
// reviews by what they mean, reads the log back with a consumer, and asks again once
// everything lies in Parquet files.
//
// It knows what it made and checks every answer; a wrong one makes it fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/tests/dev"
)

type options struct {
	binary string
	dir    string
	orders int
	views  int
	seed   uint64
	keep   bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "chronik", "bin/chronik", "the chronik binary")
	flag.StringVar(&o.dir, "dir", "", "folder for the data; empty: a temporary one")
	flag.IntVar(&o.orders, "orders", 100_000, "orders to produce")
	flag.IntVar(&o.views, "views", 200_000, "page views to produce")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the invented events")
	flag.BoolVar(&o.keep, "keep", false, "leave the server running until interrupted")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, o options, out io.Writer) error {
	d := &run{options: o, out: out}
	d.step("start chronik dev: broker, compactor, query node, metadata and bucket in one process")
	// Files are made soon instead of after a minute, so that they can be shown.
	server, err := dev.New(dev.Options{Binary: o.binary, Suite: "demo", Dir: o.dir, Args: []string{"--set", "compactor.first_age=2s"}})
	if err != nil {
		return err
	}
	if err := d.play(ctx, server); err != nil {
		return errors.Join(err, fmt.Errorf("the server's log is %s", server.Log()), server.Kill())
	}
	return server.Remove()
}

// play runs the server, and does one thing after the other.
func (d *run) play(ctx context.Context, server *dev.Server) error {
	began := time.Now()
	if err := server.Start(ctx); err != nil {
		return err
	}
	d.server = server
	d.say("ready in %s: kafka=%s http=%s data=%s", short(time.Since(began)), server.Kafka, server.HTTP, server.Dir())
	for _, act := range []func(context.Context) error{d.create, d.review, d.produce, d.askNow, d.searchNow, d.meaning, d.consume, d.askCold} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if d.keep {
		d.step("the server keeps running; try, from another terminal")
		for _, line := range []string{
			"bin/chronik sql --url http://%[2]s 'SELECT country, sum(amount) FROM orders GROUP BY country'",
			"bin/chronik search orders --url http://%[2]s 'status:returned'",
			"bin/chronik vector reviews --url http://%[2]s 'everything came in splinters and shattered'",
			"bin/chronik hybrid reviews --url http://%[2]s 'kettle with poor support'",
			"bin/chronik consume orders --bootstrap %[1]s --count 5",
			"kcat -b %[1]s -L",
			`curl -s http://%[2]s/_sql -d '{"query":"SELECT * FROM page_views LIMIT 2"}'`,
		} {
			d.say(line, server.Kafka, server.HTTP)
		}
		d.say("^C stops it")
		<-ctx.Done()
	}
	d.step("stop")
	began = time.Now()
	if err := server.Stop(); err != nil {
		return err
	}
	d.say("clean stop on SIGTERM in %s", short(time.Since(began)))
	return nil
}

// run is one run of the demo.
type run struct {
	options
	out    io.Writer
	server *dev.Server
	steps  int
	truth  truth
}

func (d *run) step(title string) {
	d.steps++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.steps, title)
}

func (d *run) say(format string, args ...any) {
	fmt.Fprintf(d.out, "   "+format+"\n", args...)
}

// short rounds a time for people.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

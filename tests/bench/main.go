// Command bench measures a running Chronik from the outside: produce and consume
// rates, acknowledgement latency beside the raw disk's, SQL, and what a flush
// costs. It prints a Markdown table for docs/benchmarks.
//
//	bin/chronik dev --data /tmp/bench --kafka 127.0.0.1:19092 --http 127.0.0.1:16092 &
//	go run ./tests/bench -kafka 127.0.0.1:19092 -http 127.0.0.1:16092 -pid $! -disk /tmp/bench
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

type options struct {
	kafka, http, disk string
	pid               int
	seconds           time.Duration
	only              string
	rows              int64
}

// figure is one row of the report.
type figure struct{ what, value, cost string }

func main() {
	var o options
	flag.StringVar(&o.kafka, "kafka", "127.0.0.1:9092", "bootstrap address")
	flag.StringVar(&o.http, "http", "127.0.0.1:6092", "HTTP address")
	flag.StringVar(&o.disk, "disk", os.TempDir(), "a folder on the server's disk, for the raw fdatasync")
	flag.IntVar(&o.pid, "pid", 0, "the server's process, for its CPU and memory; 0: not reported")
	flag.DurationVar(&o.seconds, "time", 10*time.Second, "how long each load lasts")
	flag.StringVar(&o.only, "only", "", "comma list of: produce, latency, consume, sql, visible, tails, sizes")
	flag.Int64Var(&o.rows, "rows", 10_000_000, "of the largest table of sizes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	b := &bench{options: o}
	for _, part := range []struct {
		name string
		f    func(context.Context) error
	}{{"produce", b.produce}, {"latency", b.latency}, {"consume", b.consume}, {"sql", b.sql}, {"visible", b.visible}, {"tails", b.tails}, {"sizes", b.sizes}} {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), part.name) {
			continue
		}
		if err := part.f(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	fmt.Println("| what | figure | cost |\n|---|---|---|")
	for _, f := range b.figures {
		fmt.Printf("| %s | %s | %s |\n", f.what, f.value, f.cost)
	}
	return nil
}

type bench struct {
	options
	figures []figure
}

func (b *bench) report(what, cost, value string, args ...any) {
	f := figure{what: what, cost: cost, value: fmt.Sprintf(value, args...)}
	b.figures = append(b.figures, f)
	fmt.Fprintf(os.Stderr, "%s: %s (%s)\n", f.what, f.value, f.cost)
}

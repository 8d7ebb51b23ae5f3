package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/cmd/chronik/bench"
)

func newBench(e env) *cobra.Command {
	return group("bench", "Put load on a cluster, and measure rate, latency and errors", `Put load on a cluster and report the rate, the latencies that half, 99 % and 99.9 % of
all operations kept, the longest, and errors. produce, consume and e2e speak Kafka's
protocol with any cluster; sql, search and vector ask Chronik over HTTP.

With --rate, latency counts from the moment at which an operation was due, so that a
cluster that stalls shows it; what was due and never begun, since all clients waited, is
missed: use more of them. Without, clients do as much as they can. The command fails
where an operation did.`,
		newBenchProduce(e), newBenchConsume(e), newBenchEndToEnd(e), newBenchSQL(e), newBenchSearch(e), newBenchVector(e))
}

// benchOptions are those of every load.
type benchOptions struct {
	bench.Load
	unit   string // of what is done
	output string
}

func (o *benchOptions) add(c *cobra.Command, unit string) {
	o.unit = unit
	addOutput(c, &o.output, "table", "json")
	c.Flags().DurationVar(&o.Duration, "duration", 10*time.Second, "how long")
	c.Flags().IntVar(&o.Clients, "clients", 1, "clients at once, each with connections of its own")
	checkOutput := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		switch {
		case o.Duration <= 0:
			return usagef("--duration %s: it is above 0", o.Duration)
		case o.Clients < 1 || o.Clients > 10_000:
			return usagef("--clients %d: it is 1 to 10000", o.Clients)
		case o.Rate < 0:
			return usagef("--rate %v: it is not below 0", o.Rate)
		case o.Count < 0:
			return usagef("--count %d: it is not below 0", o.Count)
		}
		return checkOutput(c, args)
	}
}

func (o *benchOptions) addPace(c *cobra.Command, rate float64) {
	c.Flags().Float64Var(&o.Rate, "rate", rate, o.unit+"s a second of all clients; 0: as many as they can")
	c.Flags().Int64Var(&o.Count, "count", 0, "stop after so many "+o.unit+"s, too; 0 is never")
}

// watch shows on a terminal how it goes.
func (o *benchOptions) watch(c *cobra.Command) {
	terminal, ok := c.ErrOrStderr().(*os.File)
	if !ok {
		return
	}
	if info, err := terminal.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	o.Progress = func(r bench.Report) {
		fmt.Fprintf(terminal, "%4.0f s: %s, %s a second, p99 %.1f ms, %s\n", r.Seconds, plural(r.Count, o.unit), grouped(int64(r.PerSecond)), r.Latency.P99, plural(r.Errors, "error"))
	}
}

// write shows what was measured. Errors make the command fail.
func (o *benchOptions) write(out io.Writer, r bench.Report) error {
	var err error
	if o.output == "json" {
		err = writeJSON(out, r)
	} else {
		t := newTable(">"+o.unit+"s", ">seconds", ">"+o.unit+"s/s", ">MB/s", ">p50 ms", ">p99 ms", ">p999 ms", ">max ms", ">missed", ">errors")
		t.add(grouped(r.Count), fmt.Sprintf("%.2f", r.Seconds), grouped(int64(r.PerSecond)), fmt.Sprintf("%.2f", r.BytesPerSecond/1e6),
			shownMillis(r.Latency.P50), shownMillis(r.Latency.P99), shownMillis(r.Latency.P999), shownMillis(r.Latency.Max), grouped(r.Missed), grouped(r.Errors))
		err = t.write(out)
	}
	if err == nil && r.Errors > 0 {
		err = fmt.Errorf("%s failed; the first: %s", plural(r.Errors, o.unit), r.FirstError)
	}
	return err
}

func shownMillis(ms float64) string { return fmt.Sprintf("%.2f", ms) }

// measureKafka runs a load over the Kafka protocol.
func (o *benchOptions) measureKafka(c *cobra.Command, b *bootstrap, run func(context.Context, bench.Connect) (bench.Report, error)) error {
	// Nobody listening is said at once, where the load would go on trying.
	if err := b.connected(c.Context(), func(context.Context, *kgo.Client) error { return nil }); err != nil {
		return err
	}
	r, err := run(c.Context(), b.client)
	if err != nil {
		return b.explain(err)
	}
	return o.write(c.OutOrStdout(), r)
}

// benchProduceOptions are those of loads that produce.
type benchProduceOptions struct {
	bootstrap
	benchOptions
	values            bench.Values
	acks, compression string
	linger            time.Duration
}

func (o *benchProduceOptions) addProduce(c *cobra.Command, e env, rate float64) {
	o.bootstrap.add(c, e)
	o.benchOptions.add(c, "record")
	o.addPace(c, rate)
	c.ValidArgsFunction = o.topics(false)
	c.Flags().IntVar(&o.values.Size, "size", 1024, "bytes of a record's value")
	c.Flags().BoolVar(&o.values.JSON, "json", false, "values are JSON objects with id, time, city, amount and message, for tables and search; else they are random bytes")
	c.Flags().StringVar(&o.acks, "acks", "all", "what a record waits for: all, 1 or 0")
	c.Flags().StringVar(&o.compression, "compression", "none", "compression of batches: "+strings.Join(compressionNames, ", "))
	c.Flags().DurationVar(&o.linger, "linger", 0, "how long a batch waits for more records")
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		switch {
		case o.values.Size < 1 || o.values.Size > 1<<20:
			return usagef("--size %d: it is 1 to %d", o.values.Size, 1<<20)
		case !slices.Contains([]string{"all", "1", "0"}, o.acks):
			return usagef("--acks %s: it is all, 1 or 0", o.acks)
		case !slices.Contains(compressionNames, o.compression):
			return usagef("--compression %s: it is %s", o.compression, strings.Join(compressionNames, ", "))
		case o.linger < 0:
			return usagef("--linger %s: it is not below 0", o.linger)
		}
		return check(c, args)
	}
}

var compressionNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// load is the produce side of a run.
func (o *benchProduceOptions) load(topic string) bench.Produce {
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	options := []kgo.Opt{kgo.ProducerLinger(o.linger), kgo.ProducerBatchCompression(codecs[slices.Index(compressionNames, o.compression)])}
	switch o.acks { // all is the client's default, with idempotence
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	return bench.Produce{Load: o.Load, Topic: topic, Options: options, Values: o.values}
}

func newBenchProduce(e env) *cobra.Command {
	var o benchProduceOptions
	c := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Produce records, and measure their acknowledgements",
		Long: `Produce records, and measure how long each takes from the client's queue to its
acknowledgement. Without --rate most of that is the waiting in the queue: the rate is
what such a run tells, and one with a --rate below it tells the latency. A topic that is
not there is created where brokers do so; it stays, with its records.`,
		Example: `  chronik bench produce load --clients 2                       # how much goes
  chronik bench produce load --rate 1000 --duration 1m         # how soon it is acknowledged
  chronik bench produce orders --json --size 300 --count 1000000 --duration 10m`,
		Args: exactly("TOPIC"),
		RunE: func(c *cobra.Command, args []string) error {
			o.watch(c)
			return o.measureKafka(c, &o.bootstrap, o.load(args[0]).Run)
		},
	}
	o.addProduce(c, e, 0)
	return c
}

func newBenchEndToEnd(e env) *cobra.Command {
	var o benchProduceOptions
	c := &cobra.Command{
		Use:   "e2e TOPIC",
		Short: "Produce records, and measure how soon a consumer has them",
		Long: `Produce records, consume them at the same time, and measure how long each takes from
the moment at which it was due to its arrival. Acknowledged records that do not arrive
are errors. The topic is there already.`,
		Example: `  chronik bench e2e load
  chronik bench e2e load --rate 10000 --acks 1 --duration 1m -o json`,
		Args: exactly("TOPIC"),
		RunE: func(c *cobra.Command, args []string) error {
			o.watch(c)
			return o.measureKafka(c, &o.bootstrap, bench.EndToEnd{Produce: o.load(args[0])}.Run)
		},
	}
	o.addProduce(c, e, 1000)
	return c
}

func newBenchConsume(e env) *cobra.Command {
	var o struct {
		bootstrap
		benchOptions
	}
	c := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Read a topic from its start, and measure how fast",
		Long: `Read a topic from its start to the end that it has now, or until --duration is over.
Clients share out the partitions. The latencies are those of fetch requests.`,
		Example: `  chronik bench consume load
  chronik bench consume load --clients 3 --duration 1m -o json`,
		Args: exactly("TOPIC"), ValidArgsFunction: o.topics(false),
		RunE: func(c *cobra.Command, args []string) error {
			o.watch(c)
			return o.measureKafka(c, &o.bootstrap, bench.Consume{Load: o.Load, Topic: args[0]}.Run)
		},
	}
	o.bootstrap.add(c, e)
	o.benchOptions.add(c, "record")
	return c
}

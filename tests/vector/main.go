// Command vector asks the built binary for records by their meaning, over an
// embedding service of its own: how much of what is nearest comes back, on easy and
// on hard data, cold and warm, while shards are made and under filters; how good
// rankings are that people have judged; which combinations of what a topic can be
// work; how soon a record is found; and what is left when the server is killed
// while it embeds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/chronik-stream/chronik/tests/dev"
)

type options struct{ binary, data, only string }

func main() {
	var o options
	flag.StringVar(&o.binary, "chronik", "bin/chronik", "the chronik binary")
	flag.StringVar(&o.data, "data", os.Getenv("CHRONIK_TESTDATA"), "folder with the Cranfield collection; empty: it is not asked")
	flag.StringVar(&o.only, "only", "", "parts to run, separated by commas; empty: all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "vector:", err)
		os.Exit(1)
	}
}

// within bounds the whole suite.
const within = 8 * time.Minute

// suite is what the parts share.
type suite struct {
	options
	*dev.Server
	embeddings *embeddings
}

func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	e := newEmbeddings()
	defer e.Close()
	process := dev.Options{Binary: o.binary, Suite: "vector", Args: []string{"--set", "compactor.merge_files=2"}} // so that there are graphs and lists
	return dev.Suite(ctx, process, o.only, func(_ context.Context, d *dev.Server) ([]dev.Part, error) {
		s := &suite{o, d, e}
		part := func(name string, run func(context.Context, *suite) error) dev.Part {
			return dev.Part{Name: name, Run: func(ctx context.Context) error { return run(ctx, s) }}
		}
		return []dev.Part{
			part("combinations", combinations), part("visible", visible), part("cranfield", cranfield), part("recall", recall), part("crash", crash),
		}, nil
	})
}

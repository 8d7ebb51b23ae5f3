// Command vector asks the built binary for records by their meaning, over an
// embedding service of its own: how much of what is nearest comes back, on easy and
// on hard data, cold and warm, while shards are made and under filters; how good
// rankings are that people have judged; which combinations of what a topic can be
// work; how soon a record is found; and what is left when the server is killed
// while it embeds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
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

var parts = []struct {
	name string
	run  func(context.Context, *suite) error
}{
	{"combinations", combinations},
	{"visible", visible},
	{"cranfield", cranfield},
	{"recall", recall},
	{"crash", crash},
}

func run(ctx context.Context, o options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	server, err := dev.New(o.binary, "vector", "--set", "compactor.merge_files=2") // so that there are graphs and lists
	if err != nil {
		return err
	}
	s := &suite{o, server, newEmbeddings()}
	defer s.embeddings.Close()
	if err := s.Start(ctx); err != nil {
		return err
	}
	fmt.Printf("chronik dev on %s, log %s\n", s.HTTP, s.Log())
	var failed []error
	for _, p := range parts {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+p.name+",") {
			continue
		}
		from := time.Now()
		if err := p.run(ctx, s); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
			fmt.Printf("FAIL  %s\n", p.name)
		}
		fmt.Printf("---- %s: %s\n", p.name, time.Since(from).Round(100*time.Millisecond))
	}
	fmt.Printf("vector: %s\n", time.Since(began).Round(time.Second))
	if failed = append(failed, s.Stop()); errors.Join(failed...) == nil {
		return s.Remove()
	}
	return fmt.Errorf("%w\nthe server's log is %s", errors.Join(failed...), s.Log())
}

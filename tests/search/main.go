// Command search asks the built binary as users of Elasticsearch do: with the
// official clients for JavaScript and Python, each from its published package and
// with its own helpers; with the requests of Grafana's data source; with the
// questions of the Cranfield collection, whose answers people have judged; and
// while splits are damaged and lost and the server is killed.
//
// A driver is a folder with a script `prepare` that fetches what it pins into
// $SEARCH_DIR, once for its pins, and a script `run` that writes one line of JSON
// for each of its checks.
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

type options struct {
	binary, drivers, cache, data, only string
	needAll                            bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "chronik", "bin/chronik", "the chronik binary")
	flag.StringVar(&o.drivers, "drivers", "tests/search", "folder with the drivers")
	flag.StringVar(&o.cache, "cache", ".tools/search", "folder for what drivers download")
	flag.StringVar(&o.data, "data", os.Getenv("CHRONIK_TESTDATA"), "folder with the Cranfield collection; empty: it is not asked")
	flag.StringVar(&o.only, "only", "", "parts to run, separated by commas; empty: all")
	flag.BoolVar(&o.needAll, "need-all", os.Getenv("CI") != "", "fail where a driver's toolchain is missing, instead of saying so")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "search:", err)
		os.Exit(1)
	}
}

// within bounds the whole suite, preparation included.
const within = 8 * time.Minute

// part is one part of the suite.
type part struct {
	name string
	run  func(ctx context.Context, o options, s *server) error
}

func parts() []part {
	var all []part
	for _, d := range drivers {
		all = append(all, part{d.dir, func(ctx context.Context, o options, s *server) error {
			missing := d.missing()
			switch {
			case missing == "":
				return d.run(ctx, o, s)
			case o.needAll:
				return fmt.Errorf("%s is not installed", missing)
			}
			fmt.Printf("SKIPPED %s: %s is not installed\n", d.dir, missing)
			return nil
		}})
	}
	return append(all, part{"grafana", grafana}, part{"cranfield", cranfield}, part{"visible", visible}, part{"damage", damage})
}

func run(ctx context.Context, o options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	d, err := dev.New(o.binary, "search", "--set", "segment.age=300ms", "--set", "compactor.first_age=500ms") // so that there are splits soon
	if err != nil {
		return err
	}
	s := &server{d}
	if err := s.Start(ctx); err != nil {
		return err
	}
	fmt.Printf("chronik dev on %s, log %s\n", s.HTTP, s.Log())
	var failed []error
	for _, p := range parts() {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+p.name+",") {
			continue
		}
		from := time.Now()
		if err := p.run(ctx, o, s); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
			fmt.Printf("FAIL  %s\n", p.name)
		}
		fmt.Printf("---- %s: %s\n", p.name, time.Since(from).Round(100*time.Millisecond))
	}
	fmt.Printf("search: %s\n", time.Since(began).Round(time.Second))
	if failed = append(failed, s.Stop()); errors.Join(failed...) == nil {
		return s.Remove()
	}
	return fmt.Errorf("%w\nthe server's log is %s", errors.Join(failed...), s.Log())
}

// Command flight runs real clients of Arrow Flight SQL, each from its published
// package, against the built binary: ADBC's drivers for Python and Go,
// pyarrow.flight, and the JDBC driver.
//
// types.tsv has a value of each type, as an expression, and what it is to Python,
// Go and JDBC: its type and, behind "=", the value.
//
// It starts `chronik dev`, produces the records of one topic, and runs the
// drivers, a folder each with a script `prepare` that fetches what it pins into
// $FLIGHT_DIR, once for its pins, and a script `run` that writes one line of JSON
// for each of its checks. It fails when a check does, when a driver ends badly,
// and when one has fewer checks than it should.
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

	"github.com/chronik-stream/chronik/tests/dev"
)

// driver is a folder with a program that drives clients.
type driver struct {
	dir    string
	needs  []string       // commands that must be on the PATH
	checks map[string]int // how many each client has
}

var drivers = []driver{
	{"java", []string{"java", "javac", "mvn"}, map[string]int{"jdbc": 12}},
	{"python", []string{"python3"}, map[string]int{"adbc-python": 15, "pyarrow.flight": 11}},
	{"go", []string{"go"}, map[string]int{"adbc-go": 10}},
}

type options struct {
	binary, drivers, cache, only string
	needAll                      bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "chronik", "bin/chronik", "the chronik binary")
	flag.StringVar(&o.drivers, "drivers", "tests/flight", "folder with the drivers")
	flag.StringVar(&o.cache, "cache", ".tools/flight", "folder for what drivers download")
	flag.StringVar(&o.only, "only", "", "drivers to run, separated by commas; empty: all")
	flag.BoolVar(&o.needAll, "need-all", os.Getenv("CI") != "", "fail where a driver's toolchain is missing, instead of saying so")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "flight:", err)
		os.Exit(1)
	}
}

// within bounds the whole suite, preparation included.
const within = 10 * time.Minute

func run(ctx context.Context, o options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	s, err := dev.New(o.binary, "flight")
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, s.Stop()); err == nil {
			err = s.Remove()
		}
	}()
	if err := produce(ctx, s.Kafka); err != nil {
		return err
	}
	fmt.Printf("chronik dev on %s, %d records, log %s\n", s.HTTP, rows, s.Log())
	var failed []error
	for _, d := range drivers {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+d.dir+",") {
			continue
		}
		if missing := d.missing(); missing != "" {
			if o.needAll {
				failed = append(failed, fmt.Errorf("%s: %s is not installed", d.dir, missing))
			} else {
				fmt.Printf("SKIPPED %s: %s is not installed\n", d.dir, missing)
			}
			continue
		}
		if err := d.run(ctx, filepath.Join(o.drivers, d.dir), o.cache, s.HTTP); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", d.dir, err))
		}
	}
	fmt.Printf("flight: %s\n", time.Since(began).Round(time.Second))
	return errors.Join(failed...)
}

func (d driver) missing() string {
	for _, command := range d.needs {
		if _, err := exec.LookPath(command); err != nil {
			return command
		}
	}
	return ""
}

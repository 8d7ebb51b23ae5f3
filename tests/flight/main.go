// Command flight runs real clients of Arrow Flight SQL, each from its published
// package, against the built binary: ADBC's drivers for Python and Go,
// pyarrow.flight, and the JDBC driver.
//
// types.tsv has a value of each type, as an expression, and what it is to Python,
// Go and JDBC: its type and, behind "=", the value.
//
// It starts `chronik dev`, produces the records of one topic, and runs the drivers.
// It fails when a check does, when a driver ends badly, and when one has fewer
// checks than it should.
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
	"github.com/chronik-stream/chronik/tests/driver"
)

var drivers = []driver.Driver{
	{Dir: "java", Needs: []string{"java", "javac", "mvn"}, Checks: map[string]int{"jdbc": 12}},
	{Dir: "python", Needs: []string{"python3"}, Checks: map[string]int{"adbc-python": 15, "pyarrow.flight": 11}},
	{Dir: "go", Needs: []string{"go"}, Checks: map[string]int{"adbc-go": 10}},
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

func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return dev.Suite(ctx, dev.Options{Binary: o.binary, Suite: "flight"}, o.only, func(ctx context.Context, s *dev.Server) ([]dev.Part, error) {
		if err := produce(ctx, s.Kafka); err != nil {
			return nil, err
		}
		clients := driver.Suite{Folder: o.drivers, Cache: o.cache, Prefix: "FLIGHT", NeedAll: o.needAll}
		var parts []dev.Part
		for _, d := range drivers {
			parts = append(parts, dev.Part{Name: d.Dir, Run: func(ctx context.Context) error {
				return clients.Run(ctx, d, "FLIGHT_ADDRESS="+s.HTTP, fmt.Sprintf("FLIGHT_ROWS=%d", rows))
			}})
		}
		return parts, nil
	})
}

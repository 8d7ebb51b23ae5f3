// Command search asks the built binary as users of Elasticsearch do: with the
// official clients for JavaScript and Python, each from its published package and
// with its own helpers; with the requests of Grafana's data source; with the
// questions of the Cranfield collection, whose answers people have judged; and
// while splits are damaged and lost and the server is killed.
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

var drivers = []driver.Driver{
	{Dir: "node", Needs: []string{"node", "npm"}, Checks: map[string]int{"@elastic/elasticsearch": 12}},
	{Dir: "python", Needs: []string{"python3"}, Checks: map[string]int{"elasticsearch-py": 12}},
}

// within bounds the whole suite, preparation included.
const within = 8 * time.Minute

func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	process := dev.Options{Binary: o.binary, Suite: "search", Args: []string{"--set", "segment.age=300ms", "--set", "compactor.first_age=500ms"}} // so that there are splits soon
	return dev.Suite(ctx, process, o.only, func(_ context.Context, d *dev.Server) ([]dev.Part, error) {
		s := &server{d}
		part := func(name string, run func(context.Context, options, *server) error) dev.Part {
			return dev.Part{Name: name, Run: func(ctx context.Context) error { return run(ctx, o, s) }}
		}
		clients := driver.Suite{Folder: o.drivers, Cache: o.cache, Prefix: "SEARCH", NeedAll: o.needAll}
		var all []dev.Part
		for _, d := range drivers {
			all = append(all, dev.Part{Name: d.Dir, Run: func(ctx context.Context) error { return clients.Run(ctx, d, "SEARCH_ADDRESS="+s.HTTP) }})
		}
		return append(all, part("grafana", grafana), part("cranfield", cranfield), part("visible", visible), part("damage", damage)), nil
	})
}

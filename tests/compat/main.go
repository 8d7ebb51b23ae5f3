// Command compat runs real Kafka clients, each from its published package, against
// the built binary, and says which of them can do what. README.md in this folder
// is the contract between it and the programs that drive the clients.
//
// What it finds is kept as docs/compatibility.md. It fails when a client cannot do
// what that page says, when the page is not what was found, and when a driver
// ends badly, takes too long or says what nobody can read.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/tests/dev"
)

type options struct {
	binary    string
	bootstrap string
	drivers   string // folder with the drivers
	cache     string
	page      string
	only      string
	run       string
	parallel  int
	update    bool
	needAll   bool
	verbose   bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "chronik", "bin/chronik", "the chronik binary")
	flag.StringVar(&o.bootstrap, "bootstrap", "", "a server that runs already; empty: start `chronik dev`")
	flag.StringVar(&o.drivers, "drivers", "tests/compat", "folder with the drivers")
	flag.StringVar(&o.cache, "cache", ".tools/compat", "folder for what drivers download and build")
	flag.StringVar(&o.page, "page", "docs/compatibility.md", "the page with the table")
	flag.StringVar(&o.only, "only", "", "drivers to run, separated by commas; empty: all")
	flag.StringVar(&o.run, "run", "", "regexp of the capabilities to run; empty: all")
	flag.IntVar(&o.parallel, "parallel", 2, "drivers at a time")
	flag.BoolVar(&o.update, "update", false, "write the page")
	flag.BoolVar(&o.needAll, "need-all", os.Getenv("CI") != "", "fail where a driver's toolchain is missing, instead of saying so")
	flag.BoolVar(&o.verbose, "v", false, "show what each driver says for itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compat(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

// compat runs the chosen drivers and judges what they said.
func compat(ctx context.Context, o options, out io.Writer) (err error) {
	began := time.Now()
	chosen, err := choose(drivers, o.only)
	if err != nil {
		return err
	}
	pattern, err := regexp.Compile(o.run)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	var names []string
	for _, c := range capabilities {
		if pattern.MatchString(c.name) {
			names = append(names, c.name)
		}
	}
	if o.bootstrap != "" {
		names = slices.DeleteFunc(names, func(c string) bool { return c == brokerRestart }) // not a server of ours
	}
	if len(names) == 0 {
		return fmt.Errorf("-run %s matches no capability", o.run)
	}
	chosen, problems := available(chosen, o.needAll, out)

	t := trial{bootstrap: o.bootstrap, found: results{}}
	defer func() { os.RemoveAll(t.signs) }()
	if t.bootstrap == "" && len(chosen) > 0 {
		if t.server, err = dev.New(dev.Options{Binary: o.binary, Suite: "compat"}); err != nil {
			return err
		}
		if err := t.server.Start(ctx); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = t.server.Remove()
			} else {
				err = errors.Join(err, t.server.Kill()) // its log is for who looks into it
			}
		}()
		t.bootstrap = t.server.Kafka
		fmt.Fprintf(out, "chronik dev on %s, log %s\n", t.bootstrap, t.server.Log())
	}

	var mu sync.Mutex
	lines := &lockedWriter{w: out}
	for _, phase := range phases(names) {
		takers := chosen
		if phase.drivers != nil {
			takers = slices.DeleteFunc(slices.Clone(chosen), func(d driver) bool { return !phase.drivers(d) })
		}
		if len(takers) == 0 {
			continue
		}
		env, meanwhile, err := phase.prepare(ctx, &t)
		if err != nil {
			return err
		}
		group, _ := errgroup.WithContext(ctx)
		if !phase.together {
			group.SetLimit(max(1, o.parallel))
		}
		for _, d := range takers {
			group.Go(func() error {
				r := runner{driver: d, dir: filepath.Join(o.drivers, d.dir), cache: o.cache, bootstrap: t.bootstrap, capabilities: phase.capabilities, env: env, out: lines, verbose: o.verbose}
				said, bad := r.run(ctx)
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, bad...)
				for _, one := range said {
					if p := t.found.add(one); p != "" {
						problems = append(problems, fmt.Sprintf("%s: %s", d.dir, p))
					}
				}
				return nil
			})
		}
		var failed error
		if meanwhile != nil {
			failed = meanwhile(ctx, takers)
		}
		group.Wait()
		if failed != nil {
			problems = append(problems, failed.Error())
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if t.server != nil {
		if err := t.server.Stop(); err != nil {
			problems = append(problems, err.Error())
		}
	}

	fmt.Fprintf(out, "\n%s", terminal(t.found))
	problems = append(problems, unexpected(t.found)...)
	complete := o.run == "" && o.bootstrap == ""
	switch {
	case o.update && !complete:
		problems = append(problems, "the page is made of whole runs: no -run or -bootstrap with -update")
	case o.update && len(problems) == 0:
		if err := t.found.keep(o.page, chosen); err != nil {
			return err
		}
		if err := os.WriteFile(o.page, []byte(page(t.found)), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "wrote %s\n", o.page)
	case complete:
		kept, err := os.ReadFile(o.page)
		if err != nil {
			return fmt.Errorf("%w: make compat UPDATE=1 writes it", err)
		}
		problems = append(problems, stale(string(kept), t.found, chosen)...)
	}
	slices.Sort(problems)
	if len(problems) > 0 {
		return fmt.Errorf("%d problems after %s:\n  %s", len(problems), time.Since(began).Round(time.Second), strings.Join(problems, "\n  "))
	}
	fmt.Fprintf(out, "compat: %d clients, %d capabilities in %s\n", len(t.found), t.found.count(), time.Since(began).Round(time.Second))
	return nil
}

// choose picks the drivers that only names.
func choose(all []driver, only string) ([]driver, error) {
	if only == "" {
		return all, nil
	}
	var chosen []driver
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(d driver) bool { return d.dir == name })
		if i < 0 {
			return nil, fmt.Errorf("-only %s: there is no such driver", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Command iceberg lets real readers of Apache Iceberg read a cluster's tables:
// PyIceberg, and with -readers Spark.
//
// For each kind of bucket, a folder and MinIO, it runs a cluster of processes with
// two compactors, produces records, evolves their fields, lets files be merged,
// deletes records, compacts by key, makes topics anew, and kills compactors while
// they commit. After each of these the readers tell which rows a table has, which
// files they planned for a condition, and how columns are called; all of it is held
// against what was produced, row by row and value by value.
//
// A reader is a folder with a script `prepare`, which fetches what it pins into
// $ICEBERG_DIR, once for its pins, and a script `run`, which answers requests: see
// reader.go.
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

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// within bounds the whole suite, preparation included.
const within = 10 * time.Minute

type options struct {
	binary, readers, buckets, folder, cache, only string
	keep, needAll                                 bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "chronik", "bin/chronik", "the chronik binary")
	flag.StringVar(&o.readers, "readers", "python", "readers, separated by commas: python, spark")
	flag.StringVar(&o.buckets, "buckets", "folder,s3", "kinds of buckets, separated by commas")
	flag.StringVar(&o.folder, "folder", "tests/iceberg", "folder with the readers")
	flag.StringVar(&o.cache, "cache", ".tools/iceberg", "folder for what readers download")
	flag.StringVar(&o.only, "only", "", "the chapters whose names contain this; some go on from the one before")
	flag.BoolVar(&o.needAll, "need-all", os.Getenv("CI") != "", "fail where a reader's toolchain is missing, instead of saying so")
	flag.BoolVar(&o.keep, "keep", false, "leave data and logs when it fails")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "iceberg:", err)
		os.Exit(1)
	}
}

// needs are the commands that readers want on the PATH.
var needs = map[string][]string{"python": {"python3"}, "spark": {"python3", "java", "mvn"}}

func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	var readers []string
	for _, r := range strings.Split(o.readers, ",") {
		commands, ok := needs[r]
		if !ok {
			return fmt.Errorf("there is no reader %q", r)
		}
		if missing := missing(commands); missing != "" {
			if o.needAll {
				return fmt.Errorf("%s: %s is not installed", r, missing)
			}
			fmt.Printf("SKIPPED %s: %s is not installed\n", r, missing)
			continue
		}
		readers = append(readers, r)
	}
	if len(readers) == 0 {
		return nil
	}
	var failed []error
	for _, bucket := range strings.Split(o.buckets, ",") {
		if err := over(ctx, o, bucket, readers); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", bucket, err))
		}
	}
	fmt.Printf("iceberg: %s\n", time.Since(began).Round(time.Second))
	return errors.Join(failed...)
}

func missing(commands []string) string {
	for _, command := range commands {
		if _, err := exec.LookPath(command); err != nil {
			return command
		}
	}
	return ""
}

// over plays the story over a bucket.
func over(ctx context.Context, o options, bucket string, names []string) (err error) {
	if bucket != "folder" && bucket != "s3" {
		return fmt.Errorf("a bucket is folder or s3")
	}
	dir, err := os.MkdirTemp("", "chronik-iceberg-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && o.keep {
			fmt.Println("data and logs are in", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	c, err := harness.Start(ctx, harness.Options{Dir: dir, Chronik: o.binary, MinIO: bucket == "s3", Compactors: 2, Queries: 1, Settings: []string{
		"drain.delay=0s", "segment.age=50ms", "compactor.first_age=200ms", "compactor.look_every=20ms", "compactor.merge_files=8",
		"iceberg.commit_every=100ms", "compactor.deletion_grace=1s",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	s, err := begin(ctx, c, bucket)
	if err != nil {
		return err
	}
	defer s.client.Close()
	s.only = o.only
	for _, name := range names {
		r, err := startReader(ctx, filepath.Join(o.folder, name), o.cache, c)
		if err != nil {
			return err
		}
		defer r.close()
		s.readers = append(s.readers, r)
	}
	if err := s.play(ctx); err != nil {
		return err
	}
	return c.Stop(ctx)
}

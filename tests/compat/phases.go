package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What every client that can writes, and every client that can reads. The
// readers come when all writers are done.
const (
	interchangeWrite = "interchange-write"
	interchangeRead  = "interchange-read"
)

// What clients live through while the server is killed and started again.
const brokerRestart = "broker-restart"

// trial is what the phases share.
type trial struct {
	server    *server // nil: another's, whom we do not restart
	bootstrap string
	found     results
	signs     string // folder in which drivers and suite wait for each other, "" while there is none
}

// phase is what all drivers do before any of them does the next.
type phase struct {
	capabilities []string
	drivers      func(driver) bool // nil: all
	together     bool              // none may wait for the end of another
	// prepare says what the drivers get in their environment, and what happens
	// while they run.
	prepare func(ctx context.Context, t *trial) (env []string, meanwhile func(context.Context, []driver) error, err error)
}

func phases(capabilities []string) (all []phase) {
	alone := []string{interchangeRead, brokerRestart}
	first := slices.DeleteFunc(slices.Clone(capabilities), func(c string) bool { return slices.Contains(alone, c) })
	if len(first) > 0 {
		all = append(all, phase{capabilities: first, prepare: makeInterchange})
	}
	if slices.Contains(capabilities, interchangeRead) {
		all = append(all, phase{capabilities: []string{interchangeRead}, prepare: namedWriters})
	}
	if slices.Contains(capabilities, brokerRestart) {
		all = append(all, phase{
			capabilities: []string{brokerRestart}, prepare: restart,
			drivers: func(d driver) bool { return d.restarts }, together: true,
		})
	}
	return all
}

// makeInterchange makes the topics of one partition, one for each compression.
func makeInterchange(ctx context.Context, t *trial) ([]string, func(context.Context, []driver) error, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.bootstrap))
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	made, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, nil,
		"interchange-none", "interchange-gzip", "interchange-snappy", "interchange-lz4", "interchange-zstd")
	if err == nil {
		err = made.Error()
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) { // a server that runs already may have them
		return nil, nil, fmt.Errorf("make the topics for the interchange: %w", err)
	}
	return nil, nil, nil
}

// namedWriters tells the readers whose records they must find.
func namedWriters(_ context.Context, t *trial) ([]string, func(context.Context, []driver) error, error) {
	var writers []string
	for key, c := range t.found {
		if c.cells[interchangeWrite].OK {
			writers = append(writers, key)
		}
	}
	slices.Sort(writers)
	return []string{"COMPAT_INTERCHANGE=" + strings.Join(writers, ",")}, nil, nil
}

const restartableWithin = 90 * time.Second // and it is back within that

// restart kills the server once all drivers that take part are ready for it.
func restart(_ context.Context, t *trial) ([]string, func(context.Context, []driver) error, error) {
	dir, err := os.MkdirTemp("", "chronik-compat-restart-")
	if err != nil {
		return nil, nil, err
	}
	t.signs = dir
	return []string{"COMPAT_RESTART=" + dir}, func(ctx context.Context, chosen []driver) error {
		ctx, cancel := context.WithTimeout(ctx, restartableWithin)
		defer cancel()
		look := time.NewTicker(50 * time.Millisecond)
		defer look.Stop()
		for _, d := range chosen {
			for !exists(filepath.Join(dir, d.dir)) {
				select {
				case <-look.C:
				case <-ctx.Done():
					return fmt.Errorf("%s is not ready for a restart of the server: %w", d.dir, ctx.Err())
				}
			}
		}
		if err := t.server.restart(ctx); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "restarted"), nil, 0o644)
	}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

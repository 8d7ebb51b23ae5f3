package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What every client that can writes, and every client that can reads. The
// readers come when all writers are done.
const (
	interchangeWrite = "interchange-write"
	interchangeRead  = "interchange-read"
)

// phase is what all drivers do before any of them does the next.
type phase struct {
	capabilities []string
	prepare      func(ctx context.Context, bootstrap string, found results) (env []string, err error)
}

func phases(capabilities []string) []phase {
	first := slices.DeleteFunc(slices.Clone(capabilities), func(c string) bool { return c == interchangeRead })
	var all []phase
	if len(first) > 0 {
		prepare := func(context.Context, string, results) ([]string, error) { return nil, nil }
		if slices.Contains(first, interchangeWrite) {
			prepare = makeInterchange
		}
		all = append(all, phase{first, prepare})
	}
	if len(first) < len(capabilities) {
		all = append(all, phase{[]string{interchangeRead}, namedWriters})
	}
	return all
}

// makeInterchange makes the topics of one partition, one for each compression.
func makeInterchange(ctx context.Context, bootstrap string, _ results) ([]string, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	made, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, nil,
		"interchange-none", "interchange-gzip", "interchange-snappy", "interchange-lz4", "interchange-zstd")
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("make the topics for the interchange: %w", err)
	}
	return nil, nil
}

// namedWriters tells the readers whose records they must find.
func namedWriters(_ context.Context, _ string, found results) ([]string, error) {
	var writers []string
	for key, c := range found {
		if c.cells[interchangeWrite].OK {
			writers = append(writers, key)
		}
	}
	slices.Sort(writers)
	return []string{"COMPAT_INTERCHANGE=" + strings.Join(writers, ",")}, nil
}

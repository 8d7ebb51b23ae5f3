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

	"github.com/chronik-stream/chronik/tests/dev"
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
	server    *dev.Server // nil: another's, whom we do not restart
	bootstrap string
	found     results
	signs     string // folder in which drivers and suite wait for each other, "" while there is none
	compacted bool   // the topics of the interchange begin with what compaction left
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
// Each begins as a compacted topic does: with a hole, in which an empty batch
// holds the last sequence of a producer, and what is left of it.
func makeInterchange(ctx context.Context, t *trial) ([]string, func(context.Context, []driver) error, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.bootstrap))
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	names := []string{"interchange-none", "interchange-gzip", "interchange-snappy", "interchange-lz4", "interchange-zstd"}
	made, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, map[string]*string{
		"cleanup.policy": new("compact"), "min.cleanable.dirty.ratio": new("0"), "max.compaction.lag.ms": new("1"),
	}, names...)
	if err == nil {
		err = made.Error()
	}
	if errors.Is(err, kerr.TopicAlreadyExists) { // a server that runs already may have them
		return nil, nil, nil
	}
	if err == nil {
		err = compact(ctx, t.bootstrap, names)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make the topics for the interchange: %w", err)
	}
	t.compacted = true
	return nil, nil, nil
}

// compactedWriter is who has written what compaction left, interchangeRecords
// records a topic, and as many before that are gone.
const (
	compactedWriter    = "compacted"
	interchangeRecords = 100
)

// compact writes each topic's records twice, waits until the first ones are gone,
// and ends the compaction, so that clients may write as to any other topic.
func compact(ctx context.Context, bootstrap string, topics []string) error {
	for range 2 {
		client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
		if err != nil {
			return err
		}
		for _, topic := range topics {
			var records []*kgo.Record
			for i := range interchangeRecords {
				key := fmt.Sprintf("%s-%d", compactedWriter, i)
				records = append(records, &kgo.Record{
					Topic: topic, Key: []byte(key), Value: []byte(key + "-" + strings.Repeat("x", 200)),
					Headers: []kgo.RecordHeader{{Key: "compat", Value: []byte(compactedWriter)}},
				})
			}
			if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
				client.Close()
				return err
			}
		}
		client.Close()
	}
	for _, topic := range topics {
		for {
			first, err := firstOffset(ctx, bootstrap, topic)
			if err != nil {
				return fmt.Errorf("%s is not compacted: %w", topic, err)
			}
			if first >= interchangeRecords {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is not compacted: it begins at %d: %w", topic, first, ctx.Err())
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	altered, err := kadm.NewClient(client).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: new("delete")}}, topics...)
	for _, a := range altered {
		err = errors.Join(err, a.Err)
	}
	return err
}

// firstOffset is that of the first record that a consumer gets.
func firstOffset(ctx context.Context, bootstrap, topic string) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, err
		}
		if records := fetches.Records(); len(records) > 0 {
			return records[0].Offset, nil
		}
	}
}

// namedWriters tells the readers whose records they must find.
func namedWriters(_ context.Context, t *trial) ([]string, func(context.Context, []driver) error, error) {
	var writers []string
	for key, c := range t.found {
		if c.cells[interchangeWrite].OK {
			writers = append(writers, key)
		}
	}
	gone := 0
	if t.compacted {
		writers, gone = append(writers, compactedWriter), interchangeRecords
	}
	slices.Sort(writers)
	return []string{"COMPAT_INTERCHANGE=" + strings.Join(writers, ","), fmt.Sprint("COMPAT_GONE=", gone)}, nil, nil
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
		if err := t.server.Crash(); err != nil {
			return err
		}
		if err := t.server.Start(ctx); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "restarted"), nil, 0o644)
	}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

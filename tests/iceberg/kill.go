package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// killFor is how long compactors are killed for.
const killFor = 8 * time.Second

// kill: compactors are killed at any moment, also in the middle of a commit,
// while records come. In the end each record is a row once, and every snapshot
// that the table has can be read.
func (s *story) kill(ctx context.Context) error {
	const topic = "killed"
	if err := s.create(ctx, topic, 3, "columnar.partitioning", "none"); err != nil {
		return err
	}
	var g errgroup.Group
	ends := time.Now().Add(killFor)
	kills := 0
	g.Go(func() error {
		pause := time.NewTimer(0)
		defer pause.Stop()
		for time.Now().Before(ends) {
			pause.Reset(time.Duration(300+rand.IntN(700)) * time.Millisecond)
			select {
			case <-pause.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			c := s.cluster.Compactors[kills%len(s.cluster.Compactors)]
			c.Kill()
			kills++
			if err := c.Start(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	for time.Now().Before(ends) {
		if err := s.produce(ctx, topic, moments(30, s.today, s.today.Add(time.Hour)), nil); err != nil {
			return err
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if _, err := s.current(ctx, topic); err != nil {
		return err
	}
	all := s.rows(topic, fields, nil)
	if _, err := s.scan(request{Table: topic, Columns: fields}, all); err != nil {
		return err
	}
	m, err := s.load(ctx, topic)
	if err != nil {
		return err
	}
	ended, read := 0, 0
	for i, snapshot := range m.Snapshots {
		next := make(map[float64]int64)
		for p := range 3 {
			n, err := strconv.ParseInt(snapshot.Summary[fmt.Sprintf("kafka.end-offset.%d", p)], 10, 64)
			if err == nil { // else the snapshot is on the way to another one, or the partition had no file yet
				next[float64(p)] = n
			}
		}
		if len(next) > 0 {
			ended++
		}
		if len(next) == 0 || i%10 > 0 && i < len(m.Snapshots)-3 {
			continue
		}
		read++
		want := slices.DeleteFunc(slices.Clone(all), func(row []any) bool { return int64(row[1].(float64)) >= next[row[0].(float64)] })
		if _, err := s.scan(request{Table: topic, Columns: fields, Snapshot: snapshot.ID}, want); err != nil {
			return err
		}
	}
	if read == 0 {
		return fmt.Errorf("no snapshot of %d tells its offsets", len(m.Snapshots))
	}
	s.say("killed: %d rows after %d kills; %d snapshots, %d tell offsets, %d of these read as they were", len(all), kills, len(m.Snapshots), ended, read)
	return nil
}

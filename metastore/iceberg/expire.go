package iceberg

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// expire takes the snapshots out that were superseded long ago, and discards what
// only they had. It reports whether there were any. The history is one line, so
// what a snapshot has and its successor has not, no later one has. The last one
// that was there before this commit stays: its successors are of this moment.
func (c *commit) expire(ctx context.Context) (bool, error) {
	old := c.kept
	n := expired(old, c.now, c.Retention)
	if n == 0 {
		return false, nil
	}
	ids := make([]int64, n)
	for i := range n {
		ids[i] = old[i].SnapshotID
		if err := c.discardSnapshot(ctx, &old[i], &old[i+1]); err != nil {
			return false, err
		}
	}
	if err := c.build.RemoveSnapshots(ids, true); err != nil {
		return false, fmt.Errorf("expire snapshots: %w", err)
	}
	c.kept = old[n:]
	return true, nil
}

// expired counts the snapshots, from the oldest on, whose successor is as old as
// superseded snapshots are kept for.
func expired(all []table.Snapshot, now time.Time, retention time.Duration) int {
	n := 0
	for n+1 < len(all) && !now.Before(time.UnixMilli(all[n+1].TimestampMs).Add(retention)) {
		n++
	}
	return n
}

// nextExpiry is when the oldest snapshot is to go; zero: it is the only one.
func (c *commit) nextExpiry(m table.Metadata) time.Time {
	if all := m.Snapshots(); len(all) > 1 {
		return time.UnixMilli(all[1].TimestampMs).Add(c.Retention)
	}
	return time.Time{}
}

// discardSnapshot discards what s has and next has not: manifests, files of
// deletes, and its list.
func (c *commit) discardSnapshot(ctx context.Context, s, next *table.Snapshot) error {
	has, err := c.readList(ctx, s)
	if err != nil {
		return err
	}
	keeps, err := c.readList(ctx, next)
	if err != nil {
		return err
	}
	kept := make(map[string]bool)
	for _, m := range keeps {
		kept[m.FilePath()] = true
		if m.ManifestContent() == ice.ManifestContentDeletes {
			entries, err := c.readManifest(ctx, m)
			if err != nil {
				return err
			}
			for _, e := range entries {
				kept[e.DataFile().FilePath()] = true
			}
		}
	}
	for _, m := range has {
		if kept[m.FilePath()] {
			continue
		}
		c.discard(c.object(m.FilePath()))
		if m.ManifestContent() != ice.ManifestContentDeletes {
			continue
		}
		entries, err := c.readManifest(ctx, m)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if path := e.DataFile().FilePath(); !kept[path] {
				c.discard(c.object(path))
			}
		}
	}
	c.discard(c.object(s.ManifestList))
	return nil
}

// oldestRevision is the catalog's revision that the oldest snapshot shows.
func (c *commit) oldestRevision(m table.Metadata) int64 {
	oldest := int64(math.MaxInt64)
	for _, s := range m.Snapshots() {
		revision, err := strconv.ParseInt(s.Summary.Properties[summaryRevision], 10, 64)
		if err != nil {
			return 0 // it holds everything
		}
		oldest = min(oldest, revision)
	}
	return min(oldest, c.src.Revision)
}

package iceberg

import (
	"context"
	"fmt"
	"math"
	"strconv"

	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// expire takes the snapshots out that were superseded long ago, and discards what
// only they had. It reports whether there were any. The history is one line, so
// what a snapshot has and its successor has not, no later one has.
func (c *commit) expire(ctx context.Context) (bool, error) {
	if c.base == nil {
		return false, nil
	}
	old := c.base.Snapshots()
	var ids []int64
	for i := range old {
		if old[i].SnapshotID == c.snapshot.SnapshotID {
			break
		}
		superseded := c.now.UnixMilli()
		if i+1 < len(old) {
			superseded = old[i+1].TimestampMs
		}
		if c.now.UnixMilli()-superseded < c.Retention.Milliseconds() {
			break
		}
		ids = append(ids, old[i].SnapshotID)
	}
	if len(ids) == 0 {
		return false, nil
	}
	for i := range ids {
		next := c.snapshot
		if i+1 < len(old) {
			next = &old[i+1]
		}
		if err := c.discardSnapshot(ctx, &old[i], next); err != nil {
			return false, err
		}
	}
	if err := c.build.RemoveSnapshots(ids, true); err != nil {
		return false, fmt.Errorf("expire snapshots: %w", err)
	}
	return true, nil
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

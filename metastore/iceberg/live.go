package iceberg

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"

	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/chronik-stream/chronik/objstore"
)

// readLive reads what the current snapshot has.
func (c *commit) readLive(ctx context.Context) error {
	if c.snapshot == nil {
		return nil
	}
	var err error
	if c.manifests, err = c.readList(ctx, c.snapshot); err != nil {
		return err
	}
	deletes := make(map[string]*liveDeletes) // by data file
	for _, m := range c.manifests {
		entries, err := c.readManifest(ctx, m)
		if err != nil {
			return err
		}
		for _, e := range entries {
			f := e.DataFile()
			if f.ContentType() == ice.EntryContentData {
				live, err := c.liveFile(f)
				if err != nil {
					return err
				}
				c.live = append(c.live, live)
				c.totals.add(f)
				continue
			}
			object := c.object(f.FilePath())
			name, err := objstore.ParseName(object)
			// In version 2 the bounds of the paths name the one data file.
			path := f.LowerBoundValues()[fieldDeletePath]
			if err != nil || len(path) == 0 {
				return fmt.Errorf("%s is not a file of deletes of ours", f.FilePath())
			}
			deletes[c.object(string(path))] = &liveDeletes{
				object: object, masked: name.Masked, cut: name.Cut, records: f.Count(), size: f.FileSizeBytes(),
			}
			c.deletes[object] = e
			c.totals.add(f)
		}
	}
	for i := range c.live {
		c.live[i].deletes = deletes[c.live[i].object]
	}
	return nil
}

// liveFile is what a manifest says of a data file.
func (c *commit) liveFile(f ice.DataFile) (liveFile, error) {
	object := c.object(f.FilePath())
	name, err := objstore.ParseName(object)
	lower, upper := f.LowerBoundValues()[fieldOffset], f.UpperBoundValues()[fieldOffset]
	if err != nil || len(lower) != 8 || len(upper) != 8 {
		return liveFile{}, fmt.Errorf("%s is not a data file of ours", f.FilePath())
	}
	live := liveFile{
		object: object, partition: name.Partition, spec: int(f.SpecID()), records: f.Count(), size: f.FileSizeBytes(),
		first: int64(binary.LittleEndian.Uint64(lower)), next: int64(binary.LittleEndian.Uint64(upper)) + 1,
	}
	for _, v := range f.Partition() {
		switch n := v.(type) {
		case int32:
			live.value = n
		case ice.Date:
			live.value = int32(n)
		case int:
			live.value = int32(n)
		case int64:
			live.value = int32(n)
		default:
			return liveFile{}, fmt.Errorf("%s is in partition %v, of type %T", f.FilePath(), v, v)
		}
	}
	return live, nil
}

// totals are what a snapshot's summary counts.
type totals struct{ files, records, size, deleteFiles, positionDeletes int64 }

func (t *totals) add(f ice.DataFile) {
	t.size += f.FileSizeBytes()
	if f.ContentType() == ice.EntryContentData {
		t.files++
		t.records += f.Count()
		return
	}
	t.deleteFiles++
	t.positionDeletes += f.Count()
}

// summary tells the totals after a snapshot, and what it added and removed.
func summary(before, added, removed totals) ice.Properties {
	out := ice.Properties{"total-equality-deletes": "0"}
	total := func(key string, n int64) { out[key] = strconv.FormatInt(n, 10) }
	some := func(key string, n int64) {
		if n != 0 {
			total(key, n)
		}
	}
	some("added-data-files", added.files)
	some("added-records", added.records)
	some("added-files-size", added.size)
	some("added-delete-files", added.deleteFiles)
	some("added-position-delete-files", added.deleteFiles)
	some("added-position-deletes", added.positionDeletes)
	some("deleted-data-files", removed.files)
	some("deleted-records", removed.records)
	some("removed-files-size", removed.size)
	some("removed-delete-files", removed.deleteFiles)
	some("removed-position-deletes", removed.positionDeletes)
	total("total-data-files", before.files+added.files-removed.files)
	total("total-records", before.records+added.records-removed.records)
	total("total-files-size", before.size+added.size-removed.size)
	total("total-delete-files", before.deleteFiles+added.deleteFiles-removed.deleteFiles)
	total("total-position-deletes", before.positionDeletes+added.positionDeletes-removed.positionDeletes)
	return out
}

func encodeMetadata(m table.Metadata) ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write metadata: %w", err)
	}
	return data, nil
}

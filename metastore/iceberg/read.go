package iceberg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/objstore"
)

// Wanted tells whether a topic of these settings is a table.
func Wanted(c topicconfig.Columnar) bool { return c.Enabled && c.Iceberg && c.Format == "parquet" }

// Metadata reads the metadata file of a table: its bytes, and its location as
// readers see it.
func Metadata(ctx context.Context, bucket objstore.Bucket, object string) (data []byte, location string, err error) {
	if data, err = bucket.Get(ctx, object, 0, -1); err != nil {
		return nil, "", fmt.Errorf("read %s: %w", object, err)
	}
	m, err := table.ParseMetadataBytes(data)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", object, err)
	}
	root, err := rootOf(m.Location())
	return data, root + object, err
}

// OnlyReferenced is a metadata file without the snapshots that no branch or tag
// names: what a client reads that wants the table as it is now.
func OnlyReferenced(data []byte) ([]byte, error) {
	var m map[string]json.RawMessage
	var snapshots []json.RawMessage
	var refs map[string]struct {
		ID int64 `json:"snapshot-id"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	if len(m["snapshots"]) == 0 {
		return data, nil
	}
	if err := errors.Join(json.Unmarshal(m["snapshots"], &snapshots), json.Unmarshal(m["refs"], &refs)); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	named := make(map[int64]bool)
	for _, r := range refs {
		named[r.ID] = true
	}
	kept := make([]json.RawMessage, 0, len(named))
	for _, s := range snapshots {
		var snapshot struct {
			ID int64 `json:"snapshot-id"`
		}
		if err := json.Unmarshal(s, &snapshot); err != nil {
			return nil, fmt.Errorf("read metadata: %w", err)
		}
		if named[snapshot.ID] {
			kept = append(kept, s)
		}
	}
	var err error
	if m["snapshots"], err = json.Marshal(kept); err != nil {
		return nil, fmt.Errorf("write metadata: %w", err)
	}
	return json.Marshal(m)
}

// rootOf is the location of the bucket that a table's location lies in.
func rootOf(location string) (string, error) {
	i := strings.LastIndex(location, "/"+objstore.TopicPrefix)
	if i < 0 {
		return "", fmt.Errorf("the table's location %s is none of ours", location)
	}
	return location[:i+1], nil
}

// Objects yields all objects of a table's metadata, but not its data files.
func Objects(ctx context.Context, bucket objstore.Bucket, object string, yield func(string)) error {
	data, err := bucket.Get(ctx, object, 0, -1)
	if err != nil {
		return fmt.Errorf("read %s: %w", object, err)
	}
	m, err := table.ParseMetadataBytes(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", object, err)
	}
	root, err := rootOf(m.Location())
	if err != nil {
		return err
	}
	c := &commit{Publisher: &Publisher{Bucket: bucket}, location: root}
	yield(object)
	seen := make(map[string]bool)
	for _, s := range m.Snapshots() {
		yield(c.object(s.ManifestList))
		list, err := c.readList(ctx, &s)
		if err != nil {
			return err
		}
		for _, f := range list {
			if seen[f.FilePath()] {
				continue
			}
			seen[f.FilePath()] = true
			yield(c.object(f.FilePath()))
			if f.ManifestContent() != ice.ManifestContentDeletes {
				continue
			}
			entries, err := c.readManifest(ctx, f)
			if err != nil {
				return err
			}
			for _, e := range entries {
				yield(c.object(e.DataFile().FilePath()))
			}
		}
	}
	return nil
}

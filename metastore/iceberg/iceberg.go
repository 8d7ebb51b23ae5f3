// Package iceberg makes topics Apache Iceberg tables, format version 2, over the
// Parquet files that are there anyway.
//
// A table is a function of the manifests: Publish compares the files that they
// name at one revision of the catalog with those of the table's current snapshot,
// and commits what differs as snapshots, all in one metadata file, which comes to
// life by compare-and-swap of the table's key in the metadata store. So a crash
// at any step leaves orphans and nothing else, a commit that is repeated finds
// nothing to do, and of two at once one wins.
//
// Rows that a cleaning or the log start took out of a file that stays are named in
// position deletes, so readers never get them. Snapshots are kept for a time after
// they were superseded; which data files that holds, the table's key says by a
// revision: see metastore.IcebergTable.
//
// The metadata is built and written with apache/iceberg-go; the choice of files,
// snapshots and statistics is made here. Only this package imports it.
package iceberg

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Publisher commits tables.
type Publisher struct {
	Bucket    objstore.Bucket
	Store     *metastore.Store
	Location  string        // of the bucket as readers see it: s3://bucket/prefix, file:///path
	Retention time.Duration // for which a snapshot is kept after it was superseded
	Grace     time.Duration // from an object's last use to its deletion
	Now       func() time.Time
	NewID     func() ulid.ULID
}

// Source is a topic at one revision of the catalog.
type Source struct {
	Topic        *metastore.Topic
	Revision     int64
	Seen         metastore.IcebergTable // at that revision; zero: no table yet
	Partitioning string                 // none, daily, hourly
	Fixed        map[string]string      // columnar.json_schema
	Sections     []manifest.Section     // of all partitions that have one
}

// The keys of snapshot summaries that are ours.
const (
	summaryRevision = "chronik.revision"
	summaryEnd      = "kafka.end-offset."
	summaryStart    = "kafka.start-offset."

	// summaryPartitionsMax is how many partitions a topic may have whose summaries
	// tell their offsets: all summaries are in each metadata file. Of others the
	// bounds of the files' columns tell.
	summaryPartitionsMax = 64
)

// Result is a table after Publish.
type Result struct {
	Object  string // its metadata file
	Changed bool
	Created bool      // it is new and shows nothing of the source yet
	Expires time.Time // when there is more to do without another source; zero: never
}

// Publish brings a topic's table up to the source. Errors: metastore.ErrConflict
// when somebody else was first.
//
// A topic without a table gets an empty one, whatever the source has. From then
// on no data file goes that is named at the revision of a later source; before
// that one could go between the source and the commit. [table-first]
func (p *Publisher) Publish(ctx context.Context, src Source) (Result, error) {
	c := &commit{Publisher: p, src: src, now: p.Now(), location: strings.TrimSuffix(p.Location, "/") + "/"}
	err := c.begin(ctx)
	if err == nil {
		err = c.run(ctx)
	}
	if err != nil {
		return Result{}, fmt.Errorf("publish %s: %w", src.Topic.Name, err)
	}
	return c.result, nil
}

// commit is one attempt at one table.
type commit struct {
	*Publisher
	src      Source
	now      time.Time
	location string // of the bucket, with a slash

	base      table.Metadata // nil: a new table
	build     *table.MetadataBuilder
	schema    *ice.Schema
	specs     []ice.PartitionSpec
	manifests []ice.ManifestFile // of the newest snapshot
	live      []liveFile
	deletes   map[string]ice.ManifestEntry // of live files of deletes, by object
	totals    totals
	snapshot  *table.Snapshot  // the newest
	kept      []table.Snapshot // of base's
	deletions []metastore.Deletion
	result    Result
}

// begin reads the table as it is.
func (c *commit) begin(ctx context.Context) error {
	c.deletes = make(map[string]ice.ManifestEntry)
	if c.src.Seen.Object == "" {
		return c.create()
	}
	data, err := c.Bucket.Get(ctx, c.src.Seen.Object, 0, -1)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.src.Seen.Object, err)
	}
	base, err := table.ParseMetadataBytes(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.src.Seen.Object, err)
	}
	if base.Location() != c.tableLocation() {
		return c.create() // the bucket is seen elsewhere now: all names change
	}
	c.base = base
	if c.build, err = table.MetadataBuilderFromBase(base, ""); err != nil {
		return err
	}
	c.schema, c.specs = base.CurrentSchema(), base.PartitionSpecs()
	c.snapshot, c.kept = base.CurrentSnapshot(), base.Snapshots()
	return c.readLive(ctx)
}

func (c *commit) tableLocation() string {
	return c.location + strings.TrimSuffix(objstore.PrefixOfTopic(c.src.Topic.ID), "/")
}

// create begins a table that has nothing yet.
func (c *commit) create() error {
	var err error
	if c.build, err = table.NewMetadataBuilder(2); err != nil {
		return err
	}
	c.schema = schemaOf(nil, nil)
	steps := []func() error{
		func() error { return c.build.SetUUID(uuid.UUID(c.src.Topic.ID)) },
		func() error { return c.build.SetLoc(c.tableLocation()) },
		func() error { return c.build.AddSchema(c.schema) },
		func() error { return c.build.SetCurrentSchemaID(-1) },
	}
	for id, spec := range specs() {
		steps = append(steps, func() error { return c.build.AddPartitionSpec(&spec, id == 0) })
	}
	steps = append(steps,
		func() error { return c.build.SetDefaultSpecID(specNone) },
		func() error { return c.build.AddSortOrder(&table.UnsortedSortOrder) },
		func() error { return c.build.SetDefaultSortOrderID(0) },
		func() error {
			return c.build.SetProperties(ice.Properties{"chronik.topic": c.src.Topic.Name, "write.parquet.compression-codec": "zstd"})
		},
	)
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("make a table: %w", err)
		}
	}
	c.specs = specs()
	return nil
}

// run carries out what there is to do.
func (c *commit) run(ctx context.Context) error {
	c.result.Created = c.src.Seen.Object == ""
	if c.result.Created {
		c.src.Sections = nil // [table-first]
	}
	wanted, err := wantedFiles(c.src)
	if err != nil {
		return err
	}
	evolved, err := c.evolve(wanted)
	if err != nil {
		return err
	}
	steps := changes(c.live, wanted)
	if updated := c.updated(); len(steps) == 0 && c.now.Before(updated) {
		// A change without a snapshot would have this machine's time, which is behind.
		c.result.Object, c.result.Expires = c.src.Seen.Object, updated
		return nil
	}
	for i, s := range steps {
		if err := c.snap(ctx, s, i == len(steps)-1); err != nil {
			return err
		}
	}
	expired, err := c.expire(ctx)
	if err != nil {
		return err
	}
	if c.base == nil || evolved || len(steps) > 0 || expired {
		return c.commit(ctx)
	}
	c.result.Object, c.result.Expires = c.src.Seen.Object, c.nextExpiry(c.base)
	return nil
}

// wantedFiles are the data files that the manifests name.
func wantedFiles(src Source) ([]file, error) {
	var wanted []file
	for i := range src.Sections {
		s := &src.Sections[i]
		for _, f := range s.Columnar {
			if f.Next <= s.LogStart || f.Format != "" && f.Format != "parquet" {
				continue
			}
			spec, value, err := partitionOf(f.TimePartition)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Object, err)
			}
			w := file{File: f, partition: s.Partition, spec: spec, value: value}
			if f.First < s.LogStart {
				w.cut = s.LogStart
			}
			wanted = append(wanted, w)
		}
	}
	return wanted, nil
}

// evolve brings schema and partition spec up to the files and settings.
func (c *commit) evolve(wanted []file) (bool, error) {
	changed := false
	schema := schemaOf(tableColumns(wanted, c.src.Fixed), c.schema)
	if !schema.Equals(c.schema) {
		if err := errors.Join(c.build.AddSchema(schema), c.build.SetCurrentSchemaID(-1)); err != nil {
			return false, fmt.Errorf("evolve the schema: %w", err)
		}
		changed = true
	}
	c.schema = c.build.CurrentSchema()
	spec, err := specOf(c.src.Partitioning)
	if err != nil {
		return false, err
	}
	if c.base == nil || c.base.DefaultPartitionSpec() != spec {
		if err := c.build.SetDefaultSpecID(spec); err != nil {
			return false, fmt.Errorf("evolve the partition spec: %w", err)
		}
		changed = true
	}
	return changed, nil
}

// commit stores the metadata and swaps the table's key.
func (c *commit) commit(ctx context.Context) error {
	if err := c.forgetSchemas(); err != nil {
		return err
	}
	built, err := c.build.Build()
	if err != nil {
		return fmt.Errorf("build metadata: %w", err)
	}
	data, err := encodeMetadata(built)
	if err != nil {
		return err
	}
	name := objstore.IcebergName(c.src.Topic.ID, objstore.KindIcebergMetadata, c.NewID())
	if err := c.put(ctx, name, data); err != nil {
		return err
	}
	next := metastore.IcebergTable{Object: name, Version: c.src.Seen.Version + 1, Revision: c.oldestRevision(built), Shown: c.src.Revision}
	if c.result.Created {
		next.Shown = 0 // it shows nothing of the source
	}
	if c.base != nil {
		next.Revision = max(next.Revision, c.src.Seen.Revision)
	}
	if c.src.Seen.Object != "" {
		c.discard(c.src.Seen.Object)
	}
	if err := c.Store.SwapIceberg(ctx, c.src.Topic.ID, c.src.Seen, next, c.deletions); err != nil {
		return err
	}
	c.result.Object, c.result.Changed, c.result.Expires = name, true, c.nextExpiry(built)
	return nil
}

// updated is when the table was changed last, by the clock of whoever did. A
// table's times never fall, so those who come after go by it while theirs is behind.
func (c *commit) updated() time.Time {
	var at int64
	if c.base != nil {
		at = c.base.LastUpdatedMillis()
	}
	if c.snapshot != nil {
		at = max(at, c.snapshot.TimestampMs)
	}
	return time.UnixMilli(at)
}

// forgetSchemas takes those out of the metadata that no snapshot has any more.
func (c *commit) forgetSchemas() error {
	if c.base == nil {
		return nil
	}
	used := map[int]bool{c.build.CurrentSchema().ID: true}
	for _, s := range c.kept {
		if s.SchemaID != nil {
			used[*s.SchemaID] = true
		}
	}
	var unused []int
	for _, s := range c.base.Schemas() {
		if !used[s.ID] {
			unused = append(unused, s.ID)
		}
	}
	if err := c.build.RemoveSchemas(unused); err != nil {
		return fmt.Errorf("forget schemas: %w", err)
	}
	return nil
}

// discard marks an object for deletion with the commit.
func (c *commit) discard(object string) {
	c.deletions = append(c.deletions, metastore.Deletion{Object: object, NotBefore: c.now.Add(c.Grace)})
}

func (c *commit) put(ctx context.Context, name string, data []byte) error {
	if _, err := c.Bucket.Put(ctx, name, objstore.Bytes(data), objstore.Condition{IfAbsent: true}); err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	return nil
}

// object is the name in the bucket of what a table calls by its location.
func (c *commit) object(location string) string { return strings.TrimPrefix(location, c.location) }

// readManifest reads the entries of a manifest that are live.
func (c *commit) readManifest(ctx context.Context, m ice.ManifestFile) ([]ice.ManifestEntry, error) {
	data, err := c.Bucket.Get(ctx, c.object(m.FilePath()), 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.FilePath(), err)
	}
	entries, err := ice.ReadManifest(m, bytes.NewReader(data), true)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.FilePath(), err)
	}
	return entries, nil
}

// readList reads a snapshot's list of manifests.
func (c *commit) readList(ctx context.Context, s *table.Snapshot) ([]ice.ManifestFile, error) {
	data, err := c.Bucket.Get(ctx, c.object(s.ManifestList), 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.ManifestList, err)
	}
	list, err := ice.ReadManifestList(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.ManifestList, err)
	}
	return list, nil
}

// newSnapshotID is a positive random number.
func newSnapshotID() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return int64(binary.LittleEndian.Uint64(b[:])>>1) | 1
}

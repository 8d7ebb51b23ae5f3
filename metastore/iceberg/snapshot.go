package iceberg

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/parquet/metadata"
	ice "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/objstore"
)

const (
	// mergeFrom is how many manifests of one kind with free room are merged.
	mergeFrom         = 16
	manifestBytesFull = 8 << 20
	// manifestFilesMax bounds the files that a new manifest names.
	manifestFilesMax = 2000
	footersAtOnce    = 16
)

// snap makes a step the newest snapshot; last is whether the table is then as the
// source wants it.
func (c *commit) snap(ctx context.Context, s step, last bool) error {
	id := newSnapshotID()
	m := &manifestMaker{commit: c, id: id, removed: make(map[string]bool), added: make(map[int][]ice.DataFile)}
	for _, f := range s.remove {
		m.removed[f.object] = true
		if f.deletes != nil {
			m.removed[f.deletes.object] = true
		}
	}
	for _, d := range s.redone {
		m.removed[d.object] = true
	}
	described, err := c.dataFiles(ctx, s.add)
	if err != nil {
		return err
	}
	for i, f := range s.add {
		m.addData(f.spec, described[i])
	}
	for _, f := range s.redo {
		if err := m.addDeletes(ctx, f); err != nil {
			return err
		}
	}
	manifests, err := m.make(ctx)
	if err != nil {
		return err
	}
	properties := summary(c.totals, m.addedTotals, m.removedTotals)
	c.tell(properties, last)
	return c.addSnapshot(ctx, id, &table.Summary{Operation: s.operation, Properties: properties}, manifests, m.addedTotals, m.removedTotals)
}

// tell puts into a summary what the snapshot shows of the source: its revision,
// and which offsets. A snapshot on the way to the last one of a commit may lack
// records, and may have files that lost their names by that revision: it tells no
// offsets, and the revision of the snapshot before.
func (c *commit) tell(properties ice.Properties, last bool) {
	if !last && c.snapshot != nil {
		properties[summaryRevision] = c.snapshot.Summary.Properties[summaryRevision]
		return
	}
	properties[summaryRevision] = strconv.FormatInt(c.src.Revision, 10)
	if len(c.src.Sections) > summaryPartitionsMax {
		return
	}
	for i := range c.src.Sections {
		s := &c.src.Sections[i]
		index := strconv.Itoa(int(s.Partition.Index))
		properties[summaryEnd+index] = strconv.FormatInt(s.Marks.Columnar, 10)
		properties[summaryStart+index] = strconv.FormatInt(s.LogStart, 10)
	}
}

// addSnapshot stores the list of manifests and adds the snapshot to the metadata.
func (c *commit) addSnapshot(ctx context.Context, id int64, summary *table.Summary, manifests []ice.ManifestFile, added, removed totals) error {
	var parent *int64
	sequence, at := int64(1), max(c.now.UnixMilli(), c.updated().UnixMilli())
	if c.snapshot != nil {
		parent = &c.snapshot.SnapshotID
		sequence, at = c.snapshot.SequenceNumber+1, max(at, c.snapshot.TimestampMs+1)
	}
	var list bytes.Buffer
	if err := ice.WriteManifestList(2, &list, id, parent, &sequence, 0, manifests); err != nil {
		return fmt.Errorf("write a list of manifests: %w", err)
	}
	name := objstore.IcebergName(c.src.Topic.ID, objstore.KindIcebergList, c.NewID())
	if err := c.put(ctx, name, list.Bytes()); err != nil {
		return err
	}
	schema := c.schema.ID
	snapshot := &table.Snapshot{
		SnapshotID: id, ParentSnapshotID: parent, SequenceNumber: sequence, TimestampMs: at, ManifestList: c.location + name,
		Summary: summary, SchemaID: &schema,
	}
	if err := errors.Join(c.build.AddSnapshot(snapshot), c.build.SetSnapshotRef(table.MainBranch, id, table.BranchRef)); err != nil {
		return fmt.Errorf("add a snapshot: %w", err)
	}
	c.snapshot = snapshot
	// As readers see it: what is inherited is filled in.
	var err error
	c.manifests, err = ice.ReadManifestList(bytes.NewReader(list.Bytes()))
	c.totals = totals{
		c.totals.files + added.files - removed.files, c.totals.records + added.records - removed.records,
		c.totals.size + added.size - removed.size, c.totals.deleteFiles + added.deleteFiles - removed.deleteFiles,
		c.totals.positionDeletes + added.positionDeletes - removed.positionDeletes,
	}
	return err
}

// dataFiles describes files, some at once: a topic that becomes a table may have
// thousands.
func (c *commit) dataFiles(ctx context.Context, files []*file) ([]ice.DataFile, error) {
	out := make([]ice.DataFile, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(footersAtOnce)
	for i, f := range files {
		g.Go(func() (err error) {
			out[i], err = c.dataFile(ctx, f)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// dataFile describes a Parquet file by its footer.
func (c *commit) dataFile(ctx context.Context, f *file) (ice.DataFile, error) {
	footer, err := c.footer(ctx, f.Object, f.Size)
	if err != nil {
		return nil, err
	}
	if footer.NumRows != f.Records {
		return nil, fmt.Errorf("%s has %d rows, its manifest says %d", f.Object, footer.NumRows, f.Records)
	}
	m, err := measure(footer, &f.File, f.partition.Index)
	if err != nil {
		return nil, fmt.Errorf("read the footer of %s: %w", f.Object, err)
	}
	b, err := ice.NewDataFileBuilder(c.specs[f.spec], ice.EntryContentData, c.location+f.Object, ice.ParquetFile,
		partitionValues(f.spec, f.value), nil, nil, f.Records, f.Size)
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", f.Object, err)
	}
	return b.ColumnSizes(m.sizes).ValueCounts(m.values).NullValueCounts(m.nulls).
		LowerBoundValues(m.lower).UpperBoundValues(m.upper).SplitOffsets(m.splits).Build(), nil
}

// footerGuess is what is read of a file's end at first.
const footerGuess = 64 << 10

// footer reads a Parquet file's footer. Its errors are those of offsets.
func (c *commit) footer(ctx context.Context, object string, size int64) (*metadata.FileMetaData, error) {
	footer, err := c.readFooter(ctx, object, size)
	return footer, ofFile(ctx, object, err)
}

func (c *commit) readFooter(ctx context.Context, object string, size int64) (*metadata.FileMetaData, error) {
	const trailer = 8 // length and magic
	tail, err := c.Bucket.Get(ctx, object, max(0, size-footerGuess), min(size, footerGuess))
	if err != nil {
		return nil, fmt.Errorf("read the footer of %s: %w", object, err)
	}
	if len(tail) < trailer || string(tail[len(tail)-4:]) != "PAR1" {
		return nil, fmt.Errorf("%s does not end as a Parquet file", object)
	}
	length := int64(binary.LittleEndian.Uint32(tail[len(tail)-trailer:]))
	if length+trailer > size {
		return nil, fmt.Errorf("%s has %d bytes and says that its footer has %d", object, size, length)
	}
	if length+trailer > int64(len(tail)) {
		if tail, err = c.Bucket.Get(ctx, object, size-trailer-length, length+trailer); err != nil {
			return nil, fmt.Errorf("read the footer of %s: %w", object, err)
		}
	}
	end := len(tail) - trailer
	footer, err := metadata.NewFileMetaData(tail[end-int(length):end], nil)
	if err != nil {
		return nil, fmt.Errorf("read the footer of %s: %w", object, err)
	}
	return footer, nil
}

// manifestMaker makes the manifests of one snapshot.
type manifestMaker struct {
	*commit
	id            int64
	removed       map[string]bool // objects
	added         map[int][]ice.DataFile
	addedDeletes  []ice.DataFile
	addedTotals   totals
	removedTotals totals
}

func (m *manifestMaker) addData(spec int, f ice.DataFile) {
	m.added[spec] = append(m.added[spec], f)
	m.addedTotals.add(f)
}

// make makes those that change, and keeps the others: first what is added, then
// what was there.
func (m *manifestMaker) make(ctx context.Context) ([]ice.ManifestFile, error) {
	var out []ice.ManifestFile
	for spec := range m.specs {
		for files := range slices.Chunk(m.added[spec], manifestFilesMax) {
			var entries []ice.ManifestEntry
			for _, f := range files {
				entries = append(entries, ice.NewManifestEntry(ice.EntryStatusADDED, &m.id, nil, nil, f))
			}
			made, err := m.write(ctx, spec, ice.ManifestContentData, entries)
			if err != nil {
				return nil, err
			}
			out = append(out, made)
		}
	}
	free := make(map[manifestKind][]ice.ManifestFile) // to be merged, if they are many
	for _, old := range m.manifests {
		if !old.HasAddedFiles() && !old.HasExistingFiles() {
			continue // it told the last snapshot what that removed
		}
		entries, touched, err := m.without(ctx, old)
		switch {
		case err != nil:
			return nil, err
		case touched:
			made, err := m.write(ctx, int(old.PartitionSpecID()), old.ManifestContent(), entries)
			if err != nil {
				return nil, err
			}
			out = append(out, made)
		case old.Length() < manifestBytesFull:
			kind := manifestKind{int(old.PartitionSpecID()), old.ManifestContent()}
			free[kind] = append(free[kind], old)
		default:
			out = append(out, old)
		}
	}
	if len(m.addedDeletes) > 0 {
		made, err := m.writeDeletes(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, made...)
	}
	for kind, manifests := range free {
		merged, err := m.merge(ctx, kind, manifests)
		if err != nil {
			return nil, err
		}
		out = append(out, merged...)
	}
	return out, nil
}

// without reads a manifest if something of it goes, and says of each entry
// whether it stays.
func (m *manifestMaker) without(ctx context.Context, old ice.ManifestFile) (entries []ice.ManifestEntry, touched bool, err error) {
	if len(m.removed) == 0 {
		return nil, false, nil
	}
	read, err := m.readManifest(ctx, old)
	if err != nil {
		return nil, false, err
	}
	for _, e := range read {
		status, snapshot := ice.EntryStatusEXISTING, e.SnapshotID()
		if m.removed[m.object(e.DataFile().FilePath())] {
			status, snapshot, touched = ice.EntryStatusDELETED, m.id, true
			m.removedTotals.add(e.DataFile())
		}
		sequence := e.SequenceNum()
		entries = append(entries, ice.NewManifestEntry(status, &snapshot, &sequence, e.FileSequenceNum(), e.DataFile()))
	}
	return entries, touched, nil
}

// manifestKind are manifests that can be one.
type manifestKind struct {
	spec    int
	content ice.ManifestContent
}

// merge makes full manifests of many small ones.
func (m *manifestMaker) merge(ctx context.Context, kind manifestKind, manifests []ice.ManifestFile) ([]ice.ManifestFile, error) {
	if len(manifests) < mergeFrom {
		return manifests, nil
	}
	var out []ice.ManifestFile
	for len(manifests) > 0 {
		var entries []ice.ManifestEntry
		for size := int64(0); len(manifests) > 0 && size < manifestBytesFull; manifests = manifests[1:] {
			read, err := m.readManifest(ctx, manifests[0])
			if err != nil {
				return nil, err
			}
			for _, e := range read {
				sequence, snapshot := e.SequenceNum(), e.SnapshotID()
				entries = append(entries, ice.NewManifestEntry(ice.EntryStatusEXISTING, &snapshot, &sequence, e.FileSequenceNum(), e.DataFile()))
			}
			size += manifests[0].Length()
		}
		made, err := m.write(ctx, kind.spec, kind.content, entries)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

// writeDeletes makes a manifest for each spec of the new files of deletes.
func (m *manifestMaker) writeDeletes(ctx context.Context) ([]ice.ManifestFile, error) {
	bySpec := make(map[int][]ice.ManifestEntry)
	for _, f := range m.addedDeletes {
		spec := int(f.SpecID())
		bySpec[spec] = append(bySpec[spec], ice.NewManifestEntry(ice.EntryStatusADDED, &m.id, nil, nil, f))
	}
	var out []ice.ManifestFile
	for spec, entries := range bySpec {
		made, err := m.write(ctx, spec, ice.ManifestContentDeletes, entries)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

// write stores a manifest.
func (m *manifestMaker) write(ctx context.Context, spec int, content ice.ManifestContent, entries []ice.ManifestEntry) (ice.ManifestFile, error) {
	var out bytes.Buffer
	w, err := ice.NewManifestWriter(2, &out, m.specs[spec], m.schema, m.id, ice.WithManifestWriterContent(content))
	if err != nil {
		return nil, fmt.Errorf("write a manifest: %w", err)
	}
	for _, e := range entries {
		switch e.Status() {
		case ice.EntryStatusADDED:
			err = w.Add(e)
		case ice.EntryStatusDELETED:
			err = w.Delete(e)
		default:
			err = w.Existing(e)
		}
		if err != nil {
			return nil, fmt.Errorf("write a manifest: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write a manifest: %w", err)
	}
	name := objstore.IcebergName(m.src.Topic.ID, objstore.KindIcebergManifest, m.NewID())
	if err := m.put(ctx, name, out.Bytes()); err != nil {
		return nil, err
	}
	return w.ToManifestFile(m.location+name, int64(out.Len()))
}

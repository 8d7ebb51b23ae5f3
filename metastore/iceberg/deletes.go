package iceberg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	pfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
	ice "github.com/apache/iceberg-go"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/parquetfile"
	"github.com/chronik-stream/chronik/objstore"
)

// The columns of position deletes, as Iceberg reserves them.
const (
	fieldDeletePath     = 2147483546
	fieldDeletePosition = 2147483545
)

// addDeletes stores the positions of a data file's rows that are no more.
func (m *manifestMaker) addDeletes(ctx context.Context, f *file) error {
	positions, err := m.positions(ctx, f)
	if err != nil {
		return fmt.Errorf("read the rows of %s that are no more: %w", f.Object, err)
	}
	if len(positions) == 0 {
		return fmt.Errorf("%s has %d masked rows and is cut at %d, and none of its rows is", f.Object, f.Masked, f.cut)
	}
	path := m.location + f.Object
	data, err := writePositions(path, positions)
	if err != nil {
		return err
	}
	name := objstore.IcebergDeletesName(m.src.Topic.ID, m.NewID(), f.Masked, f.cut)
	if err := m.put(ctx, name, data); err != nil {
		return err
	}
	b, err := ice.NewDataFileBuilder(m.specs[f.spec], ice.EntryContentPosDeletes, m.location+name, ice.ParquetFile,
		partitionValues(f.spec, f.value), nil, nil, int64(len(positions)), int64(len(data)))
	if err != nil {
		return fmt.Errorf("describe %s: %w", name, err)
	}
	bounds := func(position int64) map[int][]byte {
		return map[int][]byte{fieldDeletePath: []byte(path), fieldDeletePosition: int64Bytes(position)}
	}
	deletes := b.ReferencedDataFile(path).LowerBoundValues(bounds(positions[0])).UpperBoundValues(bounds(positions[len(positions)-1])).Build()
	m.addedDeletes = append(m.addedDeletes, deletes)
	m.addedTotals.add(deletes)
	return nil
}

// positions are those of the rows below the cut and of the masked ones. Rows lie
// in order of offset.
func (c *commit) positions(ctx context.Context, f *file) ([]int64, error) {
	masked := make(map[int64]bool)
	for i := range c.src.Sections {
		if c.src.Sections[i].Partition != f.partition {
			continue
		}
		for _, mask := range c.src.Sections[i].Masks {
			if f.Masked == 0 || mask.First >= f.Next || mask.Next <= f.First {
				continue
			}
			offsets, err := c.offsets(ctx, mask, c.wholeReader)
			if err != nil {
				return nil, err
			}
			for _, offset := range offsets {
				if offset >= f.First && offset < f.Next { // a mask may be of many files
					masked[offset] = true
				}
			}
		}
	}
	offsets, err := c.offsets(ctx, f.File, c.columnReader)
	if err != nil {
		return nil, err
	}
	var positions []int64
	for i, offset := range offsets {
		if offset < f.cut || masked[offset] {
			positions = append(positions, int64(i))
		}
	}
	return positions, nil
}

// FileError is about a file of the table that cannot be read as what it should be:
// it is damaged or missing.
type FileError struct {
	Object string
	Err    error
}

// Error implements error.
func (e *FileError) Error() string { return e.Err.Error() }

// Unwrap gives errors.Is and errors.As what was wrong.
func (e *FileError) Unwrap() error { return e.Err }

// offsets reads the column _offset of a file, and no other. Of a file that cannot
// be read although the bucket answers the error is a *FileError.
func (c *commit) offsets(ctx context.Context, f manifest.File, open opener) ([]int64, error) {
	from, err := open(ctx, f)
	var all []int64
	if err == nil {
		if all, err = columnar.ReadOffsets(from); err != nil {
			err = fmt.Errorf("%s: %w", f.Object, err)
		}
	}
	return all, ofFile(ctx, f.Object, err)
}

// ofFile makes a *FileError of an error, unless the bucket did not answer.
func ofFile(ctx context.Context, object string, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, objstore.ErrUnavailable) {
		return err
	}
	return &FileError{object, err}
}

// opener opens a file of the table.
type opener func(context.Context, manifest.File) (parquet.ReaderAtSeeker, error)

const offsetColumn = "_offset"

// columnReader has read the column _offset of a file, and held it against the
// checksums in the footer. Files of the first version have none there.
func (c *commit) columnReader(ctx context.Context, f manifest.File) (parquet.ReaderAtSeeker, error) {
	from := &objectReader{ctx: ctx, bucket: c.Bucket, name: f.Object, size: f.Size}
	end, err := from.get(max(0, f.Size-footerGuess), min(f.Size, footerGuess))
	if err != nil {
		return nil, err
	}
	length, err := parquetfile.Length(end, f.Size)
	if err == nil && length > int64(len(end)) {
		end, err = from.get(f.Size-length, length)
	}
	if err != nil {
		return nil, format.In(f.Object, err)
	}
	footer, ok, err := parquetfile.Parse(end, f.Size)
	if err != nil {
		return nil, format.In(f.Object, err)
	}
	if !ok {
		return from, nil
	}
	groups, leaves := make([]int, footer.Groups()), make([]bool, len(footer.Leaves))
	for g := range groups {
		groups[g] = g
	}
	for i, leaf := range footer.Leaves {
		leaves[i] = leaf.Path == offsetColumn
	}
	plan := footer.Assemble(groups, leaves)
	data := make([]byte, plan.Size)
	copy(data, plan.Head)
	copy(data[plan.Size-int64(len(plan.Tail)):], plan.Tail)
	for _, piece := range plan.Pieces {
		b, err := from.get(piece.Offset, piece.Length)
		if err != nil {
			return nil, err
		}
		if crc := crc32.Checksum(b, format.Castagnoli); crc != piece.CRC {
			return nil, format.In(f.Object, format.Corrupt(piece.Offset, "CRC-32C %08x, the footer says %08x", crc, piece.CRC))
		}
		copy(data[piece.At:], b)
	}
	return bytes.NewReader(data), nil
}

// wholeReader has read all of a file and held it against its checksum. A mask is
// little else than its offsets.
func (c *commit) wholeReader(ctx context.Context, f manifest.File) (parquet.ReaderAtSeeker, error) {
	data, err := c.Bucket.Get(ctx, f.Object, 0, f.Size)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Object, err)
	}
	if crc := crc32.Checksum(data, format.Castagnoli); crc != f.CRC {
		return nil, format.In(f.Object, format.Corrupt(0, "CRC-32C %08x, the manifest says %08x", crc, f.CRC))
	}
	return bytes.NewReader(data), nil
}

// writePositions writes a file of position deletes of one data file.
func writePositions(path string, positions []int64) ([]byte, error) {
	text, err := schema.NewPrimitiveNodeLogical("file_path", parquet.Repetitions.Required, schema.StringLogicalType{}, parquet.Types.ByteArray, -1, fieldDeletePath)
	if err != nil {
		return nil, fmt.Errorf("write positions: %w", err)
	}
	position, err := schema.NewPrimitiveNodeLogical("pos", parquet.Repetitions.Required, schema.NewIntLogicalType(64, true), parquet.Types.Int64, -1, fieldDeletePosition)
	if err != nil {
		return nil, fmt.Errorf("write positions: %w", err)
	}
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, schema.FieldList{text, position}, -1)
	if err != nil {
		return nil, fmt.Errorf("write positions: %w", err)
	}
	paths := make([]parquet.ByteArray, len(positions))
	for i := range paths {
		paths[i] = parquet.ByteArray(path)
	}
	var out bytes.Buffer
	w := pfile.NewParquetWriter(&out, root, pfile.WithWriterProps(parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDictionaryFor("pos", false), parquet.WithEncodingFor("pos", parquet.Encodings.DeltaBinaryPacked))))
	group, err := w.AppendRowGroupChecked()
	if err != nil {
		return nil, fmt.Errorf("write positions: %w", err)
	}
	for range 2 {
		column, err := group.NextColumn()
		if err != nil {
			return nil, fmt.Errorf("write positions: %w", err)
		}
		switch column := column.(type) {
		case *pfile.ByteArrayColumnChunkWriter:
			_, err = column.WriteBatch(paths, nil, nil)
		case *pfile.Int64ColumnChunkWriter:
			_, err = column.WriteBatch(positions, nil, nil)
		}
		if err == nil {
			err = column.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("write positions: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write positions: %w", err)
	}
	return out.Bytes(), nil
}

// objectReader reads ranges of an object, one request each.
type objectReader struct {
	ctx    context.Context
	bucket objstore.Bucket
	name   string
	size   int64
	at     int64
}

// get reads so many bytes.
func (r *objectReader) get(offset, length int64) ([]byte, error) {
	b := make([]byte, length)
	if _, err := r.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("read %s at byte %d: %w", r.name, offset, err)
	}
	return b, nil
}

func (r *objectReader) ReadAt(p []byte, offset int64) (int, error) {
	n := min(int64(len(p)), r.size-offset)
	if n <= 0 {
		return 0, io.EOF
	}
	data, err := r.bucket.Get(r.ctx, r.name, offset, n)
	if err != nil {
		return 0, err
	}
	if copied := copy(p, data); copied < len(p) {
		return copied, io.EOF
	}
	return len(p), nil
}

func (r *objectReader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.at)
	r.at += int64(n)
	return n, err
}

func (r *objectReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	r.at = offset
	return offset, nil
}

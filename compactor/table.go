package compactor

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/objstore"
)

// mergeTable makes one columnar file of neighbours in a time partition, out of
// the log.
func (p *pass) mergeTable(ctx context.Context) error {
	p.metrics.merges.WithLabelValues(tables.name).Inc()
	return p.remakeFiles(ctx, tables, p.plan.mergeColumnar)
}

// partitioningOf reads off a time partition's name how files were parted.
func partitioningOf(name string) columnar.Partitioning {
	switch len(name) {
	case len("2006-01-02"):
		return columnar.Daily
	case len("2006-01-02T15"):
		return columnar.Hourly
	}
	return columnar.Unpartitioned
}

// tableOptions are what the topic's configuration asks for.
func (p *pass) tableOptions() (columnar.Options, error) {
	c := p.snap.config.Columnar
	o := columnar.TableOptions(p.section.Topic, p.section.Partition)
	var err error
	if o.Partitioning, err = columnar.ParsePartitioning(c.Partitioning); err != nil {
		return o, err
	}
	o.Format, o.Compression, o.CompressionLevel = c.Format, c.Compression, c.CompressionLevel
	o.RowGroupRows, o.PageBytes = c.RowGroupRows, c.PageBytes
	o.NoDictionary, o.BloomColumns = !c.Dictionary, nil
	if c.BloomFilter {
		o.BloomColumns = c.BloomColumns
	}
	if len(c.DictionaryColumns) > 0 {
		o.DictionaryColumns = c.DictionaryColumns
	}
	switch c.Statistics {
	case "chunk":
		o.Statistics = columnar.ChunkStatistics
	case "none":
		o.Statistics = columnar.NoStatistics
	}
	o.Fixed, err = fixedColumns(c)
	o.Pause = runtime.Gosched
	return o, err
}

func fixedColumns(c topicconfig.Columnar) ([]columnar.Column, error) {
	var fixed []columnar.Column
	for _, field := range slices.Sorted(maps.Keys(c.JSONSchema)) {
		t, err := columnar.ParseType(c.JSONSchema[field])
		if err != nil {
			return nil, fmt.Errorf("columnar.json_schema: field %q: %w", field, err)
		}
		fixed = append(fixed, columnar.Column{Field: field, Type: t})
	}
	return fixed, nil
}

// writeTable makes columnar files of a span and stores them.
func (p *pass) writeTable(ctx context.Context, in *input, sp span, only *string) (written, error) {
	options, err := p.tableOptions()
	if err != nil {
		return written{}, err
	}
	options.First, options.Next = sp.first, sp.next
	if only != nil {
		options.Only, options.Partitioning = only, partitioningOf(*only)
	}
	r, err := p.open(ctx, in)
	if err != nil {
		return written{}, err
	}
	vectors, err := p.tableVectors(ctx, sp)
	if err != nil {
		return written{}, err
	}
	if vectors != nil {
		dimensions := p.snap.wanted().Dimensions
		options.RowGroupRows = min(options.RowGroupRows, embeddedGroupRows)
		options.Embeddings = &columnar.Embeddings{Dimensions: dimensions, Of: vectors.of(dimensions)}
	}
	result, err := columnar.Write(ctx, r.batches(ctx), p.decoder, options, func(string) (io.Writer, error) {
		return &object{id: p.newID()}, nil
	})
	if err != nil {
		return written{}, err
	}
	out := written{files: make([]manifest.File, len(result.Files)), next: result.Next, records: result.Records, unreadable: result.Unreadable}
	for i, f := range result.Files {
		if out.files[i], err = p.storeTable(ctx, f, options.Format); err != nil {
			return written{}, err
		}
		if vectors != nil {
			out.files[i].Settings = vectors.settings
		}
	}
	p.metrics.fieldsLost.Add(float64(result.FieldsLost))
	return out, nil
}

// embeddedGroupRows are the most rows of a row group with vectors.
const embeddedGroupRows = 20_000

func (p *pass) storeTable(ctx context.Context, f columnar.File, format string) (manifest.File, error) {
	o, ok := f.Writer.(*object)
	if !ok {
		return manifest.File{}, fmt.Errorf("a file was written to a %T", f.Writer)
	}
	out := manifest.File{
		Object:        objstore.ParquetName(p.section.Partition, o.id),
		First:         f.First,
		Next:          f.Next,
		Records:       f.Records,
		MinTimestamp:  f.MinTimestamp,
		MaxTimestamp:  f.MaxTimestamp,
		TimePartition: f.TimePartition,
		Format:        format,
		CreatedAt:     p.now.UnixMilli(),
	}
	if format == "arrow" {
		out.Object = objstore.ArrowName(p.section.Partition, o.id)
	}
	out.Columns = columnsOf(f)
	var err error
	out.Size, out.CRC, err = p.put(ctx, columnarName, out.Object, o.parts)
	return out, err
}

// columnsOf are a file's columns as the manifest lists them: those that not every
// file has.
func columnsOf(f columnar.File) (columns []manifest.Column) {
	if f.Dimensions > 0 {
		columns = append(columns, manifest.Column{Name: columnar.EmbeddingColumn, Type: columnar.EmbeddingType(f.Dimensions)})
	}
	for _, c := range f.Columns {
		columns = append(columns, manifest.Column{Name: c.Name, Type: c.Type.String()})
	}
	return columns
}

// object collects a file in memory, in parts so that it is not copied while it
// grows.
type object struct {
	id    ulid.ULID
	parts [][]byte
}

const partBytes = 1 << 20

// Write implements io.Writer.
func (o *object) Write(b []byte) (int, error) {
	written := len(b)
	for len(b) > 0 {
		last := len(o.parts) - 1
		if last < 0 || len(o.parts[last]) == cap(o.parts[last]) {
			o.parts = append(o.parts, make([]byte, 0, partBytes))
			last++
		}
		room := min(len(b), cap(o.parts[last])-len(o.parts[last]))
		o.parts[last] = append(o.parts[last], b[:room]...)
		b = b[room:]
	}
	return written, nil
}

package columnar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	second "github.com/parquet-go/parquet-go"
	pqformat "github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
)

// vectorsOf gives two of three records a vector, of their own each.
func vectorsOf(dimensions int) *Embeddings {
	return &Embeddings{Dimensions: dimensions, Of: func(offset int64) ([]float32, error) {
		if offset%3 == 1 {
			return nil, nil
		}
		r := rand.New(rand.NewPCG(uint64(offset), 7))
		v := make([]float32, dimensions)
		for i := range v {
			v[i] = float32(r.NormFloat64()) / 20
		}
		return v, nil
	}}
}

// arrowVectors are the vectors of a file by offset, as arrow-go reads them.
func arrowVectors(t *testing.T, data []byte) map[int64][]float32 {
	t.Helper()
	r, err := pqfile.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 100}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := reader.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out := map[int64][]float32{}
	for batches := array.NewTableReader(table, 0); batches.Next(); {
		rec := batches.RecordBatch()
		lists := rec.Column(8).(*array.List)
		for i := range int(rec.NumRows()) {
			offset := rec.Column(2).(*array.Int64).Value(i)
			out[offset] = nil
			if lists.IsValid(i) {
				from, to := lists.ValueOffsets(i)
				out[offset] = slices.Clone(lists.ListValues().(*array.Float32).Float32Values()[from:to])
			}
		}
	}
	return out
}

// secondVectors is the same with parquet-go.
func secondVectors(t *testing.T, data []byte) map[int64][]float32 {
	t.Helper()
	type line struct {
		Offset    int64     `parquet:"_offset"`
		Embedding []float32 `parquet:"_embedding,list,optional"`
	}
	lines, err := second.Read[line](bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[int64][]float32{}
	for _, l := range lines {
		out[l.Offset] = l.Embedding
	}
	return out
}

func TestVectorsComeBackBesideTheirRecords(t *testing.T) {
	const dimensions = 48
	recs := randomRecords(3, 2500, noon)
	data := pack(t, recs, 50, batch.LZ4)
	for _, format := range []string{"parquet", "arrow"} {
		for compression := range compressions {
			o := TableOptions("orders", testPartition)
			o.Format, o.Compression, o.RowGroupRows, o.PageBytes = format, compression, 700, 4096
			o.Embeddings = vectorsOf(dimensions)
			if _, known := arrowCompressions[compression]; format == "arrow" && !known {
				continue
			}
			w := write(t, o, data)
			var embedded int64
			for i, b := range w.bytes {
				if got := w.Files[i].Dimensions; got != dimensions {
					t.Fatalf("%s %s: the file says %d dimensions", format, compression, got)
				}
				if format == "arrow" {
					b = asParquet(t, b)
				}
				readers := []map[int64][]float32{arrowVectors(t, b)}
				if compression != "lz4" || format == "arrow" {
					// Of pages that LZ4 makes less than three times smaller parquet-go
					// v0.32.0 drops what it has decompressed; pyarrow reads them.
					readers = append(readers, secondVectors(t, b))
				}
				for _, got := range readers {
					if int64(len(got)) != w.Files[i].Records {
						t.Fatalf("%s %s: %d rows of %d", format, compression, len(got), w.Files[i].Records)
					}
					for offset, v := range got {
						if want, _ := o.Embeddings.Of(offset); !slices.Equal(v, want) {
							t.Fatalf("%s %s: vector of offset %d", format, compression, offset)
						}
					}
				}
				for _, v := range readers[0] {
					if v != nil {
						embedded++
					}
				}
				embedded -= w.Files[i].Embedded
			}
			if embedded != 0 || len(w.bytes) == 0 {
				t.Errorf("%s %s: %d vectors more than the file says", format, compression, embedded)
			}
		}
	}
}

func TestAFileOfVectorsIsAsItsFormatSays(t *testing.T) {
	const dimensions, rows = 8, embeddingGroupRows + 10
	recs := make([]rec, rows)
	for i := range recs {
		recs[i] = rec{offset: int64(i), ms: noon, value: []byte(`{"a":1}`)}
	}
	o := TableOptions("orders", testPartition)
	o.Embeddings = vectorsOf(dimensions)
	w := write(t, o, pack(t, recs, 500, batch.None))
	f, err := second.OpenFile(bytes.NewReader(w.bytes[0]), int64(len(w.bytes[0])))
	if err != nil {
		t.Fatal(err)
	}
	if n := f.RowGroups()[0].NumRows(); n != embeddingGroupRows {
		t.Errorf("row groups of %d rows", n)
	}
	ids := map[string]int32{}
	for _, e := range f.Metadata().Schema {
		ids[e.Name] = e.FieldID
	}
	if ids[EmbeddingColumn] != EmbeddingID || ids["element"] != EmbeddingElementID {
		t.Errorf("field ids: %v", ids)
	}
	found := false
	for _, c := range f.Metadata().RowGroups[0].Columns {
		if c.MetaData.PathInSchema[0] != EmbeddingColumn {
			continue
		}
		found = slices.Contains(c.MetaData.Encoding, pqformat.ByteStreamSplit)
		if c.MetaData.Statistics.MinValue != nil || c.ColumnIndexOffset != 0 {
			t.Error("it has statistics")
		}
	}
	if !found {
		t.Error("its bytes are not split")
	}
}

func TestAWrongVectorIsAnError(t *testing.T) {
	data := pack(t, []rec{{offset: 0, ms: noon}}, 1, batch.None)
	failed := errors.New("shard is gone")
	for _, e := range []*Embeddings{
		{Dimensions: 0, Of: vectorsOf(1).Of}, {Dimensions: 3}, {Dimensions: 3, Of: vectorsOf(4).Of},
		{Dimensions: 3, Of: func(int64) ([]float32, error) { return nil, failed }},
	} {
		o := TableOptions("orders", testPartition)
		o.Embeddings = e
		if _, err := tryWrite(o, data); err == nil {
			t.Errorf("%+v: no error", e)
		}
	}
}

// BenchmarkWriteVectors is BenchmarkWrite's JSON with vectors of 384 dimensions,
// normalised, by codec; and without them.
func BenchmarkWriteVectors(b *testing.B) {
	const rows, dimensions = 20_000, 384
	logs := jsonLogs(rows)
	data := pack(b, logs, 500, batch.None)
	raw := 0
	for _, r := range logs {
		raw += len(r.key) + len(r.value)
	}
	vectors := make([][]float32, 1000)
	for i := range vectors {
		vectors[i], _ = vectorsOf(dimensions).Of(int64(3 * i))
	}
	for _, with := range []bool{false, true} {
		for _, codec := range []string{"zstd", "snappy", "lz4", "gzip", "none"} {
			b.Run(fmt.Sprintf("%s vectors=%t", codec, with), func(b *testing.B) {
				o := TableOptions("logs", testPartition)
				o.Compression = codec
				bytesIn := raw
				if with {
					o.Embeddings = &Embeddings{dimensions, func(offset int64) ([]float32, error) { return vectors[offset%1000], nil }}
					bytesIn += 4 * dimensions * rows
				}
				benchmarkWrite(b, data, o, rows, bytesIn)
			})
		}
	}
}

func TestVectorsAloneAreAFileThatOthersRead(t *testing.T) {
	const dimensions = 700
	from := vectorsOf(dimensions)
	want := map[int64][]float32{}
	var out bytes.Buffer
	offset := int64(0)
	err := WriteVectors(t.Context(), &out, dimensions, func(take func(int64, []float32) error) error {
		for ; len(want) < vectorGroupValues/dimensions+10; offset++ { // of two row groups
			v, _ := from.Of(offset) // it has no errors
			if v == nil {
				continue
			}
			want[offset] = slices.Clone(v)
			if err := take(offset, v); err != nil {
				return err
			}
			clear(v)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, want, secondVectors(t, out.Bytes()))
	r, err := pqfile.NewParquetReader(bytes.NewReader(out.Bytes()))
	require.NoError(t, err)
	require.Equal(t, 2, r.NumRowGroups())
	least, err := r.MetaData().RowGroup(1).ColumnChunk(0)
	require.NoError(t, err)
	bounds, err := least.Statistics()
	require.NoError(t, err)
	require.True(t, bounds.HasMinMax(), "the engine skips row groups by their offsets")

	require.NoError(t, WriteVectors(t.Context(), &bytes.Buffer{}, 3, func(func(int64, []float32) error) error { return nil }))
	require.ErrorContains(t, WriteVectors(t.Context(), &bytes.Buffer{}, 3, func(take func(int64, []float32) error) error { return take(7, []float32{1}) }), "1 dimensions, want 3")
}

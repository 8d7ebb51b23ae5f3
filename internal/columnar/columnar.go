// Package columnar writes the records of a partition as Parquet files, the
// form in which a topic is a SQL table.
//
// A file has the system columns (_topic, _partition, _offset, _timestamp,
// _timestamp_type, _key, _value, _headers), when it is given vectors _embedding, and one column for each top-level
// scalar field of the JSON objects among its values, typed by looking at every
// one of them. The layout is written down in docs/formats/parquet.md.
//
// Promises: every record that is given, within the asked offsets and not a
// transaction's marker, is one row of exactly one file, in order of offset, with
// key, value and headers byte for byte. No file crosses its time partition. The
// same input and options give the same columns. A value that is not JSON, or
// does not fit its column, is null there and intact in _value; it is never an
// error.
//
// The package does not name, store or read files, and knows no clock. The
// compactor writes tables with it; query nodes write their live tail with it,
// so that both are typed by one rule.
package columnar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
)

// Statistics says how much a file tells about the values in it.
type Statistics uint8

// The choices of columnar.statistics.
const (
	FullStatistics  Statistics = iota // per column chunk and per page
	ChunkStatistics                   // per column chunk
	NoStatistics
)

// Options say what a table's files look like. The zero value of a field is its
// default. TableOptions and TailOptions are the two starting points.
type Options struct {
	Topic     string // its name, the value of _topic
	Partition topic.Partition

	First, Next  int64 // records outside [First, Next) are left out; Next 0: no bound
	Partitioning Partitioning
	Only         *string // write this time partition and leave out the others

	Format            string // parquet, arrow (an IPC file; options from CompressionLevel on but for row groups are Parquet's alone); default parquet
	Compression       string // zstd, snappy, lz4, gzip, none; default zstd. Arrow knows zstd, lz4 and none
	CompressionLevel  int    // of zstd; default 1
	RowGroupRows      int    // default 100,000, with embeddings 20,000
	RowGroupBytesMax  int    // of values, unencoded; a row group ends early at it; default 128 MiB
	PageBytes         int    // default 1 MiB
	BloomColumns      []string
	NoDictionary      bool
	DictionaryColumns []string // the columns of text, or _key, that may have one; nil: all but _value
	Statistics        Statistics

	Embeddings *Embeddings // vectors of the records; nil: files without the column

	Fixed      []Column // JSON columns whose type is given; Name is ignored
	ColumnsMax int      // JSON columns; default 1,000
	PartsMax   int      // time partitions in one call; default 64

	// Pause, when set, is called after every row group, before the next one is
	// begun: background work gives way there.
	Pause func()
}

// TableOptions are those of a table's own files: small on disk, easy to prune.
func TableOptions(name string, p topic.Partition) Options {
	return Options{Topic: name, Partition: p, Partitioning: Daily, BloomColumns: []string{colKey}}
}

// TailOptions are for short-lived local files that are read at once: quick to
// write, one file whatever the timestamps.
func TailOptions(name string, p topic.Partition) Options {
	return Options{Topic: name, Partition: p, Compression: "none", DictionaryColumns: []string{colTopic}, Statistics: ChunkStatistics}
}

func (o Options) withDefaults() Options {
	set := func(v *int, standard int) {
		if *v <= 0 {
			*v = standard
		}
	}
	set(&o.CompressionLevel, 1)
	if o.Embeddings != nil {
		set(&o.RowGroupRows, embeddingGroupRows)
	}
	set(&o.RowGroupRows, 100_000)
	set(&o.RowGroupBytesMax, 128<<20)
	set(&o.PageBytes, 1<<20)
	set(&o.ColumnsMax, 1_000)
	set(&o.PartsMax, 64)
	if o.Compression == "" {
		o.Compression = "zstd"
	}
	if o.Format == "" {
		o.Format = "parquet"
	}
	if o.Next == 0 {
		o.Next = math.MaxInt64
	}
	if o.Pause == nil {
		o.Pause = func() {}
	}
	return o
}

func (o Options) check() error {
	_, inParquet := compressions[o.Compression]
	_, inArrow := arrowCompressions[o.Compression]
	switch {
	case o.Format != "parquet" && o.Format != "arrow":
		return fmt.Errorf("format %q: want parquet or arrow", o.Format)
	case o.Format == "arrow" && !inArrow:
		return fmt.Errorf("compression %q in arrow: want zstd, lz4 or none", o.Compression)
	case o.Embeddings != nil && (o.Embeddings.Dimensions < 1 || o.Embeddings.Of == nil):
		return fmt.Errorf("embeddings of %d dimensions", o.Embeddings.Dimensions)
	case !inParquet:
		return fmt.Errorf("compression %q: want zstd, snappy, lz4, gzip or none", o.Compression)
	}
	return nil
}

// File describes a file that was written.
type File struct {
	TimePartition              string
	Size                       int64
	CRC                        uint32 // CRC-32C of the whole file
	First, Next                int64  // of its own rows: the least offset, and the greatest plus one
	Records                    int64
	MinTimestamp, MaxTimestamp int64 // ms
	Columns                    []Column
	Dimensions                 int       // of the vectors in EmbeddingColumn; 0: there is no such column
	Embedded                   int64     // records with a vector
	Writer                     io.Writer // what create returned
}

// Result says what a Write did.
type Result struct {
	Files []File // at most one per time partition, in the order of their first row

	// Next is the offset up to which the input is now in files: the asked Next,
	// or without one the input's end; less when more than PartsMax time
	// partitions came up. The rest waits for another Write. Offsets below an
	// asked Next that the input does not have are taken not to exist.
	Next int64

	Records    int64
	Objects    int64        // records whose value is a JSON object
	FieldsLost int          // JSON fields without a column: too many, too long, or a name taken
	Unreadable []Unreadable // batches that could not be decoded and are in no file
}

// Unreadable is a batch whose records could not be decoded.
type Unreadable struct {
	First, Next int64
	Err         error
}

// Batches are record batches in order of offset. Write ranges over them twice
// and must find the same ones, so that it never has to hold all the records.
// A non-nil error ends the sequence and the Write.
type Batches iter.Seq2[Batch, error]

// Batch is one record batch.
type Batch struct {
	Header batch.Header
	Raw    []byte
}

// Of returns Batches over bytes that hold whole batches, one after the other.
func Of(chunks ...[]byte) Batches {
	return func(yield func(Batch, error) bool) {
		stopped := false
		for _, chunk := range chunks {
			err := batch.Each(chunk, func(h batch.Header, raw []byte) error {
				if stopped = !yield(Batch{h, raw}, nil); stopped {
					return errStopped
				}
				return nil
			})
			if stopped {
				return
			}
			if err != nil {
				yield(Batch{}, err)
				return
			}
		}
	}
}

var errStopped = errors.New("stopped")

// Create makes the place where the file of a time partition goes.
type Create func(timePartition string) (io.Writer, error)

// Write writes the records of the batches as Parquet, one file for each time
// partition among them, to the writers that create returns; it does not close
// them. Memory: one row group for each time partition, together at most about
// twice RowGroupBytesMax, besides what the batches take.
//
// The decoder's bound is the bound of one decompressed batch. After an error
// what was written is worthless.
func Write(ctx context.Context, batches Batches, decoder *batch.Decoder, options Options, create Create) (Result, error) {
	o := options.withDefaults()
	if err := o.check(); err != nil {
		return Result{}, err
	}
	p, err := survey(ctx, batches, decoder, o)
	if err != nil {
		return Result{}, fmt.Errorf("infer columns of %s: %w", o.Partition, err)
	}
	files, err := fill(ctx, batches, decoder, o, p, create)
	if err != nil {
		return Result{}, fmt.Errorf("write parquet of %s: %w", o.Partition, err)
	}
	p.result.Files = files
	return p.result, nil
}

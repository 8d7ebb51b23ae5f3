package columnar

import (
	"fmt"
	"hash/crc32"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/chronik-stream/chronik/internal/format"
)

// fieldIDKey is where an Arrow field has its Parquet field id.
const fieldIDKey = "PARQUET:field_id"

// DumpArrow prints the columns and record batches of an Arrow IPC file. With
// verify it decodes all record batches and prints the CRC-32C of the whole file, to be
// held against the manifest's: the format has no checksum of its own.
func DumpArrow(out io.Writer, name string, at io.ReaderAt, size int64, verify bool) (err error) {
	defer func() {
		// The library takes offsets out of the file on trust.
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s: read as an Arrow file: %v", name, cause)
		}
	}()
	r, err := ipc.NewFileReader(io.NewSectionReader(at, 0, size))
	if err != nil {
		return fmt.Errorf("%s: open as an Arrow file: %w", name, err)
	}
	defer r.Close()
	fmt.Fprintf(out, "%s: %d record batches, %d bytes\n", name, r.NumRecords(), size)
	for _, f := range r.Schema().Fields() {
		id, _ := f.Metadata.GetValue(fieldIDKey)
		fmt.Fprintf(out, "column %s: %s, nullable %t, field id %s\n", f.Name, f.Type, f.Nullable, id)
	}
	rows := int64(0)
	for i := range r.NumRecords() {
		batch, err := r.RecordBatch(i)
		if err != nil {
			return fmt.Errorf("%s: record batch %d: %w", name, i, err)
		}
		fmt.Fprintf(out, "record batch %d: %d rows\n", i, batch.NumRows())
		rows += batch.NumRows()
		err = nil
		if verify {
			err = validate(batch)
		}
		batch.Release()
		if err != nil {
			return fmt.Errorf("%s: record batch %d: %w", name, i, err)
		}
	}
	fmt.Fprintf(out, "%d rows\n", rows)
	if !verify {
		return nil
	}
	sum := crc32.New(format.Castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(at, 0, size)); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	fmt.Fprintf(out, "verified: all record batches decoded; CRC-32C of the file %08x (%d in its manifest)\n", sum.Sum32(), sum.Sum32())
	return nil
}

// validate checks that the offsets of a record batch lie within its values.
func validate(batch arrow.RecordBatch) error {
	for i, c := range batch.Columns() {
		if v, ok := c.(interface{ ValidateFull() error }); ok {
			if err := v.ValidateFull(); err != nil {
				return fmt.Errorf("column %s: %w", batch.ColumnName(i), err)
			}
		}
	}
	return nil
}

package cli

import (
	"bytes"
	little "encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
)

// verifyParquet checks all bytes of a file: by the checksums in its footer, or,
// where another program wrote it, by reading every page of every column.
func verifyParquet(out io.Writer, s source, file *parquet.File) error {
	sums, ok, err := parquetChecksums(s, file)
	var damage []error
	note := func(err error) {
		if errors.Is(err, format.ErrCorrupt) {
			err = format.In(s.name, err)
		} else {
			err = fmt.Errorf("%s: %w", s.name, err)
		}
		damage = append(damage, err)
		fmt.Fprintf(out, "damage: %v\n", err)
	}
	switch {
	case err != nil:
		note(err)
	case ok:
		verifyParts(s, file, sums, note)
	default:
		if file.Metadata().CreatedBy == columnar.CreatedBy && len(file.Schema().Columns()) > 1 { // a mask has one
			note(format.Corrupt(s.size, "the footer of a table's file has no checksums"))
		}
		verifyPages(file, note)
	}
	if damage != nil {
		if file.Metadata().CreatedBy == columnar.CreatedBy {
			fmt.Fprintln(out, "the file of a table is made again of the log when a query meets the damage: SELECT * of the topic, with freshness cold, reads every file")
		}
		return errors.Join(damage...)
	}
	if ok {
		fmt.Fprintln(out, "verified: the checksums of all parts")
	} else {
		fmt.Fprintln(out, "verified: all pages read; it has no checksums")
	}
	return nil
}

// parquetChecksums reads a file's checksums and checks its footer with them; ok
// is false when it has none.
func parquetChecksums(s source, file *parquet.File) (sums columnar.Checksums, ok bool, err error) {
	value, ok := file.Lookup(columnar.ChecksumsKey)
	if !ok {
		return sums, false, nil
	}
	trailer, err := readRange(s, s.size-8, 8)
	if err != nil {
		return sums, true, err
	}
	length := int64(little.LittleEndian.Uint32(trailer))
	footer, err := readRange(s, s.size-8-length, length)
	if err != nil {
		return sums, true, err
	}
	head, err := readRange(s, 0, 4)
	if err != nil {
		return sums, true, err
	}
	if !bytes.Equal(head, trailer[4:]) {
		return sums, true, format.Corrupt(0, "it begins with %q", head)
	}
	sums, err = columnar.ParseChecksums(value, footer, len(file.Metadata().RowGroups), len(file.Schema().Columns()))
	return sums, true, format.At("", s.size-8-length, err)
}

// verifyParts reads every column chunk, bloom filter and index.
func verifyParts(s source, file *parquet.File, sums columnar.Checksums, note func(error)) {
	for g, group := range file.Metadata().RowGroups {
		for i, c := range group.Columns {
			begin := c.MetaData.DataPageOffset
			if d := c.MetaData.DictionaryPageOffset; d > 0 {
				begin = min(begin, d)
			}
			for _, part := range []struct {
				name           string
				part           columnar.Part
				offset, length int64
			}{
				{"pages", columnar.Chunk, begin, c.MetaData.TotalCompressedSize},
				{"bloom filter", columnar.BloomFilter, c.MetaData.BloomFilterOffset, int64(c.MetaData.BloomFilterLength)},
				{"column index", columnar.ColumnIndex, c.ColumnIndexOffset, int64(c.ColumnIndexLength)},
				{"offset index", columnar.OffsetIndex, c.OffsetIndexOffset, int64(c.OffsetIndexLength)},
			} {
				data, err := readRange(s, part.offset, part.length)
				if err != nil {
					note(err)
					continue
				}
				if got, want := crc32.Checksum(data, format.Castagnoli), sums.Of(g, i, part.part); got != want {
					note(format.Corrupt(part.offset, "row group %d, column %s, %s: CRC-32C %08x, the footer says %08x", g, name(file.Schema().Columns()[i]), part.name, got, want))
				}
			}
		}
	}
}

// readRange reads a part of a file, which must lie in it.
func readRange(s source, offset, length int64) ([]byte, error) {
	if offset < 0 || length < 0 || offset > s.size || length > s.size-offset {
		return nil, format.Corrupt(s.size, "it ends before byte %d", offset+length)
	}
	data := make([]byte, length)
	if n, err := s.at.ReadAt(data, offset); int64(n) < length {
		return nil, fmt.Errorf("read %d bytes at %d: %w", length, offset, err)
	}
	return data, nil
}

// verifyPages reads all values, and checks the CRCs of pages that have one.
func verifyPages(file *parquet.File, note func(error)) {
	for n, group := range file.RowGroups() {
		for i, chunk := range group.ColumnChunks() {
			if err := readPages(chunk); err != nil {
				note(fmt.Errorf("row group %d, column %s: %w", n, name(file.Schema().Columns()[i]), err))
			}
		}
	}
}

func readPages(chunk parquet.ColumnChunk) error {
	pages := chunk.Pages()
	defer pages.Close()
	values := make([]parquet.Value, 1024)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for reader := page.Values(); ; {
			if _, err := reader.ReadValues(values); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				parquet.Release(page)
				return err
			}
		}
		parquet.Release(page)
	}
}

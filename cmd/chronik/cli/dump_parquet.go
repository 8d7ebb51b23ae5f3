package cli

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/chronik-stream/chronik/internal/columnar"
)

// dumpParquet shows a file's columns and row groups.
func dumpParquet(out io.Writer, s source, o *dumpOptions) (err error) {
	defer func() {
		// The library takes numbers out of a damaged footer or index on trust.
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s: read as Parquet: %v", s.name, cause)
		}
	}()
	file, err := parquet.OpenFile(s.at, s.size)
	if err != nil {
		return fmt.Errorf("%s: open as Parquet: %w", s.name, err)
	}
	fmt.Fprintf(out, "%s: %s in %s, %d bytes, by %s\n", s.name, plural(file.NumRows(), "row"),
		plural(int64(len(file.RowGroups())), "row group"), s.size, file.Metadata().CreatedBy)
	for _, pair := range file.Metadata().KeyValueMetadata {
		if pair.Key != "ARROW:schema" && pair.Key != columnar.ChecksumsKey {
			fmt.Fprintf(out, "%s = %.200s\n", pair.Key, pair.Value)
		}
	}
	leaves := file.Schema().Columns()
	for n, group := range file.RowGroups() {
		fmt.Fprintf(out, "\nrow group %d: %s\n", n, plural(group.NumRows(), "row"))
		t := newTable("column", "type", ">values", ">nulls", ">bytes", "codec", "bloom", "least", "greatest")
		meta := file.Metadata().RowGroups[n]
		for i, chunk := range group.ColumnChunks() {
			m := meta.Columns[i].MetaData
			least, greatest := bounds(chunk)
			bloom := ""
			if chunk.BloomFilter() != nil {
				bloom = "yes"
			}
			t.add(name(leaves[i]), chunk.Type(), m.NumValues, m.Statistics.NullCount, m.TotalCompressedSize, m.Codec, bloom, least, greatest)
		}
		if err := t.write(out); err != nil {
			return err
		}
	}
	if !o.verify {
		return nil
	}
	return verifyParquet(out, s, file)
}

func name(path []string) string {
	text := ""
	for i, part := range path {
		if i > 0 {
			text += "."
		}
		text += part
	}
	return text
}

// bounds are the least and greatest value of a chunk by its page index.
func bounds(chunk parquet.ColumnChunk) (least, greatest string) {
	index, err := chunk.ColumnIndex()
	if err != nil || index == nil || index.NumPages() == 0 {
		return "", "" // the file has none
	}
	var low, high parquet.Value
	for i := range index.NumPages() {
		if index.NullPage(i) {
			continue
		}
		if a := index.MinValue(i); low.IsNull() || chunk.Type().Compare(a, low) < 0 {
			low = a
		}
		if b := index.MaxValue(i); high.IsNull() || chunk.Type().Compare(b, high) > 0 {
			high = b
		}
	}
	if low.IsNull() || high.IsNull() {
		return "", ""
	}
	return fmt.Sprintf("%.40s", low), fmt.Sprintf("%.40s", high)
}

package columnar

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// createdBy names the layout and not the build, so that the same records give
// the same bytes. The form is the one that readers parse.
const createdBy = "chronik-columnar version 1.0.0"

// bloomFalsePositives is the share of look-ups of an absent key for which a
// filter says perhaps: at 1 % a distinct key costs 10 bits.
const bloomFalsePositives = 0.01

// compressions are the values of Options.Compression.
var compressions = map[string]compress.Compression{
	"zstd":   compress.Codecs.Zstd,
	"snappy": compress.Codecs.Snappy,
	"lz4":    compress.Codecs.Lz4Raw,
	"gzip":   compress.Codecs.Gzip,
	"none":   compress.Codecs.Uncompressed,
}

// CheckCompression refuses what Write could not write.
func CheckCompression(name string) error {
	if _, ok := compressions[name]; !ok {
		return fmt.Errorf("compression %q: want zstd, snappy, lz4, gzip or none", name)
	}
	return nil
}

// properties are the Parquet writer's settings for a file of so many records.
func properties(o Options, columns []Column, records int64) *parquet.WriterProperties {
	out := []parquet.WriterProperty{
		parquet.WithCreatedBy(createdBy),
		parquet.WithCompression(compressions[o.Compression]),
		parquet.WithDataPageSize(int64(o.PageBytes)),
		parquet.WithDictionaryDefault(!o.NoDictionary && o.DictionaryColumns == nil),
		parquet.WithStats(o.Statistics != NoStatistics),
		parquet.WithPageIndexEnabled(o.Statistics == FullStatistics),
		parquet.WithSortingColumns([]parquet.SortingColumn{{ColumnIdx: 2}}), // _offset
	}
	if o.Compression == "zstd" {
		out = append(out, parquet.WithCompressionLevel(o.CompressionLevel))
	}
	// Runs of one value and rising numbers: an eighth of the size of plain, and
	// quicker than a dictionary.
	for _, name := range []string{colPartition, colOffset, colTimestamp, colTimestampType} {
		out = append(out, parquet.WithDictionaryFor(name, false), parquet.WithEncodingFor(name, parquet.Encodings.DeltaBinaryPacked))
	}
	out = append(out, parquet.WithDictionaryFor(colTopic, true))
	// Whole values hardly repeat, and nobody looks for the least of them.
	out = append(out, parquet.WithDictionaryFor(colValue, false), parquet.WithStatsFor(colValue, false), parquet.WithPageIndexEnabledFor(colValue, false))
	if !o.NoDictionary {
		for _, name := range o.DictionaryColumns {
			if !slices.Contains([]string{colPartition, colOffset, colTimestamp, colTimestampType}, name) {
				out = append(out, parquet.WithDictionaryFor(name, true))
			}
		}
	}
	distinct := min(records, int64(o.RowGroupRows))
	for _, name := range o.BloomColumns {
		if name == colKey || slices.ContainsFunc(columns, func(c Column) bool { return c.Name == name && c.Type != Bool }) {
			out = append(out,
				parquet.WithBloomFilterEnabledFor(name, true),
				parquet.WithBloomFilterFPPFor(name, bloomFalsePositives),
				parquet.WithBloomFilterNDVFor(name, distinct))
		}
	}
	return parquet.NewWriterProperties(out...)
}

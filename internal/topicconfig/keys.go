package topicconfig

import "math"

const (
	trueOrFalse = "true or false"
	any64       = math.MaxInt64
	any32       = math.MaxInt32
)

// Languages with a stemmer, as ISO 639-1 codes.
var languages = []string{
	"ar", "da", "de", "en", "es", "fi", "fr", "ga", "hu", "it", "nl", "no", "pt", "ro", "ru", "sv", "ta", "tr",
}

// chronikKeys are the keys of Chronik's own, but for columnar and vector ones.
func chronikKeys() []Key {
	return []Key{
		{Name: "durability", Type: String, Default: "object", Values: "wal, object", check: oneOf("wal", "object"),
			Doc: "What acks=all waits for: the broker's own log on disk (wal), or the segment in the bucket and its commit (object). acks=1 always answers after the log's sync."},
		{Name: "searchable", Aliases: []string{"searchable.enabled"}, Type: Boolean, Default: "false", Values: trueOrFalse, check: boolean,
			Doc: "Whether the topic has a full-text index: splits, made of the whole retained log, also when this is set late."},
		{Name: "search.fields", Type: List, Default: "value", Values: "value, or a comma list of JSON paths", check: searchFields,
			Doc: "What is indexed: the value as it is (JSON by field), or only these JSON fields, each with all below it. Splits that are there are indexed again, in the background."},
		{Name: "search.analyzer", Type: String, Default: "standard", Values: "standard, simple, keyword, or an ISO 639-1 language with a stemmer",
			check: oneOf(append([]string{"standard", "simple", "keyword"}, languages...)...),
			Doc:   "How text is cut into words; a language adds stemming, and leaves out its stop words (Tamil has none). Splits that are there are indexed again, in the background; until then each is searched by its own."},
		{Name: "search.mapping", Type: String, Default: "", Values: "a JSON object: JSON path to text, keyword, long, double, boolean, date or geo_point", check: searchMapping,
			Doc: "Fixes the types of JSON fields instead of taking those of their values, and makes points on earth of some; what does not fit its field is found by its words in _all. Splits that are there are indexed again, in the background."},
	}
}

func columnarKeys() []Key {
	return []Key{
		{Name: "columnar.enabled", Type: Boolean, Default: "false", Values: trueOrFalse, check: boolean,
			Doc: "Whether the topic is a SQL table: its records are rewritten into Parquet files."},
		{Name: "columnar.format", Type: String, Default: "parquet", Values: "parquet, arrow", check: oneOf("parquet", "arrow"),
			Doc: "Format of the table's files: Parquet, or Arrow IPC files for readers of those, which queries are slower over and Iceberg does not know. Files that are there keep their format until they are merged."},
		{Name: "columnar.compression", Type: String, Default: "zstd", Values: "zstd, snappy, lz4, gzip, none", check: oneOf("zstd", "snappy", "lz4", "gzip", "none"),
			Doc: "Compression of the table's files; Arrow files know zstd, lz4 and none."},
		{Name: "columnar.compression.level", Type: Int, Default: "1", Values: "1..22", check: integer(1, 22),
			Doc: "Level for zstd in Parquet; the writer has four: 1-2 fastest, 3-5 default, 6-9 better, 10-22 best."},
		{Name: "columnar.row_group_size", Type: Int, Default: "100000", Values: "at least 1000 rows", check: integer(1000, any32),
			Doc: "Rows of a row group, or of a record batch in Arrow; the default is 20000 when the topic has vectors."},
		{Name: "columnar.page_size", Type: Int, Default: "1048576", Values: "at least 1024 bytes", check: integer(1024, any32),
			Doc: "Bytes of a page before compression, in Parquet."},
		{Name: "columnar.bloom_filter", Type: Boolean, Default: "true", Values: trueOrFalse, check: boolean,
			Doc: "Whether Parquet files carry bloom filters, by which a look-up of one key skips files."},
		{Name: "columnar.bloom_filter.columns", Type: List, Default: "_key", Values: "a comma list of columns but headers, short or long spelling", check: filterColumns,
			Doc: "Columns with a bloom filter; those of booleans have none."},
		{Name: "columnar.dictionary", Type: Boolean, Default: "true", Values: trueOrFalse, check: boolean,
			Doc: "Whether columns are dictionary encoded in Parquet where that pays."},
		{Name: "columnar.dictionary.columns", Type: List, Default: "", Values: "a comma list of columns; empty means all", check: columns,
			Doc: "Columns of text, keys included, that may be dictionary encoded; all but the value when empty."},
		{Name: "columnar.statistics", Type: String, Default: "full", Values: "none, chunk, full", check: oneOf("none", "chunk", "full"),
			Doc: "Minimum and maximum kept in Parquet per column chunk, or per page too (full), by which queries skip data."},
		{Name: "columnar.partitioning", Type: String, Default: "daily", Values: "none, hourly, daily", check: oneOf("none", "hourly", "daily"),
			Doc: "Time partition that a file never crosses, by record timestamp in UTC."},
		{Name: "columnar.json_schema", Type: String, Default: "", Values: `a JSON object: field to int64, double, bool, text or timestamp`, check: jsonSchema,
			Doc: "Fixes the columns of JSON fields instead of inferring them file by file."},
		{Name: "columnar.iceberg", Type: Boolean, Default: "", Values: trueOrFalse, check: boolean,
			Doc: "Whether the topic is published as an Iceberg table; true by default where columnar is on in Parquet."},
	}
}

func vectorKeys() []Key {
	return []Key{
		{Name: "vector.enabled", Type: Boolean, Default: "false", Values: trueOrFalse, check: boolean,
			Doc: "Whether records are embedded and indexed for similarity search; an embedding provider must be named on the topic or cluster-wide."},
		{Name: "vector.field", Type: String, Default: "value", Values: "value, key, or a JSON path $.…", check: vectorField,
			Doc: "What is embedded."},
		{Name: "vector.embedding.provider", Aliases: []string{"vector.provider"}, Type: String, Default: "openai", Values: "openai, local, external", check: oneOf("openai", "local", "external"),
			Doc: "Who makes embeddings."},
		{Name: "vector.embedding.model", Aliases: []string{"vector.model"}, Type: String, Default: "", Values: "a non-empty name", check: nonEmpty,
			Doc: "Model; by default text-embedding-3-small for openai, all-MiniLM-L6-v2 for local."},
		{Name: "vector.embedding.dimensions", Aliases: []string{"vector.dimensions"}, Type: Int, Default: "", Values: "1..4096", check: integer(1, 4096),
			Doc: "Length of the vectors; by default the model's. A known model's size cannot be changed, but text-embedding-3-* may be shortened."},
		{Name: "vector.embedding.endpoint", Aliases: []string{"vector.endpoint"}, Type: String, Default: "", Values: "an http or https URL", check: httpURL,
			Doc: "Where the provider answers; required for external."},
		{Name: "vector.index.type", Type: String, Default: "hnsw", Values: "hnsw, flat, ivf", check: oneOf("hnsw", "flat", "ivf"),
			Doc: "Kind of vector index."},
		{Name: "vector.index.m", Aliases: []string{"vector.hnsw.m"}, Type: Int, Default: "16", Values: "2..100", check: integer(2, 100),
			Doc: "Links of a node of an hnsw graph."},
		{Name: "vector.index.ef_construction", Aliases: []string{"vector.hnsw.ef_construction"}, Type: Int, Default: "200", Values: "at least vector.index.m", check: integer(2, any32),
			Doc: "Candidates looked at while building an hnsw graph."},
		{Name: "vector.index.ef_search", Aliases: []string{"vector.hnsw.ef_search"}, Type: Int, Default: "50", Values: "at least 1", check: integer(1, any32),
			Doc: "Candidates looked at by a search; a floor."},
		{Name: "vector.index.metric", Aliases: []string{"vector.hnsw.metric", "vector.metric"}, Type: String, Default: "cosine", Values: "cosine, euclidean, dot", check: oneOf("cosine", "euclidean", "dot"),
			Doc: "Distance between vectors."},
		{Name: "vector.index.backend", Type: String, Default: "native", Values: "native, milvus", check: oneOf("native", "milvus"),
			Doc: "Where vectors are indexed and searched: in shards by query nodes, or in the Milvus of `milvus.address`. Shards are made all the same, as what Milvus is filled with, and searched for what it does not have yet."},
		{Name: "vector.quantization", Type: String, Default: "f32", Values: "f32, f16, int8, binary", check: oneOf("f32", "f16", "int8", "binary"),
			Doc: "Precision of the stored vectors. In Milvus there is f32, f16, and int8 of ivf."},
		{Name: "vector.batch_size", Type: Int, Default: "256", Values: "1..2048", check: integer(1, 2048),
			Doc: "Texts of one request to the provider."},
		{Name: "vector.embedding_concurrency", Type: Int, Default: "4", Values: "1..32", check: integer(1, 32),
			Doc: "Requests to the provider under way at once."},
		{Name: "vector.max_retries", Type: Int, Default: "3", Values: "at least 0", check: integer(0, any32),
			Doc: "How often a failed request to the provider is tried again."},
	}
}

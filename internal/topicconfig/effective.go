package topicconfig

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Effective is what a topic's configuration means, typed.
type Effective struct {
	Durability Durability

	MessageBytesMax   int32 // a whole batch, as sent
	LogAppendTime     bool
	TimestampBeforeMs int64 // how far timestamps may lie in the past
	TimestampAfterMs  int64 // and in the future
	CompressionType   string
	GzipLevel         int // −1: the codec's default
	LZ4Level          int
	ZstdLevel         int

	RetentionMs    int64 // -1: no limit
	RetentionBytes int64 // -1: no limit
	CleanupDelete  bool
	CleanupCompact bool

	// Of compaction by key.
	DeleteRetentionMs  int64
	CompactionLagMinMs int64
	CompactionLagMaxMs int64
	DirtyRatioMin      float64

	Columnar Columnar
	Search   Search
	Vector   Vector
}

// Durability is what acks=all waits for.
type Durability string

// The two durabilities.
const (
	DurabilityWAL    Durability = "wal"
	DurabilityObject Durability = "object"
)

// Columnar is how a topic is written as a table.
type Columnar struct {
	Enabled           bool
	Format            string // parquet, arrow
	Compression       string // zstd, snappy, lz4, gzip, none
	CompressionLevel  int
	RowGroupRows      int
	PageBytes         int
	BloomFilter       bool
	BloomColumns      []string // long spelling
	Dictionary        bool
	DictionaryColumns []string          // long spelling; nil: all
	Statistics        string            // none, chunk, full
	Partitioning      string            // none, hourly, daily
	JSONSchema        map[string]string // nil: inferred
	Iceberg           bool
}

// Search is how a topic is indexed for full-text search.
type Search struct {
	Enabled  bool
	Fields   []string
	Analyzer string
	Mapping  map[string]string // nil: fields are of the kinds of their values
}

// Vector is how a topic is embedded and indexed.
type Vector struct {
	Enabled        bool
	Field          string
	Provider       string
	Model          string
	Dimensions     int // 0: not known before the provider answers
	Endpoint       string
	IndexType      string
	M              int
	EFConstruction int
	EFSearch       int
	Metric         string
	Backend        string
	Quantization   string
	BatchSize      int
	Concurrency    int
	RetriesMax     int
}

// Resolve gives a stored set its meaning. It never fails: what Validate would
// refuse (a value stored by another version) counts as not set.
func Resolve(set map[string]string, cluster Defaults) Effective {
	v := values{set: set, cluster: cluster}
	policies := v.list("cleanup.policy")
	return Effective{
		Durability:        Durability(v.text("durability")),
		MessageBytesMax:   int32(v.integer("max.message.bytes")),
		LogAppendTime:     v.text("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMs: v.integer("message.timestamp.before.max.ms"),
		TimestampAfterMs:  v.integer("message.timestamp.after.max.ms"),
		CompressionType:   v.text("compression.type"),
		GzipLevel:         int(v.integer("compression.gzip.level")),
		LZ4Level:          int(v.integer("compression.lz4.level")),
		ZstdLevel:         int(v.integer("compression.zstd.level")),
		RetentionMs:       v.integer("retention.ms"),
		RetentionBytes:    v.integer("retention.bytes"),
		CleanupDelete:     slices.Contains(policies, "delete"),
		CleanupCompact:    slices.Contains(policies, "compact"),

		DeleteRetentionMs:  v.integer("delete.retention.ms"),
		CompactionLagMinMs: v.integer("min.compaction.lag.ms"),
		CompactionLagMaxMs: v.integer("max.compaction.lag.ms"),
		DirtyRatioMin:      v.fraction("min.cleanable.dirty.ratio"),

		Columnar: v.columnar(),
		Search: Search{
			Enabled:  v.boolean("searchable"),
			Fields:   v.list("search.fields"),
			Analyzer: v.text("search.analyzer"),
			Mapping:  v.fieldTypes("search.mapping"),
		},
		Vector: v.vector(),
	}
}

func (v values) columnar() Columnar {
	return Columnar{
		Enabled:           v.boolean("columnar.enabled"),
		Format:            v.text("columnar.format"),
		Compression:       v.columnarCompression(),
		CompressionLevel:  int(v.integer("columnar.compression.level")),
		RowGroupRows:      int(v.integer("columnar.row_group_size")),
		PageBytes:         int(v.integer("columnar.page_size")),
		BloomFilter:       v.boolean("columnar.bloom_filter"),
		BloomColumns:      v.list("columnar.bloom_filter.columns"),
		Dictionary:        v.boolean("columnar.dictionary"),
		DictionaryColumns: v.list("columnar.dictionary.columns"),
		Statistics:        v.text("columnar.statistics"),
		Partitioning:      v.text("columnar.partitioning"),
		JSONSchema:        v.fieldTypes("columnar.json_schema"),
		Iceberg:           v.boolean("columnar.iceberg"),
	}
}

// columnarCompression is zstd where the cluster's defaults go together as no
// topic's own settings may: Arrow files know neither snappy nor gzip.
func (v values) columnarCompression() string {
	if v.unknownToArrow() {
		return "zstd"
	}
	return v.text("columnar.compression")
}

func (v values) unknownToArrow() bool {
	return v.text("columnar.format") == "arrow" && slices.Contains([]string{"snappy", "gzip"}, v.text("columnar.compression"))
}

func (v values) vector() Vector {
	return Vector{
		Enabled:        v.boolean("vector.enabled"),
		Field:          v.text("vector.field"),
		Provider:       v.text("vector.embedding.provider"),
		Model:          v.text("vector.embedding.model"),
		Dimensions:     int(v.integer("vector.embedding.dimensions")),
		Endpoint:       v.text("vector.embedding.endpoint"),
		IndexType:      v.text("vector.index.type"),
		M:              int(v.integer("vector.index.m")),
		EFConstruction: int(v.integer("vector.index.ef_construction")),
		EFSearch:       int(v.integer("vector.index.ef_search")),
		Metric:         v.text("vector.index.metric"),
		Backend:        v.text("vector.index.backend"),
		Quantization:   v.text("vector.quantization"),
		BatchSize:      int(v.integer("vector.batch_size")),
		Concurrency:    int(v.integer("vector.embedding_concurrency")),
		RetriesMax:     int(v.integer("vector.max_retries")),
	}
}

// CodecLevel translates the level of a codec, named as by compression.type, for
// internal/batch. Names and defaults are Kafka's, where lz4's default of 9 means
// its fast compressor.
func (e *Effective) CodecLevel(codec string) int {
	switch codec {
	case "gzip":
		return max(0, e.GzipLevel)
	case "lz4":
		if e.LZ4Level == 9 {
			return 0
		}
		return min(e.LZ4Level, 9) // the highest that our library knows
	case "zstd":
		if e.ZstdLevel < 0 {
			return 1 // likewise the fastest
		}
		return e.ZstdLevel
	}
	return 0
}

// values answers what holds for a key: what the topic sets, else what the
// cluster does, else the default, which for some keys depends on others.
type values struct {
	set     map[string]string
	cluster Defaults
}

func (v values) text(name string) string {
	key, ok := Lookup(name)
	if !ok {
		panic("topicconfig: no key " + name) // a typing error in this package; every name is tested
	}
	for _, from := range []map[string]string{v.set, v.cluster} {
		if value, ok := from[name]; ok {
			if canonical, refused := key.check(value); refused == "" {
				return canonical
			}
		}
	}
	return v.fallback(key)
}

// fallback is the default of a key under the other values.
func (v values) fallback(key Key) string {
	switch key.Name {
	case "columnar.row_group_size":
		if v.boolean("vector.enabled") {
			return "20000"
		}
	case "columnar.iceberg":
		return strconv.FormatBool(v.boolean("columnar.enabled") && v.text("columnar.format") == "parquet")
	case "vector.embedding.model":
		switch v.text("vector.embedding.provider") {
		case "openai":
			return "text-embedding-3-small"
		case "local":
			return "all-MiniLM-L6-v2"
		}
	case "vector.embedding.dimensions":
		if size := ModelDimensions(v.text("vector.embedding.model")); size > 0 {
			return strconv.Itoa(size)
		}
	}
	return key.Default
}

func (v values) boolean(name string) bool { return v.text(name) == "true" }

func (v values) list(name string) []string { return items(v.text(name)) }

func (v values) integer(name string) int64 {
	n, err := strconv.ParseInt(v.text(name), 10, 64)
	if err != nil {
		return 0 // only where the default is unset: checked values parse
	}
	return n
}

func (v values) fraction(name string) float64 {
	f, err := strconv.ParseFloat(v.text(name), 64)
	if err != nil {
		return 0 // as above
	}
	return f
}

func (v values) fieldTypes(key string) map[string]string {
	var fields map[string]string
	if json.Unmarshal([]byte(v.text(key)), &fields) != nil {
		return nil // unset: checked values parse
	}
	return fields
}

// named reports whether somebody, topic or cluster, gave a value.
func (v values) named(name string) bool {
	_, topic := v.set[name]
	_, cluster := v.cluster[name]
	return topic || cluster
}

// ModelDimensions is the size of a known embedding model's vectors, else 0.
func ModelDimensions(model string) int {
	switch model {
	case "text-embedding-3-small", "text-embedding-ada-002":
		return 1536
	case "text-embedding-3-large":
		return 3072
	case "all-MiniLM-L6-v2", "all-MiniLM-L12-v2", "bge-small-en-v1.5":
		return 384
	case "all-mpnet-base-v2", "bge-base-en-v1.5":
		return 768
	case "bge-large-en-v1.5":
		return 1024
	}
	return 0
}

// consistent checks what no key can say alone.
func consistent(v values) error {
	refuse := func(key, reason string, args ...any) error {
		return &Error{Key: key, Value: v.text(key), Allowed: fmt.Sprintf(reason, args...)}
	}
	if v.text("columnar.format") == "arrow" && v.set["columnar.iceberg"] == "true" {
		return refuse("columnar.format", "columnar.iceberg=true needs parquet")
	}
	if _, set := v.set["columnar.compression"]; v.unknownToArrow() && set {
		return refuse("columnar.compression", "Arrow files, as columnar.format says, are compressed with zstd or lz4, or none")
	}
	if least, most := v.integer("min.compaction.lag.ms"), v.integer("max.compaction.lag.ms"); least > most {
		return refuse("min.compaction.lag.ms", "it must be at most max.compaction.lag.ms, which is %d", most)
	}
	if q := v.text("vector.quantization"); v.text("vector.index.backend") == "milvus" && (q == "binary" || q == "int8" && v.text("vector.index.type") != "ivf") {
		return refuse("vector.quantization", "with vector.index.backend=milvus it must be f32 or f16, or int8 with vector.index.type=ivf: Milvus has no other")
	}
	if ef, m := v.integer("vector.index.ef_construction"), v.integer("vector.index.m"); ef < m {
		return refuse("vector.index.ef_construction", "it must be at least vector.index.m, which is %d", m)
	}
	if err := consistentVector(v, refuse); err != nil {
		return err
	}
	return nil
}

func consistentVector(v values, refuse func(string, string, ...any) error) error {
	model := v.text("vector.embedding.model")
	dimensions, size := int(v.integer("vector.embedding.dimensions")), ModelDimensions(model)
	switch {
	case size == 0 || dimensions == size:
	case strings.HasPrefix(model, "text-embedding-3-") && dimensions < size:
	case strings.HasPrefix(model, "text-embedding-3-"):
		return refuse("vector.embedding.dimensions", "%s has %d dimensions and can only be shortened", model, size)
	default:
		return refuse("vector.embedding.dimensions", "%s has %d dimensions", model, size)
	}
	if !v.boolean("vector.enabled") {
		return nil
	}
	if !v.named("vector.embedding.provider") {
		return refuse("vector.enabled", "name an embedding provider: vector.embedding.provider on the topic, or embedding.provider cluster-wide")
	}
	if v.text("vector.embedding.provider") == "external" && v.text("vector.embedding.endpoint") == "" {
		return refuse("vector.embedding.provider", "external needs vector.embedding.endpoint")
	}
	return nil
}

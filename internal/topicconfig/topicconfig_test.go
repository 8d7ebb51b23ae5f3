package topicconfig

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestEveryDefaultIsAllowed(t *testing.T) {
	for _, key := range Keys() {
		if key.Default == "" {
			continue // unset
		}
		if canonical, refused := key.check(key.Default); refused != "" || canonical != key.Default {
			t.Errorf("%s: its default %q becomes %q, refused: %q", key.Name, key.Default, canonical, refused)
		}
	}
	if _, err := Validate(nil, nil); err != nil {
		t.Errorf("the defaults do not go together: %v", err)
	}
}

func TestEveryKeyIsDescribedAndNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range Keys() {
		for _, name := range append([]string{key.Name}, key.Aliases...) {
			if seen[name] {
				t.Errorf("%s is named twice", name)
			}
			seen[name] = true
		}
		if key.Doc == "" || key.Values == "" || !strings.HasSuffix(key.Doc, ".") || key.Type == 0 {
			t.Errorf("%s: incomplete: %+v", key.Name, key)
		}
	}
}

func TestContractKeysAreAllThere(t *testing.T) {
	for _, name := range strings.Fields(`
		searchable searchable.enabled search.fields search.analyzer search.mapping columnar.enabled columnar.format columnar.compression
		columnar.compression.level columnar.row_group_size columnar.page_size columnar.bloom_filter columnar.bloom_filter.columns
		columnar.dictionary columnar.dictionary.columns columnar.statistics columnar.partitioning columnar.json_schema columnar.iceberg
		vector.enabled vector.field vector.embedding.provider vector.provider vector.embedding.model vector.model
		vector.embedding.dimensions vector.dimensions vector.embedding.endpoint vector.endpoint vector.index.type vector.index.m
		vector.hnsw.m vector.index.ef_construction vector.hnsw.ef_construction vector.index.ef_search vector.hnsw.ef_search
		vector.index.metric vector.hnsw.metric vector.metric vector.index.backend vector.quantization vector.batch_size
		vector.embedding_concurrency vector.max_retries durability retention.ms retention.bytes cleanup.policy compression.type
		max.message.bytes message.timestamp.type message.timestamp.before.max.ms message.timestamp.after.max.ms min.insync.replicas
		segment.bytes segment.ms delete.retention.ms min.compaction.lag.ms max.compaction.lag.ms min.cleanable.dirty.ratio
		unclean.leader.election.enable flush.ms flush.messages file.delete.delay.ms preallocate index.interval.bytes segment.index.bytes
		segment.jitter.ms remote.storage.enable remote.log.copy.disable remote.log.delete.on.disable local.retention.ms
		local.retention.bytes compression.gzip.level compression.lz4.level compression.zstd.level
		leader.replication.throttled.replicas follower.replication.throttled.replicas`) {
		if _, ok := Lookup(name); !ok {
			t.Errorf("no key %s", name)
		}
	}
}

func TestValidateStoresCanonicalNamesAndValues(t *testing.T) {
	for _, test := range []struct{ set, want map[string]string }{
		{nil, map[string]string{}},
		{map[string]string{"searchable.enabled": "true"}, map[string]string{"searchable": "true"}},
		{map[string]string{"vector.hnsw.m": " 8 "}, map[string]string{"vector.index.m": "8"}},
		{map[string]string{"vector.metric": "dot", "vector.hnsw.metric": "dot"}, map[string]string{"vector.index.metric": "dot"}},
		{map[string]string{"columnar.bloom_filter.columns": "key, city"}, map[string]string{"columnar.bloom_filter.columns": "_key,city"}},
		{map[string]string{"columnar.json_schema": `{ "b": "text", "a": "int64" }`}, map[string]string{"columnar.json_schema": `{"a":"int64","b":"text"}`}},
		{map[string]string{"cleanup.policy": "delete, compact"}, map[string]string{"cleanup.policy": "delete,compact"}},
		{map[string]string{"min.cleanable.dirty.ratio": "0.50"}, map[string]string{"min.cleanable.dirty.ratio": "0.5"}},
		{map[string]string{"retention.ms": "-1"}, map[string]string{"retention.ms": "-1"}},
		{map[string]string{"compression.gzip.level": "-1"}, map[string]string{"compression.gzip.level": "-1"}},
		{map[string]string{"vector.model": "text-embedding-3-large", "vector.dimensions": "256"},
			map[string]string{"vector.embedding.model": "text-embedding-3-large", "vector.embedding.dimensions": "256"}},
	} {
		got, err := Validate(test.set, nil)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("Validate(%v) = %v, %v; want %v", test.set, got, err, test.want)
			continue
		}
		again, err := Validate(got, nil)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("Validate(%v) is not stable: %v, %v", got, again, err)
		}
	}
}

func TestValidateRefusesWithKeyValueAndWhatIsAllowed(t *testing.T) {
	for _, test := range []struct {
		set  map[string]string
		want string
	}{
		{map[string]string{"columnar.enabled": "True"}, `topic config columnar.enabled: value "True" is not allowed: it must be exactly true or false`},
		{map[string]string{"columnar.enabled": "1"}, "exactly true or false"},
		{map[string]string{"columnar.format": "orc"}, "one of parquet, arrow"},
		{map[string]string{"columnar.compression.level": "23"}, "from 1 to 22"},
		{map[string]string{"columnar.row_group_size": "999"}, "at least 1000"},
		{map[string]string{"columnar.bloom_filter.columns": "key,_key"}, "names column _key twice"},
		{map[string]string{"columnar.bloom_filter.columns": "key,,x"}, "none of them empty"},
		{map[string]string{"columnar.json_schema": `{"a":"varchar"}`}, "int64, double"},
		{map[string]string{"columnar.json_schema": `null`}, "JSON object"},
		{map[string]string{"columnar.json_schema": `[1]`}, "JSON object"},
		{map[string]string{"search.mapping": `{"a":"ip"}`}, "geo_point"},
		{map[string]string{"columnar.format": "arrow", "columnar.iceberg": "true"}, "needs parquet"},
		{map[string]string{"columnar.bloom_filter.columns": "key,headers"}, "headers are not"},
		{map[string]string{"columnar.format": "arrow", "columnar.compression": "gzip"}, "zstd or lz4, or none"},
		{map[string]string{"cleanup.policy": "delete,delete"}, "delete, compact, or both"},
		{map[string]string{"cleanup.policy": ""}, "delete, compact, or both"},
		{map[string]string{"retention.ms": "-2"}, "at least -1"},
		{map[string]string{"retention.ms": "soon"}, "an integer"},
		{map[string]string{"max.message.bytes": "2147483648"}, "fits 32 bits"},
		{map[string]string{"compression.gzip.level": "0"}, "from 1 to 9 or -1"},
		{map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"}, "at most max.compaction.lag.ms"},
		{map[string]string{"min.cleanable.dirty.ratio": "NaN"}, "from 0 to 1"},
		{map[string]string{"search.analyzer": "klingon"}, "one of standard"},
		{map[string]string{"search.fields": "$.a,,b"}, "JSON path"},
		{map[string]string{"vector.field": "title"}, "JSON path"},
		{map[string]string{"vector.index.backend": "milvus", "vector.quantization": "binary"}, "Milvus has no other"},
		{map[string]string{"vector.index.backend": "milvus", "vector.quantization": "int8"}, "int8 with vector.index.type=ivf"},
		{map[string]string{"vector.index.m": "50", "vector.index.ef_construction": "49"}, "at least vector.index.m, which is 50"},
		{map[string]string{"vector.enabled": "true"}, "name an embedding provider"},
		{map[string]string{"vector.enabled": "true", "vector.provider": "external"}, "needs vector.embedding.endpoint"},
		{map[string]string{"vector.endpoint": "ftp://x"}, "http or https URL"},
		{map[string]string{"vector.model": "a\xffmodel"}, "must be UTF-8"},
		{map[string]string{"vector.model": "all-MiniLM-L6-v2", "vector.dimensions": "128"}, "has 384 dimensions"},
		{map[string]string{"vector.model": "text-embedding-3-small", "vector.dimensions": "3072"}, "only be shortened"},
		{map[string]string{"vector.hnsw.m": "8", "vector.index.m": "9"}, `which is set to "8"`},
		{map[string]string{"columnar.enable": "true"}, `unknown topic config "columnar.enable"; did you mean "columnar.enabled"?`},
		{map[string]string{"no.such.thing.at.all": "x"}, `unknown topic config "no.such.thing.at.all"`},
	} {
		_, err := Validate(test.set, nil)
		var refused *Error
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Validate(%v) = %v; want an *Error with %q", test.set, err, test.want)
		}
	}
}

func TestClusterDefaultsStandBetweenTopicAndDefault(t *testing.T) {
	cluster, err := ValidateDefaults(map[string]string{"durability": "wal", "columnar.enabled": "true", "vector.embedding.provider": "local"})
	if err != nil {
		t.Fatal(err)
	}
	e := Resolve(map[string]string{"columnar.compression": "snappy"}, cluster)
	if e.Durability != DurabilityWAL || !e.Columnar.Enabled || e.Columnar.Compression != "snappy" || !e.Columnar.Iceberg {
		t.Errorf("Resolve = %+v", e)
	}
	if e.Vector.Model != "all-MiniLM-L6-v2" || e.Vector.Dimensions != 384 {
		t.Errorf("the model does not follow the provider: %+v", e.Vector)
	}
	if e := Resolve(map[string]string{"durability": "object"}, cluster); e.Durability != DurabilityObject {
		t.Errorf("the topic's own value does not win: %v", e.Durability)
	}
	if _, err := Validate(map[string]string{"vector.enabled": "true"}, cluster); err != nil {
		t.Errorf("a provider named cluster-wide is not enough: %v", err)
	}
}

func TestResolveGivesTheContractsDefaults(t *testing.T) {
	want := Effective{
		Durability: DurabilityObject, MessageBytesMax: 1048588, TimestampBeforeMs: 1<<63 - 1, TimestampAfterMs: 3600000,
		CompressionType: "producer", GzipLevel: -1, LZ4Level: 9, ZstdLevel: 3, RetentionMs: 604800000, RetentionBytes: -1, CleanupDelete: true,
		DeleteRetentionMs: 86400000, CompactionLagMaxMs: 1<<63 - 1, DirtyRatioMin: 0.5,
		Columnar: Columnar{Format: "parquet", Compression: "zstd", CompressionLevel: 1, RowGroupRows: 100000, PageBytes: 1 << 20,
			BloomFilter: true, BloomColumns: []string{"_key"}, Dictionary: true, Statistics: "full", Partitioning: "daily"},
		Search: Search{Fields: []string{"value"}, Analyzer: "standard"},
		Vector: Vector{Field: "value", Provider: "openai", Model: "text-embedding-3-small", Dimensions: 1536, IndexType: "hnsw", M: 16,
			EFConstruction: 200, EFSearch: 50, Metric: "cosine", Backend: "native", Quantization: "f32", BatchSize: 256, Concurrency: 4, RetriesMax: 3},
	}
	if got := Resolve(nil, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("Resolve(nil) =\n%+v\nwant\n%+v", got, want)
	}
}

func TestResolveTakesAnUnreadableValueAsUnset(t *testing.T) {
	e := Resolve(map[string]string{"columnar.row_group_size": "many"}, Defaults{"columnar.row_group_size": "5000"})
	if e.Columnar.RowGroupRows != 5000 {
		t.Errorf("RowGroupRows = %d, want the cluster's 5000", e.Columnar.RowGroupRows)
	}
}

func TestRowGroupsAreSmallerWithVectors(t *testing.T) {
	if rows := Resolve(map[string]string{"vector.enabled": "true"}, nil).Columnar.RowGroupRows; rows != 20000 {
		t.Errorf("rows = %d, want 20000", rows)
	}
	if rows := Resolve(map[string]string{"vector.enabled": "true", "columnar.row_group_size": "7000"}, nil).Columnar.RowGroupRows; rows != 7000 {
		t.Errorf("rows = %d, want what was set", rows)
	}
}

func TestEntriesShowEveryKeyWithItsSource(t *testing.T) {
	cluster := Defaults{"durability": "wal"}
	entries := Entries(map[string]string{"retention.ms": "1000"}, Layer{SourceCluster, cluster})
	if len(entries) != len(Keys()) || !slices.IsSortedFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatalf("%d entries, want the %d keys in order", len(entries), len(Keys()))
	}
	find := func(name string) Entry {
		return entries[slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name })]
	}
	if e := find("retention.ms"); e.Source != SourceTopic || e.IsDefault || !reflect.DeepEqual(e.Synonyms, []Synonym{
		{"retention.ms", "1000", SourceTopic}, {"log.retention.ms", "604800000", SourceDefault}}) {
		t.Errorf("retention.ms: %+v", e)
	}
	if e := find("durability"); e.Source != SourceCluster || e.Value != "wal" || e.IsDefault {
		t.Errorf("durability: %+v", e)
	}
	if e := find("flush.ms"); e.Source != SourceDefault || !e.IsDefault || e.Effect != Inert || !strings.Contains(e.Documentation, "without effect") {
		t.Errorf("flush.ms: %+v", e)
	}
	if e := find("columnar.iceberg"); e.Value != "false" {
		t.Errorf("columnar.iceberg of a topic that is no table: %+v", e)
	}
}

func FuzzValidateIsStableAndResolveNeverFails(f *testing.F) {
	f.Add("columnar.json_schema", `{"a":"int64"}`)
	f.Add("vector.dimensions", "384")
	f.Add("search.fields", "$.a.b,value")
	f.Fuzz(func(t *testing.T, key, value string) {
		set := map[string]string{key: value}
		Resolve(set, nil)
		Entries(set)
		canonical, err := Validate(set, nil)
		if err != nil {
			return
		}
		again, err := Validate(canonical, nil)
		if err != nil || !reflect.DeepEqual(again, canonical) {
			t.Fatalf("%v became %v, then %v, %v", set, canonical, again, err)
		}
	})
}

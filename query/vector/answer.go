// Package vector is search by meaning over topics: it binds a topic to the vector
// shards of its manifests, embeds what is asked for by the model that made their
// vectors, and searches all shards as one index. Every surface that compares
// vectors of records speaks in its values.
//
// Promises: an answer is computed over each record once that has a vector, and at
// least over the ranges that it says it covers. Filters are exact. Records
// that were deleted or compacted away are not found. Vectors of two models are
// never compared: while a topic changes its model, each shard is compared with
// what its own model makes of the question, and the answer says so. A shard that
// is damaged or missing is reported, and makes the search fail: never is it passed
// over.
package vector

import (
	"time"

	"github.com/chronik-stream/chronik/query/snapshot"
)

// KMax is how many records a client can ask for, and CandidatesMax how many a
// search whose answer is merged with others' can.
const (
	KMax          = 1000
	CandidatesMax = 3 * KMax
)

// Request asks for the records of a topic that are nearest to a text or a vector.
type Request struct {
	Topic string
	// Text is embedded by the topic's model. Vector, where Text is empty, is compared
	// as it is, with vectors of the topic's current model alone.
	Text   string
	Vector []float32
	K      int // 1 to CandidatesMax
	Filter Filter
	// Ef and Probes are how many candidates of a graph and how many lists of a shard
	// are looked at, at least; 0: what the recall needs. The topic's
	// vector.index.ef_search is the least Ef.
	Ef, Probes int
	// Recall is the part of the true neighbours that is aimed at, by what was measured
	// when the shards were built: above 0, up to 1; 0: vectorindex.DefaultRecall.
	Recall float64
	// Freshness is latest, available or cold; empty: available. Latest waits until
	// everything that was acknowledged before the request has its vectors; the other
	// two are the same here, since vectors lie in the bucket alone.
	Freshness  string
	Timeout    time.Duration // after which the answer is an error; 0: the node's
	Values     bool          // hits have keys and values
	Embeddings bool          // hits have their vectors
	// Bare hits have neither preview nor key nor value: the log is not read. Of those
	// that are wanted in the end, Records reads them.
	Bare bool
}

// Filter says which records count. The zero Filter takes all.
type Filter struct {
	Partitions []int32 // nil: all
	// MinOffset and MaxOffset, MinTimestamp and MaxTimestamp (ms) are bounds, both
	// included; nil: no bound.
	MinOffset, MaxOffset       *int64
	MinTimestamp, MaxTimestamp *int64
}

// Answer is what was found.
type Answer struct {
	Hits []Hit // the nearest first; ties by partition and offset
	// TotalVectors is how many records of the topic have a vector, whatever the
	// filter says.
	TotalVectors int64
	EmbedTime    time.Duration // for the text; the cache of texts makes it short
	SearchTime   time.Duration // the rest
	Coverage     Coverage
	Warnings     []string
	// Recall is the least that calibration promises for a shard that was searched; 1
	// if all searches were exact, 0 if a Milvus was asked, which promises none.
	Recall float64
	Reads  Reads
}

// Hit is a record. Preview, Key and Value are of the log.
type Hit struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // in ms
	// Distance is the metric's own, lower for what is nearer; Score is higher:
	// cosine 1 − distance/2, from 0 to 1; euclidean 1/(1 + distance); dot the product.
	Distance, Score float32
	// Preview is the beginning of the text that was embedded, of 100 characters at most.
	Preview    string
	Key, Value []byte    // with Request.Values
	Embedding  []float32 // with Request.Embeddings, as it is kept
}

// Reads are what of shards a search had to fetch from the bucket.
type Reads struct {
	Requests, Bytes int64
}

// Coverage is what of a topic an answer is computed over.
type Coverage = snapshot.Coverage

// Stats are a topic's vectors.
type Stats struct {
	Topic        string
	Vectors      int64 // records that have one
	Dimensions   int
	IndexType    string // flat, ivf or hnsw, as the topic's settings have it
	Metric       string
	Provider     string
	Model        string
	Quantization string
	Backend      string
	Shards       int
	Bytes        int64
	Partitions   []PartitionStats
	LagRecords   int64 // acknowledged, and not looked at for vectors yet
	OtherModels  int64 // of Vectors: of models that were the topic's before
	// RecallAt10 is what part of the ten nearest a search finds that asks for nothing
	// else, as it was measured when the shards were built: over shards, weighted by
	// their vectors. RecallTarget is what it aims at.
	RecallTarget, RecallAt10 float64
	// RecallRecords is how many vectors lie in shards that were measured. Others are so
	// small that all of their vectors are compared.
	RecallRecords int64
}

// PartitionStats are the vectors of a partition.
type PartitionStats struct {
	Partition  int32
	Vectors    int64
	LastOffset int64 // up to it records were looked at; −1: none yet
	Shards     int
}

// TopicVectors is a topic in the list of those that have vectors.
type TopicVectors struct {
	Name       string
	Vectors    int64
	Dimensions int
	Provider   string
	Model      string
}

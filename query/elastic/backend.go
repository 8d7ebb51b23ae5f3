package elastic

import (
	"context"
	"errors"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/query/search"
)

// Backend is what the surface shows. Its methods may be called at once.
type Backend struct {
	Searcher
	Catalog
	Producer
	Admin
}

// Searcher finds documents. Topics are named as they are, without patterns.
type Searcher interface {
	Search(ctx context.Context, topics []string, r *textquery.Request, o search.Options) (*search.Answer, error)
	// Doc returns one record; nil when there is none.
	Doc(ctx context.Context, topic string, partition int32, offset int64, o search.Options) (*textsearch.Hit, error)
	// Mapping returns the fields that documents have, by topic.
	Mapping(ctx context.Context, topics []string) (map[string][]textindex.Field, error)
	// Counts returns the sizes of indexes, by topic.
	Counts(ctx context.Context, topics []string) (map[string]search.Counts, error)
}

// Catalog tells what topics there are.
type Catalog interface {
	Topic(name string) (Topic, bool)
	Names() []string // of all topics
	// Leaderless counts the partitions of a topic that nobody leads.
	Leaderless(name string) int
	// CatchUp returns when everything is known that was there when it was called.
	CatchUp(ctx context.Context) error
	Cluster() Cluster
}

// Topic is what the surface shows of a topic.
type Topic struct {
	Name       string
	ID         string
	Partitions int
	Searchable bool
	Analyzer   string
	Mapping    map[string]string // field to type, as set; others are as documents have them
	Fields     []string          // that are indexed; nil: all
}

// Cluster is what the surface shows of the cluster.
type Cluster struct {
	Name    string
	UUID    string
	Node    string // that answers
	Nodes   int    // brokers and query nodes
	Brokers int
	Version string // of Chronik
}

// Producer writes records.
type Producer interface {
	// Produce appends the records, those of one partition in their order, and
	// returns what became of each when all of it is known or ctx ends. An error of
	// an Outcome is one of the errors below, or one that does not tell whether the
	// record was written.
	Produce(ctx context.Context, records []Record) []Outcome
}

// Record is a record to write. Records of one key go to one partition.
type Record struct {
	Topic      string
	Key, Value []byte // nil: null
}

// Outcome is what became of a record.
type Outcome struct {
	Partition int32
	Offset    int64
	Err       error
}

// What becomes of records and topics.
var (
	ErrUnknownTopic = errors.New("there is no such topic")
	ErrTopicExists  = errors.New("the topic is there already")
	ErrTooLarge     = errors.New("the record is larger than the topic takes")
	ErrRefused      = errors.New("refused") // with a reason that is for the client
	ErrForbidden    = errors.New("not allowed")
	ErrThrottled    = errors.New("too much is written")
	ErrUnavailable  = errors.New("the topic cannot be written now") // and was not
)

// Admin creates and deletes topics.
type Admin interface {
	// CreateTopic creates a topic; 0 partitions: as many as the cluster's default.
	CreateTopic(ctx context.Context, name string, partitions int32, config map[string]string) error
	DeleteTopic(ctx context.Context, name string) error
}

package milvus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// Prefix is what the names of a cluster's collections begin with. Clusters that
// share a Milvus leave each other's alone.
func Prefix(cluster string) string { return "chronik_" + digest(cluster, 4) + "_" }

// Name is the name of the collection that has a topic's vectors with these
// settings: a topic that is created again, or asks for other vectors or another
// index, gets another one.
func Name(cluster string, id topic.ID, settings vectorindex.Settings) string {
	return Prefix(cluster) + hex.EncodeToString(id[:]) + "_" + digest(settings.String(), 8)
}

// TopicOf is the topic of a collection of the cluster.
func TopicOf(cluster, name string) (id topic.ID, ok bool) {
	rest, ours := strings.CutPrefix(name, Prefix(cluster))
	text, _, whole := strings.Cut(rest, "_")
	b, err := hex.DecodeString(text)
	if !ours || !whole || err != nil || len(b) != len(id) {
		return topic.ID{}, false
	}
	return topic.ID(b), true
}

func digest(text string, bytes int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:bytes])
}

// Settings are what a topic's collection is made with: the vectors of its shards,
// and the index that the topic asks for.
func Settings(shards vectorindex.Settings, c topicconfig.Vector) vectorindex.Settings {
	c.Backend = ""
	s := vectorindex.TopicSettings(c, shards.Generation)
	s.Dimensions = shards.Dimensions
	return s
}

// Of is the collection that a manifest names.
func Of(name, incarnation, settings string) (Collection, vectorindex.Settings, error) {
	s, err := vectorindex.ParseSettings(settings)
	if err != nil {
		return Collection{}, s, fmt.Errorf("the collection %s: %w", name, err)
	}
	o, err := s.Options()
	if err != nil {
		return Collection{}, s, fmt.Errorf("the collection %s: %w", name, err)
	}
	return Collection{
		Name: name, Dimensions: o.Dimensions, Metric: o.Metric, Kind: o.Kind, Encoding: o.Encoding,
		M: o.M, EfConstruction: o.EfConstruction, Incarnation: incarnation,
	}, s, nil
}

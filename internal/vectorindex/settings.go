package vectorindex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Settings are what a shard of a topic was made with. A manifest has them beside
// the shard, as String writes them: whether they are the same is what says that
// two shards merge, that one is what the topic asks for, and whether two hold
// vectors that can be compared.
type Settings struct {
	// What made the vectors. Those that differ in any of it have nothing in common.
	Provider   string `json:"provider"`
	Model      string `json:"model"`
	Endpoint   string `json:"endpoint,omitempty"`   // of a model without a name: one that has a name is the same wherever it answers
	Dimensions int    `json:"dimensions,omitempty"` // 0, of a topic alone: as the provider says
	Field      string `json:"field"`                // of the records, that was embedded
	Generation int64  `json:"generation,omitempty"` // counts how often somebody asked for all of it to be made anew

	// How they are indexed.
	Metric         string `json:"metric"`
	Quantization   string `json:"quantization"`
	Index          string `json:"index"`
	M              int    `json:"m,omitempty"`               // of hnsw
	EFConstruction int    `json:"ef_construction,omitempty"` // of hnsw
}

// TopicSettings are what a topic's configuration asks for, in the generation
// that is current.
//
// Where the index is in Milvus, shards are what it is made of, and flat.
func TopicSettings(c topicconfig.Vector, generation int64) Settings {
	s := Settings{
		Provider: c.Provider, Model: c.Model, Dimensions: c.Dimensions, Field: c.Field, Generation: generation,
		Metric: c.Metric, Quantization: c.Quantization, Index: c.IndexType,
	}
	if s.Model == "" {
		s.Endpoint = withoutUser(c.Endpoint)
	}
	if c.Backend == "milvus" {
		s.Index = Flat.String()
	}
	if s.Index == HNSW.String() {
		s.M, s.EFConstruction = c.M, c.EFConstruction
	}
	return s
}

// withoutUser is a URL without the name and password that it may have: settings
// are written into objects.
func withoutUser(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.User == nil {
		return endpoint
	}
	u.User = nil
	return u.String()
}

// ParseSettings reads what String wrote.
func ParseSettings(text string) (s Settings, err error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err = d.Decode(&s); err == nil {
		if _, after := d.Token(); after != io.EOF {
			err = errors.New("more than one value")
		}
	}
	if err != nil {
		return Settings{}, fmt.Errorf("settings of a shard: %w", err)
	}
	return s, nil
}

// String is canonical: the same settings give the same text.
func (s Settings) String() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // text and numbers can be marshalled
	}
	return string(b)
}

// Embedded is the part that says which vectors there are: shards with the same
// can be searched for one query vector, and be made anew of each other.
func (s Settings) Embedded() Settings {
	return Settings{Provider: s.Provider, Model: s.Model, Endpoint: s.Endpoint, Dimensions: s.Dimensions, Field: s.Field, Generation: s.Generation}
}

// Comparable tells whether vectors of two were made by the same model of the same
// length; what of a record was embedded, and when, does not matter for that.
func (s Settings) Comparable(o Settings) bool {
	return s.Provider == o.Provider && s.Model == o.Model && s.Endpoint == o.Endpoint && s.Dimensions == o.Dimensions
}

// SameVectors tells whether the vectors are those that a topic asks for with wanted,
// whose dimensions may be left to the provider: of the same texts, by the same model,
// however they are indexed and whenever they were made.
func (s Settings) SameVectors(wanted Settings) bool {
	if wanted.Dimensions == 0 {
		wanted.Dimensions = s.Dimensions
	}
	return s.Comparable(wanted) && s.Field == wanted.Field
}

// Meets tells whether a shard with these settings is what a topic asks for with
// wanted, whose dimensions may be left to the provider.
func (s Settings) Meets(wanted Settings) bool {
	if wanted.Dimensions == 0 {
		wanted.Dimensions = s.Dimensions
	}
	return s == wanted
}

// Options are those of a Builder. The dimensions must be known.
func (s Settings) Options() (Options, error) {
	o := Options{Dimensions: s.Dimensions, Model: s.Embedded().String(), M: s.M, EfConstruction: s.EFConstruction}
	for m := Cosine; m <= Dot; m++ {
		if m.String() == s.Metric {
			o.Metric = m
		}
	}
	for e := F32; e <= Binary; e++ {
		if e.String() == s.Quantization {
			o.Encoding = e
		}
	}
	for k := Flat; k <= HNSW; k++ {
		if k.String() == s.Index {
			o.Kind = k
		}
	}
	if o.Dimensions < 1 || o.Dimensions > DimensionsMax || o.Metric == 0 || o.Encoding == 0 || o.Kind == 0 {
		return Options{}, fmt.Errorf("%w: %s", ErrOptions, s)
	}
	return o, nil
}

// Package vectorindex is the index of the embeddings of a range of one
// partition's records: how it is built, kept at rest, merged and searched.
//
// A shard is immutable: docs/formats/shard.md. It answers which vectors are
// nearest to one, by codes of a byte a dimension that are compared first, and by
// the vectors themselves that decide among the best. It is searched where it
// lies: mapped into memory through its graph, if it has one; by ranges of an
// object through its lists, in two rounds of reads.
//
// How much is found is measured, not hoped for: a shard is asked for the
// neighbours of some of its own vectors while they are not in it yet, and keeps
// what part of the true ones came back at which effort (Calibration).
//
// A build is deterministic: the same records, options and seed give the same
// bytes, with any number of workers. The package has no clock and does no I/O.
package vectorindex

import (
	"errors"
	"fmt"
	"math"
)

// ErrVector means that a vector cannot be indexed or searched for: it has another
// number of dimensions, or numbers that are not finite, or too large.
var ErrVector = errors.New("not a vector for this index")

// ErrOptions means that options do not go together.
var ErrOptions = errors.New("options do not go together")

// Metric says which vectors are near.
type Metric uint8

// The metrics. Distances are lower for what is nearer.
const (
	// Cosine is 1 less the cosine of the angle: 0 to 2. A vector of zeros has the
	// distance 1 from all.
	Cosine Metric = iota + 1
	// Euclidean is the length of the difference.
	Euclidean
	// Dot is the product, negated.
	Dot
)

var metricNames = [...]string{Cosine: "cosine", Euclidean: "euclidean", Dot: "dot"}

// String is the metric's name in a topic's settings.
func (m Metric) String() string { return nameOf(metricNames[:], uint8(m), "metric") }

// Score is higher for what is nearer: cosine 1 − distance/2, from 0 to 1;
// euclidean 1/(1 + distance); dot the product.
func (m Metric) Score(distance float32) float32 {
	switch m {
	case Cosine:
		return 1 - distance/2
	case Euclidean:
		return 1 / (1 + distance)
	}
	return -distance
}

// Kind is how a shard is organised.
type Kind uint8

// The kinds.
const (
	// Flat compares a query with all rows.
	Flat Kind = iota + 1
	// IVF has lists of rows that lie near one another, and looks at the nearest.
	IVF
	// HNSW has lists, and a graph that is walked where the shard is in memory.
	HNSW
)

var kindNames = [...]string{Flat: "flat", IVF: "ivf", HNSW: "hnsw"}

// String is the kind's name in a topic's settings.
func (k Kind) String() string { return nameOf(kindNames[:], uint8(k), "kind") }

// Encoding is how vectors are kept.
type Encoding uint8

// The encodings. Codes, which are compared first, are a byte a dimension, but of
// Binary.
const (
	// F32 keeps vectors as they came.
	F32 Encoding = iota + 1
	// F16 keeps numbers of 16 bits.
	F16
	// Int8 keeps the codes and nothing else.
	Int8
	// Binary has codes of a bit a dimension, and keeps vectors as bytes. It is for
	// size: a graph is not walked by bits.
	Binary
)

var encodingNames = [...]string{F32: "f32", F16: "f16", Int8: "int8", Binary: "binary"}

// String is the encoding's name in a topic's settings.
func (e Encoding) String() string { return nameOf(encodingNames[:], uint8(e), "encoding") }

func nameOf(names []string, v uint8, what string) string {
	if v > 0 && int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s %d", what, v)
}

// Limits.
const (
	DimensionsMax = 4096
	// DocumentsMax is how many records a shard can have.
	DocumentsMax = 1<<31 - 1
)

// Options say how a shard is built.
type Options struct {
	Dimensions int
	Metric     Metric
	Encoding   Encoding
	Kind       Kind
	Model      string // that made the vectors; vectors of two are never in one shard
	// M is how many neighbours a row of the graph has, twice as many on the ground.
	M int
	// EfConstruction is how many candidates they are chosen from.
	EfConstruction int
	// FlatMax is up to how many rows a shard is flat, whatever Kind says.
	FlatMax int
	// ListRows is how many rows a list has, more or less.
	ListRows int
	Seed     uint64
	// Workers is how many goroutines build. They do not change what is built.
	Workers int
}

// Defaults of options that are 0.
const (
	DefaultM              = 16
	DefaultEfConstruction = 200
	DefaultFlatMax        = 50_000
	DefaultListRows       = 256
)

func (o Options) withDefaults() (Options, error) {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	set(&o.M, DefaultM)
	set(&o.EfConstruction, max(DefaultEfConstruction, o.M))
	set(&o.FlatMax, DefaultFlatMax)
	set(&o.ListRows, DefaultListRows)
	set(&o.Workers, 1)
	switch {
	case o.Dimensions < 1 || o.Dimensions > DimensionsMax:
		return o, fmt.Errorf("%d dimensions, 1 to %d are possible: %w", o.Dimensions, DimensionsMax, ErrOptions)
	case o.Metric < Cosine || o.Metric > Dot, o.Encoding < F32 || o.Encoding > Binary, o.Kind < Flat || o.Kind > HNSW:
		return o, fmt.Errorf("%s, %s, %s: %w", o.Metric, o.Encoding, o.Kind, ErrOptions)
	case o.Kind == HNSW && o.Encoding == Binary:
		return o, fmt.Errorf("a graph of binary codes finds little, take ivf: %w", ErrOptions)
	case o.M < 2 || o.M > mMax || o.EfConstruction < o.M || o.FlatMax < 0 || o.ListRows < 1 || o.Workers < 1:
		return o, fmt.Errorf("m %d, ef_construction %d, flat up to %d, %d rows a list, %d workers: %w", o.M, o.EfConstruction, o.FlatMax, o.ListRows, o.Workers, ErrOptions)
	}
	return o, nil
}

const mMax = 100

// Check says whether a vector can be indexed or searched for.
func Check(v []float32, dimensions int) error {
	if len(v) != dimensions {
		return fmt.Errorf("a vector of %d dimensions instead of %d: %w", len(v), dimensions, ErrVector)
	}
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	// Squares of distances have to fit in a float32 too. Not a number is not below.
	if !(sum < math.MaxFloat32/16) {
		return fmt.Errorf("a vector with numbers that are not finite or too large: %w", ErrVector)
	}
	return nil
}

// Distance is that of two vectors, computed in float64: what searches are held
// against.
func (m Metric) Distance(a, b []float32) float64 {
	dot, square, aa, bb := 0.0, 0.0, 0.0, 0.0
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot, square, aa, bb = dot+x*y, square+(x-y)*(x-y), aa+x*x, bb+y*y
	}
	switch m {
	case Euclidean:
		return math.Sqrt(square)
	case Dot:
		return -dot
	}
	if aa == 0 || bb == 0 {
		return 1
	}
	return 1 - dot/math.Sqrt(aa*bb)
}

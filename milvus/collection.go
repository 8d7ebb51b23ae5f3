package milvus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// The fields of a row.
const (
	fieldKey       = "id" // partition:offset
	fieldPartition = "partition"
	fieldOffset    = "offset"
	fieldTimestamp = "timestamp" // ms
	fieldVector    = "vector"
)

// keyBytesMax is the length of the longest key.
const keyBytesMax = len("2147483647:9223372036854775807")

// lists is how many lists each of Milvus' segments has of an IVF index; Milvus
// seals a segment at about a million short vectors.
const lists = 1024

// Collection says what a collection holds and how it is indexed.
type Collection struct {
	Name       string
	Dimensions int
	Metric     vectorindex.Metric
	Kind       vectorindex.Kind
	Encoding   vectorindex.Encoding
	// M and EfConstruction are those of an HNSW index.
	M, EfConstruction int
	// Incarnation tells a collection from another that is made in its place, when
	// somebody drops it. Ensure gives it to the one that it makes, as its
	// description; a server that forgets descriptions has none.
	Incarnation string
}

// Supported says whether Milvus has indexes of a kind over vectors that are
// kept in an encoding.
func Supported(kind vectorindex.Kind, encoding vectorindex.Encoding) error {
	switch {
	case encoding == vectorindex.F32 || encoding == vectorindex.F16:
		return nil
	case encoding == vectorindex.Int8 && kind == vectorindex.IVF:
		return nil
	}
	return fmt.Errorf("no %v index of %v vectors in Milvus: it has f32 and f16 of all kinds, and int8 of ivf", kind, encoding)
}

// indexed is the index that Milvus is asked to make.
func (c *Collection) indexed() (entity.Index, error) {
	if err := Supported(c.Kind, c.Encoding); err != nil {
		return nil, err
	}
	metric, err := metricOf(c.Metric)
	if err != nil {
		return nil, err
	}
	kind, params := entity.Flat, map[string]string{}
	switch c.Kind {
	case vectorindex.HNSW:
		kind = entity.HNSW
		params["M"], params["efConstruction"] = strconv.Itoa(c.M), strconv.Itoa(c.EfConstruction)
	case vectorindex.IVF:
		kind = entity.IvfFlat
		if c.Encoding == vectorindex.Int8 {
			kind = entity.IvfSQ8
		}
		params["nlist"] = strconv.Itoa(lists)
	}
	text, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("writing the parameters of an index: %w", err)
	}
	return entity.NewGenericIndex(fieldVector, kind, map[string]string{
		"params": string(text), "metric_type": string(metric),
	}), nil
}

func metricOf(m vectorindex.Metric) (entity.MetricType, error) {
	switch m {
	case vectorindex.Cosine:
		return entity.COSINE, nil
	case vectorindex.Euclidean:
		return entity.L2, nil
	case vectorindex.Dot:
		return entity.IP, nil
	}
	return "", fmt.Errorf("no metric %v in Milvus", m)
}

// fieldType is how Milvus keeps vectors.
func (c *Collection) fieldType() entity.FieldType {
	if c.Encoding == vectorindex.F16 {
		return entity.FieldTypeFloat16Vector
	}
	return entity.FieldTypeFloatVector
}

func (c *Collection) schema() *entity.Schema {
	return entity.NewSchema().WithName(c.Name).WithDescription(c.Incarnation).
		WithField(entity.NewField().WithName(fieldKey).WithDataType(entity.FieldTypeVarChar).WithMaxLength(int64(keyBytesMax)).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName(fieldPartition).WithDataType(entity.FieldTypeInt32)).
		WithField(entity.NewField().WithName(fieldOffset).WithDataType(entity.FieldTypeInt64)).
		WithField(entity.NewField().WithName(fieldTimestamp).WithDataType(entity.FieldTypeInt64)).
		WithField(entity.NewField().WithName(fieldVector).WithDataType(c.fieldType()).WithDim(int64(c.Dimensions)))
}

// Ensure makes the collection, its index, and has Milvus load it, as far as
// that is not so yet. It returns once the collection can be searched, and says
// which incarnation it is. Two that ensure at once do no harm.
func (c *Client) Ensure(ctx context.Context, want Collection) (incarnation string, err error) {
	if incarnation, err = c.ensure(ctx, want); err != nil {
		return "", fmt.Errorf("making the collection %s: %w", want.Name, err)
	}
	return incarnation, nil
}

func (c *Client) ensure(ctx context.Context, want Collection) (incarnation string, err error) {
	index, err := want.indexed()
	if err != nil {
		return "", err
	}
	there, err := c.Has(ctx, want.Name)
	if err == nil && !there {
		err = c.create(ctx, want)
	}
	if err == nil {
		incarnation, err = c.check(ctx, want)
	}
	if err == nil {
		err = c.index(ctx, want.Name, index)
	}
	if err != nil {
		return "", err
	}
	loaded, err := c.loaded(ctx, want.Name)
	if err == nil && !loaded {
		// Loading takes as long as there is to load, and goes on in Milvus when
		// nobody waits for it.
		err = c.sdk.LoadCollection(ctx, want.Name, false)
	}
	return incarnation, err
}

// create makes the collection, unless somebody else did in the meantime.
func (c *Client) create(ctx context.Context, want Collection) error {
	err := c.call(ctx, func(ctx context.Context) error {
		return c.sdk.CreateCollection(ctx, want.schema(), 0)
	})
	if err == nil {
		return nil
	}
	if there, again := c.Has(ctx, want.Name); again == nil && there {
		return nil
	}
	return err
}

// check says whether the collection that is there is the one that is meant, and
// which incarnation.
func (c *Client) check(ctx context.Context, want Collection) (incarnation string, err error) {
	is, err := c.describe(ctx, want.Name)
	if err != nil {
		return "", err
	}
	for _, f := range is.Schema.Fields {
		if f.Name != fieldVector {
			continue
		}
		if f.DataType != want.fieldType() || f.TypeParams[entity.TypeParamDim] != strconv.Itoa(want.Dimensions) {
			return "", fmt.Errorf("it is there with vectors of %s dimensions, type %v", f.TypeParams[entity.TypeParamDim], f.DataType)
		}
		return is.Schema.Description, nil
	}
	return "", errors.New("it is there without a vector: somebody else's")
}

func (c *Client) describe(ctx context.Context, name string) (is *entity.Collection, err error) {
	err = c.call(ctx, func(ctx context.Context) error {
		is, err = c.sdk.DescribeCollection(ctx, name)
		return err
	})
	return is, err
}

// Incarnation says which collection of that name there is. What is not there is
// ErrMissing.
func (c *Client) Incarnation(ctx context.Context, name string) (string, error) {
	is, err := c.describe(ctx, name)
	if err != nil {
		return "", fmt.Errorf("looking at the collection %s: %w", name, err)
	}
	return is.Schema.Description, nil
}

// index makes the index, unless there is one.
func (c *Client) index(ctx context.Context, name string, index entity.Index) error {
	return c.call(ctx, func(ctx context.Context) error {
		there, err := c.sdk.DescribeIndex(ctx, name, fieldVector)
		if err == nil && len(there) > 0 || err != nil && !errors.Is(err, errNoIndex) {
			return err
		}
		return c.sdk.CreateIndex(ctx, name, fieldVector, index, true)
	})
}

func (c *Client) loaded(ctx context.Context, name string) (yes bool, err error) {
	err = c.call(ctx, func(ctx context.Context) error {
		state, err := c.sdk.GetLoadState(ctx, name, nil)
		yes = state == entity.LoadStateLoaded
		return err
	})
	return yes, err
}

// Has says whether there is a collection of that name.
func (c *Client) Has(ctx context.Context, name string) (yes bool, err error) {
	err = c.call(ctx, func(ctx context.Context) error {
		yes, err = c.sdk.HasCollection(ctx, name)
		return err
	})
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return yes, err
}

// Drop removes a collection with all that is in it. One that is not there is
// dropped already.
func (c *Client) Drop(ctx context.Context, name string) error {
	err := c.call(ctx, func(ctx context.Context) error { return c.sdk.DropCollection(ctx, name) })
	if err == nil || errors.Is(err, ErrMissing) {
		return nil
	}
	if there, again := c.Has(ctx, name); again == nil && !there {
		return nil
	}
	return fmt.Errorf("dropping the collection %s: %w", name, err)
}

// Collections lists the names that begin so.
func (c *Client) Collections(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	err := c.call(ctx, func(ctx context.Context) error {
		// The SDK's own way counts ids, which Milvus Lite does not tell.
		all, err := c.sdk.Service.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{})
		for _, name := range all.GetCollectionNames() {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing collections: %w", err)
	}
	return names, nil
}

// call bounds one request.
func (c *Client) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := c.within(ctx)
	defer cancel()
	return f(ctx)
}

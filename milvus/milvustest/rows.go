package milvustest

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

func (s *Server) Upsert(_ context.Context, req *milvuspb.UpsertRequest) (*milvuspb.MutationResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[req.CollectionName]
	if c == nil {
		return &milvuspb.MutationResult{Status: missing(req.CollectionName)}, nil
	}
	keys, err := c.put(req.FieldsData, int(req.NumRows))
	if err != nil {
		return &milvuspb.MutationResult{Status: failure(1100, err.Error())}, nil
	}
	return &milvuspb.MutationResult{Status: success(), IDs: ids(keys), UpsertCnt: int64(len(keys))}, nil
}

func ids(keys []string) *schemapb.IDs {
	return &schemapb.IDs{IdField: &schemapb.IDs_StrId{StrId: &schemapb.StringArray{Data: keys}}}
}

func (c *collection) put(columns []*schemapb.FieldData, n int) ([]string, error) {
	var keys []string
	rows := make([]row, n)
	for i := range rows {
		rows[i].numbers = map[string]int64{}
	}
	for _, column := range columns {
		scalars := column.GetScalars()
		switch column.Type {
		case schemapb.DataType_VarChar:
			keys = scalars.GetStringData().GetData()
		case schemapb.DataType_Int32:
			for i, v := range scalars.GetIntData().GetData() {
				rows[i].numbers[column.FieldName] = int64(v)
			}
		case schemapb.DataType_Int64:
			for i, v := range scalars.GetLongData().GetData() {
				rows[i].numbers[column.FieldName] = v
			}
		case schemapb.DataType_FloatVector, schemapb.DataType_Float16Vector:
			dimensions := int(column.GetVectors().GetDim())
			flat := column.GetVectors().GetFloatVector().GetData()
			if column.Type == schemapb.DataType_Float16Vector {
				flat = fromHalves(column.GetVectors().GetFloat16Vector())
			}
			if len(flat) != n*dimensions {
				return nil, fmt.Errorf("%d numbers for %d vectors of %d dimensions", len(flat), n, dimensions)
			}
			for i := range rows {
				rows[i].vector = flat[i*dimensions : (i+1)*dimensions]
			}
		default:
			return nil, fmt.Errorf("a column of type %v", column.Type)
		}
	}
	if len(keys) != n || len(columns) != len(c.schema.Fields) {
		return nil, fmt.Errorf("%d keys for %d rows, %d columns", len(keys), n, len(columns))
	}
	for i, key := range keys {
		c.rows[key] = rows[i]
	}
	return keys, nil
}

func fromHalves(b []byte) []float32 {
	v := make([]float32, len(b)/2)
	for i := range v {
		v[i] = kernel.F32(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return v
}

func (s *Server) Delete(_ context.Context, req *milvuspb.DeleteRequest) (*milvuspb.MutationResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[req.CollectionName]
	if c == nil {
		return &milvuspb.MutationResult{Status: missing(req.CollectionName)}, nil
	}
	pass, err := compile(req.Expr)
	if err != nil {
		return &milvuspb.MutationResult{Status: failure(1100, err.Error())}, nil
	}
	n := 0
	for key, r := range c.rows {
		if pass(key, r) {
			delete(c.rows, key)
			n++
		}
	}
	return &milvuspb.MutationResult{Status: success(), DeleteCnt: int64(n)}, nil
}

// Query counts, and nothing else.
func (s *Server) Query(_ context.Context, req *milvuspb.QueryRequest) (*milvuspb.QueryResults, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, why := s.readable(req.CollectionName)
	if why != nil {
		return &milvuspb.QueryResults{Status: why}, nil
	}
	pass, err := compile(req.Expr)
	if err != nil || !slices.Equal(req.OutputFields, []string{"count(*)"}) {
		return &milvuspb.QueryResults{Status: failure(1100, fmt.Sprintf("%v of %v: %v", req.OutputFields, req.Expr, err))}, nil
	}
	n := int64(0)
	for key, r := range c.rows {
		if strong(req.ConsistencyLevel, req.UseDefaultConsistency) && pass(key, r) {
			n++
		}
	}
	return &milvuspb.QueryResults{Status: success(), FieldsData: []*schemapb.FieldData{longs("count(*)", []int64{n})}}, nil
}

func longs(name string, values []int64) *schemapb.FieldData {
	return &schemapb.FieldData{FieldName: name, Type: schemapb.DataType_Int64, Field: &schemapb.FieldData_Scalars{
		Scalars: &schemapb.ScalarField{Data: &schemapb.ScalarField_LongData{LongData: &schemapb.LongArray{Data: values}}},
	}}
}

func strong(level commonpb.ConsistencyLevel, byDefault bool) bool {
	return level == commonpb.ConsistencyLevel_Strong && !byDefault
}

// readable is a collection that can be searched, or why there is none.
func (s *Server) readable(name string) (*collection, *commonpb.Status) {
	c := s.collections[name]
	switch {
	case c == nil:
		return nil, missing(name)
	case !c.loaded:
		return nil, failure(101, "collection not loaded")
	}
	return c, nil
}

type scored struct {
	key      string
	row      row
	distance float64
}

func (s *Server) Search(_ context.Context, req *milvuspb.SearchRequest) (*milvuspb.SearchResults, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, why := s.readable(req.CollectionName)
	if why != nil {
		return &milvuspb.SearchResults{Status: why}, nil
	}
	pass, err := compile(req.Dsl)
	if err != nil {
		return &milvuspb.SearchResults{Status: failure(1100, err.Error())}, nil
	}
	params := map[string]string{}
	for _, p := range req.SearchParams {
		params[p.Key] = p.Value
	}
	if params["metric_type"] != c.index["metric_type"] {
		return &milvuspb.SearchResults{Status: failure(1100, "metric type not match")}, nil
	}
	k, err := strconv.Atoi(params["topk"])
	if err == nil {
		err = c.effort(params["params"], k)
	}
	query, bad := vectorOf(req.PlaceholderGroup)
	if err = cmp.Or(err, bad); err != nil {
		return &milvuspb.SearchResults{Status: failure(1100, err.Error())}, nil
	}
	var found []scored
	for key, r := range c.rows {
		if strong(req.ConsistencyLevel, req.UseDefaultConsistency) && pass(key, r) {
			found = append(found, scored{key, r, metrics[params["metric_type"]].Distance(query, r.vector)})
		}
	}
	slices.SortFunc(found, func(a, b scored) int { return cmp.Compare(a.distance, b.distance) })
	return answer(found[:min(k, len(found))], params["metric_type"]), nil
}

var metrics = map[string]vectorindex.Metric{"COSINE": vectorindex.Cosine, "L2": vectorindex.Euclidean, "IP": vectorindex.Dot}

// effort refuses what Milvus refuses.
func (c *collection) effort(text string, k int) error {
	var given struct {
		Ef     int `json:"ef"`
		Probes int `json:"nprobe"`
	}
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return fmt.Errorf("search parameters %q: %w", text, err)
	}
	switch c.index["index_type"] {
	case "HNSW":
		if given.Ef < k || given.Ef > 32768 {
			return fmt.Errorf("ef(%d) should be larger than k(%d)", given.Ef, k)
		}
	case "IVF_FLAT", "IVF_SQ8":
		if given.Probes < 1 {
			return fmt.Errorf("no nprobe in %s", text)
		}
	}
	return nil
}

func vectorOf(group []byte) ([]float32, error) {
	asked := &commonpb.PlaceholderGroup{}
	if err := proto.Unmarshal(group, protoadapt.MessageV2Of(asked)); err != nil {
		return nil, fmt.Errorf("vectors: %w", err)
	}
	if len(asked.Placeholders) != 1 || len(asked.Placeholders[0].Values) != 1 {
		return nil, fmt.Errorf("%d vectors", len(asked.Placeholders))
	}
	b := asked.Placeholders[0].Values[0]
	if asked.Placeholders[0].Type == commonpb.PlaceholderType_Float16Vector {
		return fromHalves(b), nil
	}
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v, nil
}

// answer has the scores that Milvus gives: a cosine, a square, a product.
func answer(found []scored, metric string) *milvuspb.SearchResults {
	data := &schemapb.SearchResultData{NumQueries: 1, TopK: int64(len(found)), Topks: []int64{int64(len(found))}}
	var keys []string
	var times []int64
	for _, f := range found {
		keys, times = append(keys, f.key), append(times, f.row.numbers["timestamp"])
		score := -f.distance
		switch metric {
		case "COSINE":
			score = 1 - f.distance
		case "L2":
			score = f.distance * f.distance
		}
		data.Scores = append(data.Scores, float32(score))
	}
	data.Ids = ids(keys)
	if len(found) > 0 {
		data.FieldsData = []*schemapb.FieldData{longs("timestamp", times)}
	}
	return &milvuspb.SearchResults{Status: success(), Results: data}
}

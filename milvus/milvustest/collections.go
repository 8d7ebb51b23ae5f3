package milvustest

import (
	"context"
	"maps"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

func (s *Server) CreateCollection(_ context.Context, req *milvuspb.CreateCollectionRequest) (*commonpb.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	schema := &schemapb.CollectionSchema{}
	if err := proto.Unmarshal(req.Schema, protoadapt.MessageV2Of(schema)); err != nil {
		return failure(1100, err.Error()), nil
	}
	if s.collections[req.CollectionName] != nil {
		return failure(65535, "collection already exists"), nil
	}
	for i, field := range schema.Fields {
		field.FieldID = int64(100 + i)
	}
	s.collections[req.CollectionName] = &collection{schema: schema, rows: map[string]row{}}
	return success(), nil
}

func (s *Server) DescribeCollection(_ context.Context, req *milvuspb.DescribeCollectionRequest) (*milvuspb.DescribeCollectionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[req.CollectionName]
	if c == nil {
		return &milvuspb.DescribeCollectionResponse{Status: missing(req.CollectionName)}, nil
	}
	return &milvuspb.DescribeCollectionResponse{Status: success(), CollectionName: req.CollectionName, Schema: c.schema}, nil
}

func (s *Server) HasCollection(_ context.Context, req *milvuspb.HasCollectionRequest) (*milvuspb.BoolResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &milvuspb.BoolResponse{Status: success(), Value: s.collections[req.CollectionName] != nil}, nil
}

func (s *Server) DropCollection(_ context.Context, req *milvuspb.DropCollectionRequest) (*commonpb.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.collections[req.CollectionName] == nil {
		return missing(req.CollectionName), nil
	}
	delete(s.collections, req.CollectionName)
	return success(), nil
}

func (s *Server) ShowCollections(context.Context, *milvuspb.ShowCollectionsRequest) (*milvuspb.ShowCollectionsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &milvuspb.ShowCollectionsResponse{Status: success(), CollectionNames: slices.Sorted(maps.Keys(s.collections))}, nil
}

func (s *Server) CreateIndex(_ context.Context, req *milvuspb.CreateIndexRequest) (*commonpb.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[req.CollectionName]
	switch {
	case c == nil:
		return missing(req.CollectionName), nil
	case c.index != nil:
		return failure(65535, "at most one distinct index is allowed per field"), nil
	}
	c.index = map[string]string{}
	for _, p := range req.ExtraParams {
		c.index[p.Key] = p.Value
	}
	return success(), nil
}

func (s *Server) DescribeIndex(_ context.Context, req *milvuspb.DescribeIndexRequest) (*milvuspb.DescribeIndexResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[req.CollectionName]
	switch {
	case c == nil:
		return &milvuspb.DescribeIndexResponse{Status: missing(req.CollectionName)}, nil
	case c.index == nil:
		return &milvuspb.DescribeIndexResponse{Status: failure(700, "index not found")}, nil
	}
	description := &milvuspb.IndexDescription{IndexName: req.FieldName, FieldName: req.FieldName, State: commonpb.IndexState_Finished}
	for name, value := range c.index {
		description.Params = append(description.Params, &commonpb.KeyValuePair{Key: name, Value: value})
	}
	return &milvuspb.DescribeIndexResponse{Status: success(), IndexDescriptions: []*milvuspb.IndexDescription{description}}, nil
}

func (s *Server) LoadCollection(_ context.Context, req *milvuspb.LoadCollectionRequest) (*commonpb.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[req.CollectionName]
	switch {
	case c == nil:
		return missing(req.CollectionName), nil
	case c.index == nil:
		return failure(700, "index not found"), nil
	}
	c.loaded = true
	return success(), nil
}

func (s *Server) GetLoadState(_ context.Context, req *milvuspb.GetLoadStateRequest) (*milvuspb.GetLoadStateResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := commonpb.LoadState_LoadStateNotExist
	if c := s.collections[req.CollectionName]; c != nil {
		state = commonpb.LoadState_LoadStateNotLoad
		if c.loaded {
			state = commonpb.LoadState_LoadStateLoaded
		}
	}
	return &milvuspb.GetLoadStateResponse{Status: success(), State: state}, nil
}

func (s *Server) GetLoadingProgress(_ context.Context, req *milvuspb.GetLoadingProgressRequest) (*milvuspb.GetLoadingProgressResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &milvuspb.GetLoadingProgressResponse{Status: success()}
	if c := s.collections[req.CollectionName]; c != nil && c.loaded {
		answer.Progress = 100
	}
	return answer, nil
}

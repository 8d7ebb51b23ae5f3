package milvustest

import (
	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
)

func success() *commonpb.Status { return &commonpb.Status{} }

func failure(code int32, reason string) *commonpb.Status {
	return &commonpb.Status{Code: code, ErrorCode: commonpb.ErrorCode_UnexpectedError, Reason: reason}
}

func missing(name string) *commonpb.Status {
	return failure(100, "collection not found[database=default][collection="+name+"]")
}

// refuse is an answer that says why nothing was done, in the form of the
// method's answers.
func refuse(method string, fault Fault) any {
	var why *commonpb.Status
	switch fault {
	case RateLimited:
		why = &commonpb.Status{Code: 8, ErrorCode: commonpb.ErrorCode_RateLimit, Reason: "planned: request is rejected by limiter", Retriable: true}
	case Denied:
		why = failure(1401, "planned: privilege not permitted")
	default:
		why = failure(5, "planned: service internal error")
	}
	switch method {
	case "Upsert", "Delete", "Insert":
		return &milvuspb.MutationResult{Status: why}
	case "Search":
		return &milvuspb.SearchResults{Status: why}
	case "Query":
		return &milvuspb.QueryResults{Status: why}
	case "HasCollection":
		return &milvuspb.BoolResponse{Status: why}
	case "DescribeCollection":
		return &milvuspb.DescribeCollectionResponse{Status: why}
	case "DescribeIndex":
		return &milvuspb.DescribeIndexResponse{Status: why}
	case "ShowCollections":
		return &milvuspb.ShowCollectionsResponse{Status: why}
	case "GetLoadState":
		return &milvuspb.GetLoadStateResponse{Status: why}
	case "GetLoadingProgress":
		return &milvuspb.GetLoadingProgressResponse{Status: why}
	}
	return why
}

package milvus

import (
	"context"
	"errors"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrMissing means that a collection is not there.
var ErrMissing = errors.New("the collection does not exist")

// ErrNotLoaded means that a collection is there and not yet in the memory of
// Milvus, so that it cannot be searched.
var ErrNotLoaded = errors.New("the collection is not loaded")

// ErrDenied means that Milvus does not know the user, or does not let them.
var ErrDenied = errors.New("denied by Milvus")

// errNoIndex means that a collection has no index yet.
var errNoIndex = errors.New("there is no index")

// errNothing means that a search found no row. The SDK takes an answer without
// rows for one without fields, so it is not shown any.
var errNothing = errors.New("nothing was found")

// Error is what Milvus answered instead of doing what it was asked.
type Error struct {
	Method string // of its gRPC service
	Code   int32  // Milvus' own
	Reason string
	// Temporary errors may be gone when the same is asked a little later.
	Temporary bool

	kind error
}

func (e *Error) Error() string {
	return fmt.Sprintf("Milvus answers %s with error %d: %s", e.Method, e.Code, e.Reason)
}

// Unwrap says what it means, if that is known.
func (e *Error) Unwrap() error { return e.kind }

// Temporary reports whether the same may succeed a little later: Milvus was
// away, slow or busy. What it refuses for good is not.
func Temporary(err error) bool {
	if refused := (*Error)(nil); errors.As(err, &refused) {
		return refused.Temporary
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted, codes.DeadlineExceeded:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// Codes of Milvus 2.3 and later; older ones are in commonpb.ErrorCode.
const (
	codeRequestLimit     = 4
	codeRateLimit        = 8
	codeMissing          = 100
	codeNotLoaded        = 101
	codeNotFullyLoaded   = 103
	codeNoIndex          = 700
	codeUnauthenticated  = 1400
	codeNotPermitted     = 1401
	codeNeedAuthenticate = 1800
)

// tell turns a refusal within an answer into an error that keeps its code,
// which the SDK forgets.
func tell(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := invoke(ctx, method, req, reply, cc, opts...); err != nil {
		if code := status.Code(err); code == codes.Unauthenticated || code == codes.PermissionDenied {
			return &Error{Method: method, Code: codeUnauthenticated, Reason: status.Convert(err).Message(), kind: ErrDenied}
		}
		return err
	}
	answer, ok := reply.(*commonpb.Status)
	if !ok {
		with, has := reply.(interface{ GetStatus() *commonpb.Status })
		if !has {
			return nil
		}
		answer = with.GetStatus()
	}
	if answer.GetCode() != 0 || oldCode(answer) != commonpb.ErrorCode_Success {
		return refusal(method, answer)
	}
	if found, ok := reply.(*milvuspb.SearchResults); ok && len(found.GetResults().GetScores()) == 0 {
		return errNothing
	}
	return nil
}

// oldCode is all that a Milvus before 2.3 gives, and Milvus Lite.
func oldCode(answer *commonpb.Status) commonpb.ErrorCode {
	//lint:ignore SA1019 it is the only one that some servers fill in
	return answer.GetErrorCode()
}

func refusal(method string, answer *commonpb.Status) error {
	e := &Error{Method: method, Code: answer.GetCode(), Reason: answer.GetReason(), Temporary: answer.GetRetriable()}
	old := oldCode(answer)
	switch {
	case e.Code == codeMissing || old == commonpb.ErrorCode_CollectionNotExists:
		e.kind = ErrMissing
	case e.Code == codeNoIndex || old == commonpb.ErrorCode_IndexNotExist:
		e.kind = errNoIndex
	case e.Code == codeNotLoaded || e.Code == codeNotFullyLoaded:
		e.kind, e.Temporary = ErrNotLoaded, true
	case e.Code == codeUnauthenticated || e.Code == codeNotPermitted || e.Code == codeNeedAuthenticate || old == commonpb.ErrorCode_PermissionDenied:
		e.kind = ErrDenied
	case e.Code == codeRateLimit || e.Code == codeRequestLimit || old == commonpb.ErrorCode_RateLimit:
		e.Temporary = true
	}
	if e.Code == 0 {
		e.Code = int32(old)
	}
	return e
}

package flight

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/auth"
)

// errorDomain marks details whose reason is an error_code of the HTTP API.
const errorDomain = "chronik"

// codeOf gives each error_code of the HTTP API its gRPC code.
var codeOf = map[string]codes.Code{
	"INVALID_QUERY": codes.InvalidArgument, "INVALID_REQUEST": codes.InvalidArgument,
	"UNAUTHORIZED": codes.Unauthenticated, "FORBIDDEN": codes.PermissionDenied,
	"TOPIC_NOT_FOUND": codes.NotFound, "FEATURE_DISABLED": codes.Unimplemented,
	"TOO_LARGE": codes.ResourceExhausted, "RATE_LIMITED": codes.ResourceExhausted,
	"INTERNAL_ERROR": codes.Internal, "EMBEDDING_ERROR": codes.Unavailable,
	"UNAVAILABLE": codes.Unavailable, "TIMEOUT": codes.DeadlineExceeded,
}

// StatusOf turns any error into a status. One that is a status already stays.
func StatusOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	// Who has ended the call comes first: what broke thereby does not matter.
	if errors.Is(ctx.Err(), context.Canceled) {
		if cause := context.Cause(ctx); status.Code(cause) != codes.Unknown {
			return cause
		}
		return status.Error(codes.Canceled, "the client has ended the call")
	}
	var failed *envelope.Failure
	switch {
	case errors.As(err, &failed):
		return failure(failed)
	case errors.Is(err, auth.ErrUnauthenticated):
		return failure(envelope.New(0, "UNAUTHORIZED", "Unauthorized", err.Error()))
	case errors.Is(err, context.DeadlineExceeded):
		return failure(envelope.New(0, "TIMEOUT", "Timeout", "not done in time"))
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return failure(envelope.New(0, "INTERNAL_ERROR", "InternalError", err.Error()))
}

// failure is a status with the error_code as the details' reason, and the rest
// of the envelope as their metadata.
func failure(f *envelope.Failure) error {
	code, known := codeOf[f.Code]
	if !known {
		code = codes.Unknown
	}
	info := &errdetails.ErrorInfo{Reason: f.Code, Domain: errorDomain, Metadata: map[string]string{"error_type": f.Type}}
	for name, value := range f.Details {
		info.Metadata[name] = fmt.Sprint(value)
	}
	s := status.New(code, f.Message)
	if detailed, err := s.WithDetails(info); err == nil {
		return detailed.Err()
	}
	return s.Err()
}

func invalid(format string, args ...any) error {
	return envelope.New(0, "INVALID_REQUEST", "InvalidRequest", fmt.Sprintf(format, args...))
}

func disabled(message string) error {
	return envelope.New(0, "FEATURE_DISABLED", "FeatureDisabled", message)
}

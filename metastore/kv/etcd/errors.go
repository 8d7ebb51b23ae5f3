package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Refusals that the operator has to mend.
var (
	// ErrNoPermission: the user may not read or write these keys.
	ErrNoPermission = errors.New("etcd refuses access")
	// ErrNotAuthenticated: no such user, a wrong password, or none where one is asked for.
	ErrNotAuthenticated = errors.New("etcd does not know the user")
)

// known maps etcd's errors that mean the same for reads and writes. All of
// them are answers: the request was looked at and not done.
var known = []struct{ etcd, kv error }{
	{rpctypes.ErrLeaseNotFound, kv.ErrLeaseNotFound},
	{rpctypes.ErrCompacted, kv.ErrCompacted},
	{rpctypes.ErrTooManyOps, kv.ErrTooLarge},
	{rpctypes.ErrDuplicateKey, kv.ErrTooLarge},
	{rpctypes.ErrRequestTooLarge, kv.ErrTooLarge},
	{rpctypes.ErrNoSpace, kv.ErrUnavailable},
	{rpctypes.ErrTooManyRequests, kv.ErrUnavailable},
	// A token that has expired, or that a restarted member does not know: the
	// next request comes with a new one.
	{rpctypes.ErrInvalidAuthToken, kv.ErrUnavailable},
	{rpctypes.ErrAuthOldRevision, kv.ErrUnavailable},
	{rpctypes.ErrPermissionDenied, ErrNoPermission},
	{rpctypes.ErrAuthFailed, ErrNotAuthenticated},
	{rpctypes.ErrUserEmpty, ErrNotAuthenticated},
}

func knownError(err error) error {
	err = spelledOut(err)
	for _, k := range known {
		if errors.Is(err, k.etcd) {
			return fmt.Errorf("%w: %w", k.kv, err)
		}
	}
	if refused(err) {
		return err
	}
	return nil
}

// spelledOut finds etcd's error in one that has it as text only: so comes why a
// watch was refused.
func spelledOut(err error) error {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return err
	}
	if _, description, found := strings.Cut(err.Error(), "desc = "); found {
		if known := rpctypes.Error(status.Error(codes.Unknown, description)); errors.As(known, &e) {
			return known
		}
	}
	return err
}

// isRefusal says that the server understood the request and will not do it,
// now or later: a wrong argument, a missing permission. err is what readError
// or writeError made of the server's.
func isRefusal(err error) bool { return !errors.Is(err, kv.ErrUnavailable) && refused(err) }

func refused(err error) bool {
	switch codeOf(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return true
	}
	return false
}

func codeOf(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}

// readError is the error of a request without effect.
func readError(ctx context.Context, err error) error {
	if e := knownError(err); e != nil {
		return e
	}
	return fmt.Errorf("%w: %w", kv.ErrUnavailable, withContext(ctx, err))
}

// writeError is the error of a request with an effect. Whatever is not surely a
// refusal leaves it open: a timeout and a lost connection, a leader that
// stepped down, a server that stops.
func writeError(ctx context.Context, err error) error {
	if e := knownError(err); e != nil {
		return e
	}
	return fmt.Errorf("%w: %w", kv.ErrUnknownOutcome, withContext(ctx, err))
}

// withContext makes err wrap ctx's error if that has ended: gRPC says so in words.
func withContext(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

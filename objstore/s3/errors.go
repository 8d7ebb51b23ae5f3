package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/chronik-stream/chronik/objstore"
)

// errPrecondition is the store's 412; which of our errors that is, only the put
// knows that asked.
var errPrecondition = errors.New("precondition failed")

// explain gives an error its operation and object, and the meaning that callers
// test for.
func explain(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		// The libraries have words of their own for it.
		return fmt.Errorf("%s %s: %w: %v", op, name, ended, err)
	}
	if kind := meaning(err); kind != nil {
		return fmt.Errorf("%s %s: %w: %s", op, name, kind, describe(err))
	}
	return fmt.Errorf("%s %s: %s", op, name, describe(err))
}

// describe adds the store's code, which its messages often lack.
func describe(err error) string {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return fmt.Sprintf("%s (%s, HTTP %d)", strings.TrimSuffix(answer.Error(), "."), answer.Code, answer.StatusCode)
	}
	return err.Error()
}

// meaning is our sentinel for an error of the libraries; nil for one that asking
// again does not heal.
func meaning(err error) error {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		var certificate *tls.CertificateVerificationError
		if errors.As(err, &certificate) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
			return nil
		}
		return objstore.ErrUnavailable // the network
	}
	switch answer.Code {
	case minio.NoSuchKey:
		return objstore.ErrNotFound
	case minio.PreconditionFailed:
		return errPrecondition
	case minio.InvalidRange:
		return objstore.ErrRange
	case minio.NoSuchBucket:
		return nil
	case minio.UnexpectedEOF, // minio-go's own word for a cut connection or body
		"SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted":
		return objstore.ErrUnavailable
	}
	switch answer.StatusCode {
	case http.StatusPreconditionFailed:
		return errPrecondition
	case http.StatusRequestedRangeNotSatisfiable:
		return objstore.ErrRange
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusConflict,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return objstore.ErrUnavailable
	}
	return nil
}

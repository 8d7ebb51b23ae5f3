package aws

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/chronik-stream/chronik/objstore"
)

// errPrecondition is the store's 412; which of our errors that is, only the put
// knows that asked.
var errPrecondition = errors.New("precondition failed")

// explain gives an error its operation and object, and the meaning that callers
// test for.
func (b *Bucket) explain(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		// The SDK has words of its own for it.
		return fmt.Errorf("%s %s: %w: %s", op, name, ended, describe(err))
	}
	if kind := b.meaning(err); kind != nil {
		return fmt.Errorf("%s %s: %w: %s", op, name, kind, describe(err))
	}
	return fmt.Errorf("%s %s: %s", op, name, describe(err))
}

// describe is the store's code, message and request number, without the SDK's
// frames around them.
func describe(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err.Error()
	}
	text := api.ErrorCode()
	if m := strings.TrimSuffix(api.ErrorMessage(), "."); m != "" {
		text = m + " (" + text + ")"
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		text += fmt.Sprintf(", HTTP %d, request %q", response.HTTPStatusCode(), response.ServiceRequestID())
	}
	return text
}

// code is the store's word for an error; empty for one that is not the store's.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// meaning is our sentinel for an error of the SDK; nil for one that asking again
// does not heal.
func (b *Bucket) meaning(err error) error {
	switch code(err) {
	case "NoSuchKey", "NotFound":
		return objstore.ErrNotFound
	case "PreconditionFailed":
		return errPrecondition
	case "InvalidRange":
		return objstore.ErrRange
	case "NoSuchBucket":
		return nil
	case "SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted",
		"RequestTimeTooSkewed", // the SDK has noted the store's clock and signs the next by it
		"BadDigest", "XAmzContentSHA256Mismatch":
		return objstore.ErrUnavailable
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken":
		return b.renew()
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil || response.HTTPStatusCode() == 0 {
		return network(err)
	}
	switch response.HTTPStatusCode() {
	case http.StatusNotFound:
		return objstore.ErrNotFound
	case http.StatusPreconditionFailed:
		return errPrecondition
	case http.StatusRequestedRangeNotSatisfiable:
		return objstore.ErrRange
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusConflict,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return objstore.ErrUnavailable
	}
	if response.HTTPStatusCode() < http.StatusMultipleChoices {
		return objstore.ErrUnavailable // the answer broke off, or did not match its checksum
	}
	return nil
}

// renew forgets keys that the store no longer takes, before their time, so that
// the next attempt fetches others. Keys that were given to us stay what they are.
func (b *Bucket) renew() error {
	cache, ok := b.keys.(*sdk.CredentialsCache)
	if b.static || !ok {
		return nil
	}
	cache.Invalidate()
	return objstore.ErrUnavailable
}

// network is the meaning of an error without an answer: of the connection, or
// of one that the credentials come over.
func network(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return nil
	}
	return objstore.ErrUnavailable
}

package objstore

import (
	"errors"
	"fmt"
	"net/http"
)

// Advise adds to the error of a store that was asked for its bucket what the
// operator can do about it: stores that speak S3 answer with little more than a status.
func Advise(status int, err error) error {
	switch {
	case err == nil || errors.Is(err, ErrUnavailable):
		return err
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("%w: are the keys right, and may they use this bucket? They are objstore.access_key and objstore.secret_key (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)", err)
	case status == http.StatusBadRequest:
		return fmt.Errorf("%w: is objstore.bucket (S3_BUCKET) a name that the store allows, and objstore.region (S3_REGION) its region?", err)
	case status == 0:
		return fmt.Errorf("%w: is objstore.endpoint (S3_ENDPOINT) right, with http:// or https://?", err)
	}
	return err
}

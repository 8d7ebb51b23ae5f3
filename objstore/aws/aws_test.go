package aws_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore/aws"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

var backend objtest.S3 = func(ctx context.Context, c objtest.S3Config) (objtest.S3Bucket, error) {
	return aws.New(ctx, aws.Config{
		Bucket: c.Bucket, Endpoint: c.Endpoint, AccessKey: c.AccessKey, SecretKey: c.SecretKey,
		PathStyle: true, // the servers of tests have no names for buckets
		PartBytes: c.PartBytes, Transport: c.Transport,
	})
}

func TestMinIOKeepsTheContract(t *testing.T) { backend.RunMinIO(t) }

func TestVersityKeepsTheContract(t *testing.T) { backend.RunVersity(t) }

func TestAnswersAndConfigurations(t *testing.T) { backend.RunAnswers(t) }

func TestACertificateFileMustBeThere(t *testing.T) {
	_, err := aws.New(t.Context(), aws.Config{Bucket: "b", CAFile: "/nowhere/ca.pem"})
	require.Error(t, err)
}

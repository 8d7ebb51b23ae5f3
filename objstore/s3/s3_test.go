package s3_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore/objtest"
	"github.com/chronik-stream/chronik/objstore/s3"
)

var backend objtest.S3 = func(_ context.Context, c objtest.S3Config) (objtest.S3Bucket, error) {
	return s3.New(config(c))
}

func config(c objtest.S3Config) s3.Config {
	return s3.Config{
		Bucket: c.Bucket, Endpoint: c.Endpoint, AccessKey: c.AccessKey, SecretKey: c.SecretKey,
		PartBytes: c.PartBytes, Transport: c.Transport,
	}
}

func TestMinIOKeepsTheContract(t *testing.T) { backend.RunMinIO(t) }

func TestVersityKeepsTheContract(t *testing.T) { backend.RunVersity(t) }

func TestAnswersAndConfigurations(t *testing.T) { backend.RunAnswers(t) }

func TestACertificateFileMustBeThere(t *testing.T) {
	_, err := s3.New(s3.Config{Bucket: "b", CAFile: "/nowhere/ca.pem"})
	require.Error(t, err)
}

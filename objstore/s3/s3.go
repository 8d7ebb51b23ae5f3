// Package s3 is a bucket in S3 or a store that speaks its protocol (MinIO,
// Ceph, R2, …).
//
// Reads and deletes go through thanos-io/objstore's provider. It knows neither
// conditions nor ETags nor the sizes of what it lists, so puts, heads and lists
// go through minio-go, with the same credentials and over the same connections.
//
// Every method makes one attempt: minio-go's own retries are off, because they
// would hide from objstore/retry that an earlier attempt may have had its effect.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/thanos-io/objstore/exthttp"
	thanos "github.com/thanos-io/objstore/providers/s3"

	"github.com/chronik-stream/chronik/objstore"
)

// Config says which bucket, where, and as whom.
type Config struct {
	Bucket string
	// Endpoint is "http(s)://host[:port]", or "host[:port]" for TLS; empty is
	// AWS in the region.
	Endpoint string
	Region   string // default us-east-1
	// AccessKey and SecretKey; without them the credentials come from the AWS
	// environment variables, the AWS credentials file or the machine's role.
	AccessKey, SecretKey, SessionToken string
	PathStyle                          bool   // http://host/bucket/name even where the name of the host could hold the bucket
	CAFile                             string // PEM, to trust besides the system's
	// PartBytes is the largest object that goes up in one request, and the size
	// of the parts of larger ones. Default 512 MiB, so that every object of ours
	// is one request: not all stores keep conditions on uploads in parts. No
	// part is held in memory.
	PartBytes int64

	// Transport replaces the HTTP transport, for tests.
	Transport http.RoundTripper
}

const (
	defaultRegion    = "us-east-1"
	defaultPartBytes = 512 << 20
	// minPartBytes is S3's own limit.
	minPartBytes = 5 << 20

	dialTimeout = 5 * time.Second
	// answerTimeout bounds the wait for an answer's header, once the request is
	// out. How long bodies may take, contexts bound.
	answerTimeout = time.Minute
	// bufferBytes of each connection: the default of 4 KiB costs a system call
	// for each.
	bufferBytes = 64 << 10
)

// Bucket is an objstore.Bucket.
type Bucket struct {
	name      string
	partBytes int64
	client    *minio.Client
	provider  *thanos.Bucket
	transport *http.Transport // nil when it is not ours
}

// New prepares a bucket without talking to the store.
func New(c Config) (*Bucket, error) {
	b, err := build(c)
	if err != nil {
		return nil, fmt.Errorf("s3 bucket %q: %w", c.Bucket, err)
	}
	return b, nil
}

func build(c Config) (*Bucket, error) {
	switch {
	case c.Bucket == "":
		return nil, errors.New("no bucket is named")
	case (c.AccessKey == "") != (c.SecretKey == ""):
		return nil, errors.New("access key and secret key go together")
	case c.PartBytes == 0:
		c.PartBytes = defaultPartBytes
	case c.PartBytes < minPartBytes:
		return nil, fmt.Errorf("parts of %d bytes are below S3's least, %d", c.PartBytes, minPartBytes)
	}
	if c.Region == "" {
		c.Region = defaultRegion
	}
	host, secure, err := endpoint(c)
	if err != nil {
		return nil, err
	}
	b := &Bucket{name: c.Bucket, partBytes: c.PartBytes}
	if c.Transport == nil {
		if b.transport, err = transport(c); err != nil {
			return nil, err
		}
		c.Transport = b.transport
	}
	if b.client, err = newClient(c, host, secure); err != nil {
		return nil, err
	}
	b.provider, err = newProvider(c, host, secure)
	return b, err
}

// endpoint splits the endpoint into what the libraries want.
func endpoint(c Config) (host string, secure bool, err error) {
	if c.Endpoint == "" {
		return "s3." + c.Region + ".amazonaws.com", true, nil
	}
	if !strings.Contains(c.Endpoint, "://") {
		c.Endpoint = "https://" + c.Endpoint
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return "", false, fmt.Errorf("endpoint: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return "", false, fmt.Errorf("endpoint %q is not http(s)://host[:port]", u.Redacted())
	}
	return u.Host, u.Scheme == "https", nil
}

func transport(c Config) (*http.Transport, error) {
	h := exthttp.DefaultHTTPConfig
	h.TLSConfig.CAFile = c.CAFile
	t, err := exthttp.DefaultTransport(h)
	if err != nil {
		return nil, err
	}
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.ResponseHeaderTimeout = answerTimeout
	t.ReadBufferSize, t.WriteBufferSize = bufferBytes, bufferBytes
	t.DisableCompression = true // else a stored .gz would arrive unpacked
	return t, nil
}

func newClient(c Config, host string, secure bool) (*minio.Client, error) {
	chain := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}}
	if c.AccessKey != "" {
		chain = []credentials.Provider{&credentials.Static{Value: credentials.Value{
			AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, SessionToken: c.SessionToken,
			SignerType: credentials.SignatureV4,
		}}}
	}
	lookup := minio.BucketLookupAuto
	if c.PathStyle {
		lookup = minio.BucketLookupPath
	}
	return minio.New(host, &minio.Options{
		Creds:        credentials.NewChainCredentials(chain),
		Secure:       secure,
		Region:       c.Region,
		Transport:    c.Transport,
		BucketLookup: lookup,
		MaxRetries:   1,
	})
}

func newProvider(c Config, host string, secure bool) (*thanos.Bucket, error) {
	config := thanos.DefaultConfig
	config.Bucket, config.Endpoint, config.Region, config.Insecure = c.Bucket, host, c.Region, !secure
	config.AccessKey, config.SecretKey, config.SessionToken = c.AccessKey, c.SecretKey, c.SessionToken
	config.PutUserMetadata = nil // shared by the package's default
	config.HTTPConfig.Transport = c.Transport
	config.MaxRetries = 1
	if c.PathStyle {
		config.BucketLookupType = thanos.PathLookup
	}
	return thanos.NewBucketWithConfig(log.NewNopLogger(), config, "chronik", nil)
}

// Close drops idle connections.
func (b *Bucket) Close() error {
	if b.transport != nil {
		b.transport.CloseIdleConnections()
	}
	return nil
}

// Ensure checks that the bucket is there and that it may be asked; create makes
// it when it is absent.
func (b *Bucket) Ensure(ctx context.Context, create bool) error {
	if err := s3utils.CheckValidBucketName(b.name); err != nil { // asked for, it looks like a store that is away
		return fmt.Errorf("%q is no name for a bucket: %w: see objstore.bucket (S3_BUCKET)", b.name, err)
	}
	there, err := b.client.BucketExists(ctx, b.name)
	if err == nil && !there {
		if !create {
			return fmt.Errorf("bucket %s does not exist: make it, or set objstore.create_bucket=true", b.name)
		}
		err = b.client.MakeBucket(ctx, b.name, minio.MakeBucketOptions{})
		// Another process may have come first.
		if code := minio.ToErrorResponse(err).Code; code == minio.BucketAlreadyOwnedByYou {
			err = nil
		}
	}
	return objstore.Advise(minio.ToErrorResponse(err).StatusCode, explain(ctx, "check bucket", b.name, err))
}

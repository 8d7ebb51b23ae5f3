// Package aws is a bucket in Amazon S3, through Amazon's own library: with the
// credentials that the SDK finds, as every other AWS program on the machine does.
//
// Those are, in this order: keys that the caller names, the AWS environment
// variables, the shared configuration with profiles and SSO, a web identity
// (IRSA), the container endpoint (ECS, EKS pod identity), and the machine's role.
// They are renewed before they expire.
//
// Every method makes one attempt, as in objstore/s3: the SDK's own retries are
// off, because they would hide from objstore/retry that an earlier attempt may
// have had its effect.
package aws

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/chronik-stream/chronik/objstore"
)

// Config says which bucket, where, and as whom.
type Config struct {
	Bucket string
	// Endpoint is "http(s)://host[:port]"; empty is what the SDK finds: AWS in
	// the region, unless AWS_ENDPOINT_URL says otherwise.
	Endpoint string
	// Region, when empty, is that of the AWS environment or profile, else
	// us-east-1.
	Region string
	// AccessKey and SecretKey; without them the SDK's own chain.
	AccessKey, SecretKey, SessionToken string
	PathStyle                          bool   // http://host/bucket/name instead of http://bucket.host/name
	CAFile                             string // PEM, to trust besides the system's
	// PartBytes is the largest object that goes up in one request, and the size
	// of the parts of larger ones. Default 512 MiB: every object of ours is one
	// request.
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
	// renewBefore is how long before they expire keys are renewed: an upload that
	// has begun with them is to end with them.
	renewBefore = 5 * time.Minute
	// bufferBytes of each connection: the default of 4 KiB costs a system call
	// for each.
	bufferBytes = 64 << 10
	// connectionsIdleMax is how many connections to the store are kept: as many
	// as there are reads and uploads side by side.
	connectionsIdleMax = 100
)

// Bucket is an objstore.Bucket.
type Bucket struct {
	name      string
	region    string
	partBytes int64
	client    *s3.Client
	keys      sdk.CredentialsProvider
	checksum  types.ChecksumAlgorithm // of uploads in parts; empty: none
	static    bool                    // the keys are the caller's: there are no others to fetch
	transport *http.Transport         // nil when it is not ours
}

// New prepares a bucket without talking to the store. It reads the AWS
// environment and the shared configuration files.
func New(ctx context.Context, c Config) (*Bucket, error) {
	b, err := build(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("aws bucket %q: %w", c.Bucket, err)
	}
	return b, nil
}

func build(ctx context.Context, c Config) (*Bucket, error) {
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
	if err := checkEndpoint(c.Endpoint); err != nil {
		return nil, err
	}
	b := &Bucket{name: c.Bucket, partBytes: c.PartBytes, static: c.AccessKey != ""}
	loaded, err := b.load(ctx, c)
	if err != nil {
		return nil, err
	}
	b.region, b.keys = loaded.Region, loaded.Credentials
	if loaded.RequestChecksumCalculation == sdk.RequestChecksumCalculationWhenSupported {
		b.checksum = types.ChecksumAlgorithmCrc32 // what the SDK sums requests with unless told otherwise
	}
	b.client = s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.UsePathStyle = c.PathStyle
		// The option, and not the configuration: a profile's endpoint is not to
		// win over what our own settings say.
		if c.Endpoint != "" {
			o.BaseEndpoint = sdk.String(c.Endpoint)
		}
		o.Retryer = sdk.NopRetryer{}
		o.DisableLogOutputChecksumValidationSkipped = true // of stores that send no checksums
	})
	return b, nil
}

func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return fmt.Errorf("endpoint %q is not http(s)://host[:port]", u.Redacted())
	}
	return nil
}

// load is the SDK's configuration as the environment has it, with what the
// caller says on top.
func (b *Bucket) load(ctx context.Context, c Config) (sdk.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithDefaultRegion(defaultRegion),
		config.WithCredentialsCacheOptions(func(o *sdk.CredentialsCacheOptions) { o.ExpiryWindow = renewBefore }),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if b.static {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)))
	}
	roots, err := roots(c.CAFile)
	if err != nil {
		return sdk.Config{}, err
	}
	client := awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) {
		d.Timeout = dialTimeout
	}).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = connectionsIdleMax, connectionsIdleMax
		t.ResponseHeaderTimeout = answerTimeout
		t.ReadBufferSize, t.WriteBufferSize = bufferBytes, bufferBytes
		t.DisableCompression = true // else a stored .gz would arrive unpacked
		if roots != nil {
			t.TLSClientConfig.RootCAs = roots
		}
	})
	loaded, err := config.LoadDefaultConfig(ctx, append(options, config.WithHTTPClient(client))...)
	if err != nil {
		return loaded, err
	}
	if c.Transport != nil {
		loaded.HTTPClient = &http.Client{Transport: c.Transport, CheckRedirect: noRedirect}
		return loaded, nil
	}
	// AWS_CA_BUNDLE makes another client of it. Frozen, it has the one transport
	// that all requests share, and that Close can tidy up.
	if built, ok := loaded.HTTPClient.(*awshttp.BuildableClient); ok {
		b.transport = built.GetTransport()
		loaded.HTTPClient = &http.Client{Transport: b.transport, CheckRedirect: noRedirect}
	}
	return loaded, nil
}

// noRedirect hands a redirect to the SDK, which makes an error of it: a signature
// is good for one host only.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// roots is the system's pool with the certificates of a file; nil without one.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s: no certificate in it", file)
	}
	return pool, nil
}

// Close drops idle connections.
func (b *Bucket) Close() error {
	if b.transport != nil {
		b.transport.CloseIdleConnections()
	}
	return nil
}

// Ensure checks that there are credentials, that the bucket is there and that it
// may be asked; create makes it when it is absent.
func (b *Bucket) Ensure(ctx context.Context, create bool) error {
	if _, err := b.keys.Retrieve(ctx); noKeys(err) {
		return fmt.Errorf("no AWS credentials were found, neither keys, profile, web identity nor the role of a container or of the machine: %w", err)
	} else if err != nil {
		return b.explain(ctx, "get credentials for", b.name, err)
	}
	_, err := b.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.name})
	if code(err) == "NotFound" {
		if !create {
			return fmt.Errorf("bucket %s does not exist: make it, or set objstore.create_bucket=true", b.name)
		}
		_, err = b.client.CreateBucket(ctx, b.creation())
		var owned *types.BucketAlreadyOwnedByYou // another process came first
		if errors.As(err, &owned) {
			err = nil
		}
	}
	var response *awshttp.ResponseError
	status := 0
	if errors.As(err, &response) && response.Response != nil {
		status = response.HTTPStatusCode()
	}
	return objstore.Advise(status, b.explain(ctx, "check bucket", b.name, err))
}

// creation asks for the bucket in our region; S3 wants it said of all but one.
func (b *Bucket) creation() *s3.CreateBucketInput {
	in := &s3.CreateBucketInput{Bucket: &b.name}
	if b.region != defaultRegion {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(b.region)}
	}
	return in
}

// noKeys tells that the chain ended at its last resort, the machine's role, and
// that this is no machine with one. Anything else may be a service that is away.
func noKeys(err error) bool {
	var of *smithy.OperationError
	return errors.As(err, &of) && of.Service() == "ec2imds"
}

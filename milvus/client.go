// Package milvus keeps the vectors of topics in a Milvus, for fleets that have
// outgrown what query nodes search themselves (vector.index.backend=milvus).
//
// Milvus is an index and nothing else: each of its rows is in a shard too, so a
// collection that is lost is filled again without an embedding provider. A
// collection has the vectors of one topic id, made by one model and indexed in
// one way (Name); its rows are keyed by partition and offset, so that whatever
// is done twice is done once.
//
// The package is the sole home of Milvus' SDK. It does not decide what is put
// into a collection or when: the compactor does, and says in the partition's
// manifest how far a collection has come.
package milvus

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	retry "github.com/grpc-ecosystem/go-grpc-middleware/retry"
	sdk "github.com/milvus-io/milvus-sdk-go/v2/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Config says where a Milvus is.
type Config struct {
	Address  string // host:port
	Database string // empty: Milvus' default
	// User and Password, or Token, if it asks for them.
	User, Password, Token string
	// TLS is nil for connections in the clear.
	TLS *tls.Config
	// RequestTimeout bounds each request.
	RequestTimeout time.Duration
	// AnswerBytesMax bounds what is taken as one answer; 0: 64 MiB.
	AnswerBytesMax int
}

const answerBytesMax = 64 << 20

// Client speaks to a Milvus. Its methods may be called at once. It does not try
// again: whoever asked does, when it makes sense to them.
type Client struct {
	sdk     *sdk.GrpcClient
	timeout time.Duration

	mu    sync.Mutex
	known map[string]incarnation // of collections that are searched
}

// Open returns a Client. It does not connect: a Milvus that is away is an error
// of what is asked of it, and once it is back the next request gets through.
func Open(c Config) (*Client, error) {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return nil, fmt.Errorf("the address of Milvus is host:port, as milvus:19530: %w", err)
	}
	if c.RequestTimeout <= 0 {
		return nil, fmt.Errorf("a timeout of %v for requests to Milvus", c.RequestTimeout)
	}
	if c.AnswerBytesMax == 0 {
		c.AnswerBytesMax = answerBytesMax
	}
	transport := insecure.NewCredentials()
	if c.TLS != nil {
		transport = credentials.NewTLS(c.TLS)
	}
	conn, err := sdk.NewClient(context.Background(), sdk.Config{
		Address: c.Address, DBName: c.Database,
		Username: c.User, Password: c.Password, APIKey: c.Token,
		DisableConn:    true, // the SDK's greeting would need a Milvus that is there now
		RetryRateLimit: &sdk.RetryRateLimitOption{},
		DialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(transport),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
				MinConnectTimeout: 3 * time.Second,
			}),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.AnswerBytesMax), retry.Disable()),
			grpc.WithChainUnaryInterceptor(tell),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("opening the Milvus at %s: %w", c.Address, err)
	}
	return &Client{sdk: conn.(*sdk.GrpcClient), timeout: c.RequestTimeout, known: map[string]incarnation{}}, nil
}

// Close closes the connections.
func (c *Client) Close() error {
	if err := c.sdk.Close(); err != nil && !strings.Contains(err.Error(), "closing") {
		return fmt.Errorf("closing the connection to Milvus: %w", err)
	}
	return nil
}

// within bounds one request.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

package open_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gopkg.in/yaml.v3"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
	"github.com/chronik-stream/chronik/objstore/objtest"
	"github.com/chronik-stream/chronik/objstore/open"
	"github.com/chronik-stream/chronik/objstore/retry"
)

func bucket(t *testing.T, c open.Config, reg prometheus.Registerer) objstore.Bucket {
	t.Helper()
	b, closeBucket, err := open.Bucket(t.Context(), c, nil, reg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closeBucket()) })
	return b
}

func TestALocalBucketKeepsTheContractThroughFaults(t *testing.T) {
	plan, err := faults.ParsePlan("seed 1; * * fail-before p=0.05; * * fail-after p=0.05")
	require.NoError(t, err)
	objtest.Run(t, func(t *testing.T) objstore.Bucket {
		return bucket(t, open.Config{
			Provider: "local", Dir: t.TempDir(), Prefix: "cluster", Faults: plan,
			Retry: retry.Options{BackoffMin: time.Microsecond, BackoffMax: time.Millisecond},
		}, prometheus.NewRegistry())
	})
}

func TestTheRolesOfOneProcessShareARegistry(t *testing.T) {
	directory, registry := t.TempDir(), prometheus.NewRegistry()
	c := open.Config{Provider: "local", Dir: directory, Prefix: "one"}
	objtest.Put(t, bucket(t, c, registry), "o", []byte("x"))
	got, err := bucket(t, c, registry).Get(t.Context(), "o", 0, -1)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
	require.FileExists(t, filepath.Join(directory, "one", "o"))
	n, err := testutil.GatherAndCount(registry, "chronik_objstore_operations_total")
	require.NoError(t, err)
	require.Equal(t, 2, n, "put and get")
}

func TestTheBucketOnMinIOIsMadeWhenAsked(t *testing.T) {
	server := objtest.StartMinIO(t)
	for _, provider := range []string{"s3", "aws"} {
		t.Run(provider, func(t *testing.T) { madeWhenAsked(t, server, provider) })
	}
}

func madeWhenAsked(t *testing.T, server objtest.Server, provider string) {
	c := open.Config{
		Provider: provider, PathStyle: true, Bucket: "chronik-" + provider, Prefix: "cluster",
		Endpoint: server.Endpoint, AccessKey: server.AccessKey, SecretKey: server.SecretKey,
	}
	_, _, err := open.Bucket(t.Context(), c, nil, nil)
	require.ErrorContains(t, err, "bucket chronik-"+provider+" does not exist")
	require.ErrorContains(t, err, "objstore.create_bucket")
	c.CreateBucket = true
	for want, change := range map[string]func(*open.Config){
		"AWS_SECRET_ACCESS_KEY": func(c *open.Config) { c.SecretKey = "wrong" },
		"S3_BUCKET":             func(c *open.Config) { c.Bucket = "Not_Allowed" },
		"S3_ENDPOINT":           func(c *open.Config) { c.Endpoint = strings.Replace(c.Endpoint, "http:", "https:", 1) },
	} {
		bad := c
		change(&bad)
		_, _, err := open.Bucket(t.Context(), bad, nil, nil)
		require.ErrorContains(t, err, want, "says what to look at")
	}
	short := c
	short.Bucket = "b"
	_, _, err = open.Bucket(t.Context(), short, nil, nil)
	require.ErrorContains(t, err, "S3_BUCKET")
	require.NotErrorIs(t, err, objstore.ErrUnavailable, "waiting does not heal it")
	objtest.Put(t, bucket(t, c, nil), "o", []byte("x"))
	c.CreateBucket = false
	got, err := bucket(t, c, nil).Get(t.Context(), "o", 0, -1)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

func TestALocalMinIOAsItComesNeedsNoKeys(t *testing.T) {
	server := objtest.StartMinIO(t)
	c := open.Config{Provider: "s3", Bucket: "chronik", Endpoint: server.Endpoint, CreateBucket: true}
	objtest.Put(t, bucket(t, c, nil), "o", []byte("x"))
}

// deployments/local and the settings that the contract starts `chronik dev` with
// must fit without a word more.
func TestTheLocalDeploymentFits(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "deployments", "local", "compose.yaml"))
	require.NoError(t, err)
	var compose struct {
		Services map[string]struct {
			Image       string
			Ports       []string
			Environment map[string]string
			Entrypoint  []string
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &compose))
	minio := compose.Services["minio"]
	require.Equal(t, open.LocalKey, minio.Environment["MINIO_ROOT_USER"])
	require.Equal(t, open.LocalKey, minio.Environment["MINIO_ROOT_PASSWORD"])
	require.Contains(t, minio.Ports, "127.0.0.1:9000:9000")
	for name, service := range compose.Services {
		require.Regexp(t, `:RELEASE\.\d{4}-`, service.Image, "%s: pinned", name)
		for _, port := range service.Ports {
			require.Regexp(t, `^127\.0\.0\.1:`, port, "%s: well-known keys stay on this machine", name)
		}
	}
	require.Contains(t, compose.Services["bucket"].Entrypoint[len(compose.Services["bucket"].Entrypoint)-1], "mc mb --ignore-existing local/chronik")
}

// A broker restarts while its store is away: it has its WAL to serve. Once the
// store is there the bucket is made, as on a start with the store there.
func TestAStoreThatIsAwayFailsNoRestartAndItsBucketIsMadeLater(t *testing.T) {
	server := objtest.StartMinIO(t)
	target, err := url.Parse(server.Endpoint)
	require.NoError(t, err)
	gate := &gate{proxy: httputil.NewSingleHostReverseProxy(target)}
	front := httptest.NewServer(gate)
	t.Cleanup(front.Close)
	for i, provider := range []string{"s3", "aws"} {
		gate.open.Store(false)
		c := open.Config{
			Provider: provider, PathStyle: true, CreateBucket: true, MayBeAway: true, Bucket: fmt.Sprint("later-", i),
			Endpoint: front.URL, AccessKey: server.AccessKey, SecretKey: server.SecretKey,
			Retry: retry.Options{BackoffMin: 10 * time.Millisecond},
		}
		b := bucket(t, c, nil)
		_, err := b.Get(t.Context(), "o", 0, -1)
		require.ErrorIs(t, err, objstore.ErrUnavailable)
		gate.open.Store(true)
		require.Eventually(t, func() bool {
			_, err := b.Put(t.Context(), "o", objstore.Bytes([]byte("x")), objstore.Condition{})
			return err == nil
		}, time.Minute, 10*time.Millisecond)
	}
}

// gate is a store that answers 503 until it is open.
type gate struct {
	proxy http.Handler
	open  atomic.Bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.open.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	g.proxy.ServeHTTP(w, r)
}

func TestAStoreThatStaysAwayIsLetGo(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, create := range []bool{false, true} {
		c := open.Config{Provider: "s3", Bucket: "chronik", Endpoint: "http://127.0.0.1:1", AccessKey: "a", SecretKey: "secret-key", CreateBucket: create, MayBeAway: create}
		_, release, err := open.Bucket(t.Context(), c, nil, nil)
		require.NoError(t, err)
		require.NoError(t, release())
	}
}

func TestAStoreThatIsAwayAtTheFirstStartIsSaidSo(t *testing.T) {
	c := open.Config{Provider: "s3", Bucket: "chronik", Endpoint: "http://127.0.0.1:1", AccessKey: "a", SecretKey: "secret-key", CreateBucket: true}
	_, _, err := open.Bucket(t.Context(), c, nil, nil)
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	require.ErrorContains(t, err, "127.0.0.1:1")
}

func TestWrongSettingsAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		config open.Config
		want   string
	}{
		{open.Config{Provider: "aws"}, "no bucket is named"},
		{open.Config{Provider: "gcs"}, `"gcs" is none of`},
		{open.Config{}, "none of"},
		{open.Config{Provider: "local"}, "needs a directory"},
		{open.Config{Provider: "local", Dir: file}, "open bucket"},
		{open.Config{Provider: "local", Dir: t.TempDir(), Prefix: "../x"}, "prefix"},
		{open.Config{Provider: "s3"}, "no bucket is named"},
	} {
		_, _, err := open.Bucket(t.Context(), c.config, nil, nil)
		require.ErrorContains(t, err, c.want)
	}
}

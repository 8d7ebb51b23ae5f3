package aws_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/aws"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

// noCredentials takes from the environment whatever the SDK could find there.
func noCredentials(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
		"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

// signer notes who signed the requests that it gets, and refuses some.
type signer struct {
	*httptest.Server
	mu      sync.Mutex
	seen    []string // access key, token and region of each request
	expired string   // this access key is no longer taken
}

var credential = regexp.MustCompile(`Credential=([^/]+)/\d+/([^/]+)/s3/`)

func newSigner(t *testing.T) *signer {
	s := &signer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		by := credential.FindStringSubmatch(r.Header.Get("Authorization"))
		if by == nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.seen = append(s.seen, by[1]+" "+r.Header.Get("X-Amz-Security-Token")+" "+by[2])
		if by[1] == s.expired {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>")
			return
		}
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Content-Length", "1")
		_, _ = w.Write([]byte("x"))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *signer) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

func (s *signer) bucket(t *testing.T) *aws.Bucket {
	t.Helper()
	b, err := aws.New(t.Context(), aws.Config{Bucket: "b", Endpoint: s.URL, PathStyle: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func get(t *testing.T, b *aws.Bucket) error {
	t.Helper()
	_, err := b.Get(t.Context(), "o", 0, -1)
	return err
}

// podIdentity is the endpoint of EKS pod identity, ECS and the like. Each answer
// has other keys, which live for as long as lives says.
func podIdentity(t *testing.T, token string, lives ...time.Duration) (asked func() int) {
	var mu sync.Mutex
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		life := lives[min(n, len(lives)-1)]
		n++
		_ = json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": fmt.Sprintf("POD%d", n), "SecretAccessKey": "secret", "Token": fmt.Sprintf("t%d", n),
			"Expiration": time.Now().Add(life).UTC().Format(time.RFC3339),
		})
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.URL+"/v1/credentials")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file(t, token))
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestKeysOfAPodAreFetchedAndRenewedBeforeTheyExpire(t *testing.T) {
	noCredentials(t)
	store := newSigner(t)
	// The first keys live for a minute, which is too short to be used twice.
	asked := podIdentity(t, "pod-token", time.Minute, time.Hour)
	b := store.bucket(t)
	for range 4 {
		require.NoError(t, get(t, b))
	}
	require.Equal(t, []string{"POD1 t1 us-east-1", "POD2 t2 us-east-1", "POD2 t2 us-east-1", "POD2 t2 us-east-1"}, store.take())
	require.Equal(t, 2, asked())
}

func TestKeysThatAreWithdrawnEarlyAreFetchedAnew(t *testing.T) {
	noCredentials(t)
	store := newSigner(t)
	podIdentity(t, "pod-token", time.Hour)
	b := store.bucket(t)
	require.NoError(t, get(t, b))
	store.mu.Lock()
	store.expired = "POD1"
	store.mu.Unlock()
	require.ErrorIs(t, get(t, b), objstore.ErrUnavailable, "the next attempt has other keys")
	require.NoError(t, get(t, b))
	require.Equal(t, []string{"POD1 t1 us-east-1", "POD1 t1 us-east-1", "POD2 t2 us-east-1"}, store.take())
}

func TestGivenKeysThatExpiredAreNotHealedByWaiting(t *testing.T) {
	noCredentials(t)
	store := newSigner(t)
	store.expired = "GIVEN"
	b, err := aws.New(t.Context(), aws.Config{Bucket: "b", Endpoint: store.URL, PathStyle: true, AccessKey: "GIVEN", SecretKey: "s", SessionToken: "t"})
	require.NoError(t, err)
	err = get(t, b)
	require.ErrorContains(t, err, "ExpiredToken")
	require.NotErrorIs(t, err, objstore.ErrUnavailable)
	require.Equal(t, []string{"GIVEN t us-east-1"}, store.take(), "one attempt")
}

// A service account's token is changed for keys at STS (IRSA). Here the keys are
// dead on arrival, so each request asks again, with the token as it is by then.
func TestAWebIdentityIsChangedForKeys(t *testing.T) {
	noCredentials(t)
	store := newSigner(t)
	var mu sync.Mutex
	var tokens []string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("RoleArn") != "arn:aws:iam::123456789012:role/chronik" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		tokens = append(tokens, r.FormValue("WebIdentityToken"))
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
			<Credentials><AccessKeyId>WEB%d</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>w</SessionToken>
			<Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			len(tokens), time.Now().Add(time.Second).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(sts.Close)
	token := file(t, "first-token")
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/chronik")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	t.Setenv("AWS_REGION", "eu-central-1")
	b := store.bucket(t)
	require.NoError(t, get(t, b))
	require.NoError(t, os.WriteFile(token, []byte("second-token"), 0o600))
	require.NoError(t, get(t, b))
	require.Equal(t, []string{"WEB1 w eu-central-1", "WEB2 w eu-central-1"}, store.take())
	require.Equal(t, []string{"first-token", "second-token"}, tokens)
}

func TestAProfileOfTheSharedConfigurationIsUsed(t *testing.T) {
	noCredentials(t)
	store := newSigner(t)
	t.Setenv("AWS_CONFIG_FILE", file(t, "[profile chronik]\nregion = ap-southeast-2\naws_access_key_id = FILE\naws_secret_access_key = secret\n"))
	t.Setenv("AWS_PROFILE", "chronik")
	require.NoError(t, get(t, store.bucket(t)))
	require.Equal(t, []string{"FILE  ap-southeast-2"}, store.take())
}

func TestAnEndpointOfKeysThatIsAwayIsWaitedFor(t *testing.T) {
	noCredentials(t)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/credentials")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	require.ErrorIs(t, newSigner(t).bucket(t).Ensure(t.Context(), false), objstore.ErrUnavailable)
}

func TestNoKeysAtAllIsSaidAtOnce(t *testing.T) {
	noCredentials(t)
	err := newSigner(t).bucket(t).Ensure(t.Context(), false)
	require.ErrorContains(t, err, "no AWS credentials were found")
	require.NotErrorIs(t, err, objstore.ErrUnavailable)
}

// The keys of a real server, as a pod gets them.
func TestAPodReachesARealStore(t *testing.T) {
	noCredentials(t)
	server := objtest.StartMinIO(t)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": server.AccessKey, "SecretAccessKey": server.SecretKey,
			"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		})
	}))
	t.Cleanup(keys.Close)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", keys.URL)
	b, err := aws.New(t.Context(), aws.Config{Bucket: "pods", Endpoint: server.Endpoint, PathStyle: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	require.NoError(t, b.Ensure(t.Context(), true))
	objtest.Put(t, b, "o", []byte("x"))
}

package objtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Server is an S3 server, running as a process until its test ends.
type Server struct {
	Endpoint             string // http://127.0.0.1:port
	AccessKey, SecretKey string
}

const (
	// MinIO's keys as it comes.
	accessKey = "minioadmin"
	secretKey = "minioadmin"

	// readyMax is how long a server may take to answer; on a busy machine
	// starting takes seconds.
	readyMax = 60 * time.Second
)

// StartMinIO starts MinIO on an empty directory and a free port. Without its
// binary, which `make tools` builds, the test is skipped.
func StartMinIO(t testing.TB) Server {
	t.Helper()
	binary := tool(t, "minio")
	return start(t, func(ctx context.Context, address string) *exec.Cmd {
		c := exec.CommandContext(ctx, binary, "server", "--quiet", "--address", address, "--console-address", "127.0.0.1:0", t.TempDir())
		c.Env = []string{
			"MINIO_ROOT_USER=" + accessKey, "MINIO_ROOT_PASSWORD=" + secretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME=" + t.TempDir(), "CI=true",
		}
		return c
	})
}

// StartVersity starts versitygw, an S3 server that is strict about conditions,
// as StartMinIO does.
func StartVersity(t testing.TB) Server {
	t.Helper()
	binary := tool(t, "versitygw")
	return start(t, func(ctx context.Context, address string) *exec.Cmd {
		c := exec.CommandContext(ctx, binary, "--port", address, "--quiet", "posix", t.TempDir())
		c.Env = []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey, "HOME=" + t.TempDir()}
		return c
	})
}

// tool finds a binary of the tools module: in $CHRONIK_TOOLS, else in .tools/bin
// of the repository that the test runs in.
func tool(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("CHRONIK_TOOLS")
	if dir == "" {
		root, err := repository()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(root, ".tools", "bin")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: `make tools` builds it", path)
	}
	return path
}

func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the test's directory")
		}
		dir = parent
	}
}

// start runs a server on a free port until it answers, and stops it when
// the test ends. A port can be taken between its choice and its use: then
// another is tried.
func start(t testing.TB, command func(ctx context.Context, address string) *exec.Cmd) Server {
	t.Helper()
	var last error
	for range 3 {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		endpoint := "http://" + address
		if last = run(t, command(context.Background(), address), endpoint); last == nil {
			return Server{Endpoint: endpoint, AccessKey: accessKey, SecretKey: secretKey}
		}
	}
	t.Fatal(last)
	return Server{}
}

func run(t testing.TB, c *exec.Cmd, url string) error {
	var output lockedBuffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- c.Wait(); close(exited) }()
	ready := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), readyMax)
	defer cancel()
	go func() { ready <- untilAnswered(ctx, url) }()
	select {
	case err := <-exited:
		return fmt.Errorf("%s ended before it was ready: %w\n%s", c.Path, err, output.String())
	case err := <-ready:
		t.Cleanup(func() {
			_ = c.Process.Kill() // fails only when it has ended
			<-exited
			if t.Failed() {
				t.Logf("%s said:\n%s", c.Path, output.String())
			}
		})
		return err
	}
}

// untilAnswered asks, without credentials, until anything but a refused
// connection or a 5xx comes back: MinIO's health pages say ready before it is.
func untilAnswered(ctx context.Context, url string) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close() // its status is all that counts
			if response.StatusCode < http.StatusInternalServerError {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", url, ctx.Err())
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// lockedBuffer takes what a process says while a test may read it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

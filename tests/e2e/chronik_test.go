package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// chronikBinary is the chronik under test; TestMain sets it once.
var chronikBinary string

func TestMain(m *testing.M) {
	os.Exit(withBinary(m.Run))
}

// withBinary builds the binary unless CHRONIK_BIN names one.
func withBinary(run func() int) int {
	if chronikBinary = os.Getenv("CHRONIK_BIN"); chronikBinary != "" {
		return run()
	}
	dir, err := os.MkdirTemp("", "chronik-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	chronikBinary = filepath.Join(dir, "chronik")
	build := exec.Command("go", "build", "-o", chronikBinary, "../../cmd/chronik")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build chronik:", err)
		return 1
	}
	return run()
}

// Bounds on what a healthy process does at once. They are wide, because two
// busy cores are all that a test may count on.
const (
	readyWithin = 30 * time.Second
	stopWithin  = 45 * time.Second
	shortly     = 60 * time.Second
)

// chronik is one `chronik dev` that may be killed and started again on its data.
type chronik struct {
	t     *testing.T
	dir   string
	flags []string
	env   []string

	// Kafka and HTTP are addresses; they stay the same over restarts.
	kafka, http string

	log   *lockedBuffer
	cmd   *exec.Cmd
	ended chan struct{}
	took  time.Duration // from start to ready
}

// start runs chronik on an empty data folder and waits until it is ready.
func start(t *testing.T, flags ...string) *chronik {
	t.Helper()
	return startIn(t, t.TempDir(), nil, flags...)
}

func startIn(t *testing.T, dir string, env []string, flags ...string) *chronik {
	t.Helper()
	c := &chronik{t: t, dir: dir, flags: flags, env: env, kafka: freeAddress(t), http: freeAddress(t), log: &lockedBuffer{}}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("log of chronik:\n%s", c.log.tail(16<<10))
		}
	})
	c.restart()
	return c
}

// freeAddress is an address that nobody listens on, for use by a process that
// will be restarted on it.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// restart starts the process on the data that is there.
func (c *chronik) restart() {
	c.t.Helper()
	if err := c.tryStart(); err != nil {
		c.t.Fatalf("start chronik: %v\n%s", err, c.log.tail(4<<10))
	}
}

func (c *chronik) tryStart() error {
	args := append([]string{"dev", "--data", c.dir, "--kafka", c.kafka, "--http", c.http}, c.flags...)
	c.cmd = exec.Command(chronikBinary, args...)
	c.cmd.Env = append(cleanEnvironment(), c.env...)
	c.cmd.Stderr = c.log
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return err
	}
	ready, ended, cmd := make(chan string, 1), make(chan struct{}), c.cmd
	c.ended = ended
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- lines.Text()
			}
		}
		cmd.Wait()
	}()
	select {
	case line := <-ready:
		c.took = time.Since(began)
		if want := fmt.Sprintf("ready kafka=%s http=%s data=%s", c.kafka, c.http, c.dir); line != want {
			return fmt.Errorf("it says %q, want %q", line, want)
		}
		return nil
	case <-ended:
		return fmt.Errorf("it ended with %v", cmd.ProcessState)
	case <-time.After(readyWithin):
		return fmt.Errorf("not ready within %s", readyWithin)
	}
}

// cleanEnvironment is ours without what configures chronik.
func cleanEnvironment() []string {
	var env []string
	for _, assignment := range os.Environ() {
		if !strings.HasPrefix(assignment, "CHRONIK_") && !strings.HasPrefix(assignment, "S3_") && !strings.HasPrefix(assignment, "AWS_") && !strings.HasPrefix(assignment, "OBJECT_STORE") {
			env = append(env, assignment)
		}
	}
	return env
}

// kill is kill -9.
func (c *chronik) kill() {
	c.t.Helper()
	if c.cmd == nil || c.cmd.Process == nil {
		return
	}
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Errorf("kill chronik: %v", err)
	}
	<-c.ended
}

// stop is SIGTERM; it must end cleanly and in time.
func (c *chronik) stop() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatalf("stop chronik: %v", err)
	}
	select {
	case <-c.ended:
		if code := c.cmd.ProcessState.ExitCode(); code != 0 {
			c.t.Errorf("exit code %d after SIGTERM\n%s", code, c.log.tail(4<<10))
		}
	case <-time.After(stopWithin):
		c.t.Fatalf("still running %s after SIGTERM\n%s", stopWithin, c.log.tail(4<<10))
	}
}

// cli runs a command of the binary against this chronik.
func (c *chronik) cli(in string, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	cmd := exec.CommandContext(ctx, chronikBinary, args...)
	cmd.Env = append(cleanEnvironment(), "CHRONIK_BOOTSTRAP="+c.kafka, "CHRONIK_URL=http://"+c.http)
	cmd.Stdin = strings.NewReader(in)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failed := cmd.Run(); failed != nil && cmd.ProcessState == nil {
		c.t.Fatalf("chronik %v: %v", args, failed)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// must is cli for commands that have to succeed; it returns standard output.
func (c *chronik) must(in string, args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.cli(in, args...)
	if code != 0 {
		c.t.Fatalf("chronik %v: exit %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

// createTable makes a topic that is a table.
func (c *chronik) createTable(name string, partitions int, configs ...string) {
	c.t.Helper()
	args := []string{"topic", "create", name, "--partitions", fmt.Sprint(partitions), "--config", "columnar.enabled=true"}
	for _, config := range configs {
		args = append(args, "--config", config)
	}
	c.must("", args...)
}

// residentBytes is the memory that the process has now, with the pages of files
// that it maps: of its binary, and of the database of the embedded etcd.
func (c *chronik) residentBytes() int64 { c.t.Helper(); return c.memory("VmRSS") }

// ownBytes is residentBytes without pages of files, which the system takes back
// when it needs them.
func (c *chronik) ownBytes() int64 { c.t.Helper(); return c.memory("RssAnon") }

// memory is one line of what the system says of the process's memory.
func (c *chronik) memory(name string) int64 {
	c.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		c.t.Skipf("the process's memory cannot be read: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, name+": %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	c.t.Fatalf("no %s in %s", name, status)
	return 0
}

// lockedBuffer collects output of a process.
type lockedBuffer struct {
	lock sync.Mutex
	b    bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) tail(n int) string {
	l.lock.Lock()
	defer l.lock.Unlock()
	b := l.b.Bytes()
	return string(b[max(0, len(b)-n):])
}

func (l *lockedBuffer) contains(text string) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}

// eventually tries until f is satisfied; its last complaint is reported when
// the time is over.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(within)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("after %s: %v", within, err)
		}
	}
}

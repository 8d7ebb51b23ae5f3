package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	prepareWithin = 8 * time.Minute
	lineMax       = 1 << 20
)

// result is one line of a driver.
type result struct {
	Client     string `json:"client"`
	Version    string `json:"version"`
	Capability string `json:"capability"`
	OK         bool   `json:"ok"`
	Detail     string `json:"detail"`
}

// parse reads a line of a driver; ok is false for what is no result.
func parse(line string) (r result, ok bool, err error) {
	if !strings.HasPrefix(line, "{") {
		return r, false, nil
	}
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return r, false, fmt.Errorf("%q: %w", line, err)
	}
	if r.Client == "" || r.Version == "" || r.Capability == "" {
		return r, false, fmt.Errorf("%q names no client, version or capability", line)
	}
	return r, true, nil
}

// runner runs one driver.
type runner struct {
	driver
	dir, cache   string
	bootstrap    string
	capabilities []string
	env          []string
	out          io.Writer
	verbose      bool
}

// run prepares the driver, runs it, and returns what it found and what was wrong
// with itself, which is not the same as what its clients cannot do.
func (r *runner) run(ctx context.Context) (found []result, problems []string) {
	prepared, err := r.prepare(ctx)
	if err != nil {
		return nil, []string{fmt.Sprintf("%s: prepare: %v", r.driver.dir, err)}
	}
	temp, err := os.MkdirTemp("", "chronik-compat-")
	if err != nil {
		return nil, []string{err.Error()}
	}
	defer os.RemoveAll(temp)
	began := time.Now()
	problem := func(format string, args ...any) {
		problems = append(problems, r.driver.dir+": "+fmt.Sprintf(format, args...))
	}
	stdout, w := io.Pipe()
	log := &tailBuffer{max: 16 << 10}
	var stderr io.Writer = log
	if r.verbose {
		stderr = io.MultiWriter(log, r.out)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, lineMax)
		for lines.Scan() {
			one, ok, err := parse(lines.Text())
			switch {
			case err != nil:
				problem("%v", err)
			case !ok:
				fmt.Fprintln(stderr, lines.Text())
			case !slices.Contains(r.clients, one.Client):
				problem("it speaks of %s, which is not its client", one.Client)
			default:
				found = append(found, one)
				mark := "ok  "
				if !one.OK {
					mark = "FAIL"
				}
				fmt.Fprintf(r.out, "%s  %s %s  %s  %s\n", mark, one.Client, one.Version, one.Capability, one.Detail)
			}
		}
		if err := lines.Err(); err != nil {
			problem("read its output: %v", err)
		}
		io.Copy(io.Discard, stdout) // it must not block on a pipe that nobody reads
	}()
	err = r.command(ctx, r.within, "run", append([]string{
		"COMPAT_DIR=" + prepared,
		"COMPAT_TMP=" + temp,
		"COMPAT_BOOTSTRAP=" + r.bootstrap,
		"COMPAT_PREFIX=" + r.driver.dir + "-" + strings.ToLower(rand.Text()[:6]),
		"COMPAT_CAPABILITIES=" + strings.Join(r.capabilities, " "),
	}, r.env...), w, stderr)
	w.Close()
	<-done
	if err != nil {
		problem("%v after %s; it said last:\n%s", err, time.Since(began).Round(time.Second), log)
	}
	fmt.Fprintf(r.out, "---- %s: %s\n", r.driver.dir, time.Since(began).Round(time.Second))
	return found, problems
}

// prepare lets the driver fetch and build what it needs, once for what its pins
// say, and returns the folder with it.
func (r *runner) prepare(ctx context.Context) (string, error) {
	name, err := r.pins()
	if err != nil {
		return "", err
	}
	cache, err := filepath.Abs(r.cache)
	if err != nil {
		return "", err
	}
	ready := filepath.Join(cache, name)
	if _, err := os.Stat(ready); err == nil {
		return ready, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// Half a folder is never taken for a whole one.
	half, err := os.MkdirTemp(cache, ".half-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(half)
	began := time.Now()
	log := &tailBuffer{max: 16 << 10}
	if err := r.command(ctx, prepareWithin, "prepare", []string{"COMPAT_DIR=" + half}, log, log); err != nil {
		return "", fmt.Errorf("%w\n%s", err, log)
	}
	fmt.Fprintf(r.out, "---- %s prepared: %s\n", r.driver.dir, time.Since(began).Round(time.Second))
	if err := os.Rename(half, ready); err != nil {
		if _, gone := os.Stat(ready); gone == nil {
			return ready, nil // another run was quicker
		}
		return "", err
	}
	return ready, nil
}

// pins names the folder of what is prepared after the files that decide what it
// holds: the script and the lists of packages.
func (r *runner) pins() (string, error) {
	sum := sha256.New()
	for _, pattern := range []string{"prepare", "pom.xml", "*/pom.xml", "package.json", "package-lock.json", "requirements.txt", "go.mod", "go.sum"} {
		files, err := filepath.Glob(filepath.Join(r.dir, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(file), len(text), text)
		}
	}
	return r.driver.dir + "-" + hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// command runs a script of the driver in its folder. It and all that it started
// are gone afterwards.
func (r *runner) command(ctx context.Context, within time.Duration, script string, env []string, stdout, stderr io.Writer) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	path, err := filepath.Abs(filepath.Join(r.dir, script))
	if err != nil {
		return err
	}
	c := exec.CommandContext(limited, path)
	c.Dir = r.dir
	c.Env = append(os.Environ(), env...)
	c.Stdout, c.Stderr = stdout, stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	err = c.Run()
	if c.Process != nil {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // what it left behind
	}
	if limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%s took longer than %s", script, within)
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s left processes behind", script)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", script, err)
	}
	return nil
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	max int

	mu   sync.Mutex
	text []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - t.max; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

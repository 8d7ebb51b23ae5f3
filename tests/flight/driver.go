package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// result is one line of a driver.
type result struct {
	Client  string `json:"client"`
	Version string `json:"version"`
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
}

// run prepares the driver, runs it and judges what it says.
func (d driver) run(ctx context.Context, dir, cache, address string) error {
	prepared, err := d.prepare(ctx, dir, cache)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	temp, err := os.MkdirTemp("", "chronik-flight-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	began := time.Now()
	var out, log bytes.Buffer
	err = script(ctx, dir, "run", &out, &log, "FLIGHT_DIR="+prepared, "FLIGHT_TMP="+temp, "FLIGHT_ADDRESS="+address, fmt.Sprintf("FLIGHT_ROWS=%d", rows))
	problems := []error{err}
	if err != nil {
		problems = append(problems, errors.New(log.String()))
	}
	seen := map[string]int{}
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			problems = append(problems, fmt.Errorf("%q: %w", line, err))
			continue
		}
		seen[r.Client]++
		mark := "ok  "
		if !r.OK {
			mark = "FAIL"
			problems = append(problems, fmt.Errorf("%s: %s: %s", r.Client, r.Check, r.Detail))
		}
		fmt.Printf("%s  %s %s  %s  %s\n", mark, r.Client, r.Version, r.Check, r.Detail)
	}
	for client, checks := range d.checks {
		if seen[client] != checks {
			problems = append(problems, fmt.Errorf("%s has %d checks, %d were run", client, checks, seen[client]))
		}
	}
	fmt.Printf("---- %s: %s\n", d.dir, time.Since(began).Round(time.Second))
	return errors.Join(problems...)
}

// prepare lets the driver fetch what it needs, once for what its pins say.
func (d driver) prepare(ctx context.Context, dir, cache string) (string, error) {
	sum := sha256.New()
	for _, pin := range []string{"prepare", "requirements.txt", "go.mod", "go.sum", "pom.xml"} {
		text, err := os.ReadFile(filepath.Join(dir, pin))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", pin, len(text), text)
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return "", err
	}
	ready := filepath.Join(cache, d.dir+"-"+hex.EncodeToString(sum.Sum(nil))[:12])
	if _, err := os.Stat(ready); err == nil {
		return ready, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	half, err := os.MkdirTemp(cache, ".half-") // half a folder is never taken for a whole one
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(half)
	var log bytes.Buffer
	if err := script(ctx, dir, "prepare", &log, &log, "FLIGHT_DIR="+half); err != nil {
		return "", fmt.Errorf("%w\n%s", err, &log)
	}
	return ready, os.Rename(half, ready)
}

// script runs a script of a driver in its folder; what it started goes with it.
func script(ctx context.Context, dir, name string, stdout, stderr io.Writer, env ...string) error {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, path)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.Stdout, c.Stderr = stdout, stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

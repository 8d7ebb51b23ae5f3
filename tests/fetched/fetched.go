// Package fetched keeps what programs of the suites download: a folder with a
// script `prepare` fetches what it pins, once for its pins, and a script of it
// runs with that.
package fetched

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// pins are the files of a program that say what it needs.
var pins = []string{"prepare", "requirements.txt", "package-lock.json", "go.mod", "go.sum", "pom.xml"}

// Folder returns the folder in cache with what the program in dir needs. Its
// script `prepare` fills it, told where by the variable env, when nothing did for
// these pins.
func Folder(ctx context.Context, dir, cache, env string) (string, error) {
	sum := sha256.New()
	for _, pin := range pins {
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
	ready := filepath.Join(cache, filepath.Base(dir)+"-"+hex.EncodeToString(sum.Sum(nil))[:12])
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
	c, err := Script(ctx, dir, "prepare", env+"="+half)
	if err != nil {
		return "", err
	}
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("prepare %s: %w\n%s", dir, err, &log)
	}
	return ready, os.Rename(half, ready)
}

// Script is a script of a program, in its folder. What it starts goes with it.
func Script(ctx context.Context, dir, name string, env ...string) (*exec.Cmd, error) {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, path)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	return c, nil
}

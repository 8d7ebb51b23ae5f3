// Package dev runs a built `chronik dev` for the suites that use it from outside.
package dev

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Server is a `chronik dev`, which can be started again over the same data. Its
// methods are for one goroutine, but for Ask and Into.
type Server struct {
	Kafka, HTTP string // addresses, while it runs

	binary, dir string
	args        []string
	log         *os.File
	command     *exec.Cmd
	exited      chan struct{}
}

const (
	readyWithin = time.Minute
	stopWithin  = 45 * time.Second
)

// New makes folders for a server of that binary. Further arguments follow those
// that say where it listens and keeps its data.
func New(binary, suite string, args ...string) (*Server, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	s := &Server{binary: binary, args: args}
	if s.dir, err = os.MkdirTemp("", "chronik-"+suite+"-data-"); err != nil {
		return nil, err
	}
	s.log, err = os.CreateTemp("", "chronik-"+suite+"-*.log")
	return s, err
}

// Start starts it, and waits until it is ready.
func (s *Server) Start(ctx context.Context) error {
	s.exited = make(chan struct{})
	s.command = exec.Command(s.binary, append([]string{"dev", "--data", s.dir, "--kafka", "localhost:0", "--http", "localhost:0"}, s.args...)...)
	s.command.Stderr = s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the suite, which stops the server itself
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("start %s: %w (make build)", s.binary, err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.exited)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			for field := range strings.FieldsSeq(lines.Text()) {
				if address, ok := strings.CutPrefix(field, "kafka="); ok {
					s.Kafka = address
				}
				if address, ok := strings.CutPrefix(field, "http="); ok {
					s.HTTP = address
					close(ready)
				}
			}
		}
		_ = s.command.Wait() // its state says how it ended
	}()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case <-ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("chronik dev ended, see %s", s.log.Name())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("chronik dev is not ready, see %s: %w", s.log.Name(), ctx.Err()), s.command.Process.Kill())
	}
}

// Stop ends it. It is an error if it had ended before, or does not end in time.
func (s *Server) Stop() error {
	select {
	case <-s.exited:
		return fmt.Errorf("chronik dev ended on its own: %s, see %s", s.command.ProcessState, s.log.Name())
	default:
	}
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(stopWithin):
		return errors.Join(fmt.Errorf("chronik dev did not stop within %s, see %s", stopWithin, s.log.Name()), s.command.Process.Kill())
	}
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("chronik dev ended with exit code %d, see %s", code, s.log.Name())
	}
	return nil
}

// Crash ends it without a warning.
func (s *Server) Crash() error {
	err := s.command.Process.Kill()
	<-s.exited
	return err
}

// Remove removes what it has left behind.
func (s *Server) Remove() error {
	return errors.Join(s.log.Close(), os.RemoveAll(s.dir), os.Remove(s.log.Name()))
}

// Answer is what the server said to a request.
type Answer struct {
	Status int
	Body   []byte
}

// Ask sends a request. A body is JSON.
func (s *Server) Ask(ctx context.Context, method, path, body string) (*Answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.HTTP+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return &Answer{response.StatusCode, text}, err
}

// Into asks, and reads the answer, which has to be 200.
func (s *Server) Into(ctx context.Context, to any, method, path, body string) error {
	a, err := s.Ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("%s %s %.300s: status %d: %.1000s", method, path, body, a.Status, a.Body)
	}
	if to == nil {
		return nil
	}
	if err := json.Unmarshal(a.Body, to); err != nil {
		return fmt.Errorf("%s %s: %q: %w", method, path, a.Body, err)
	}
	return nil
}

// Log is the file with what it logs.
func (s *Server) Log() string { return s.log.Name() }

// Dir is the folder with its data.
func (s *Server) Dir() string { return s.dir }

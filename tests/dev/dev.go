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
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options say what is run.
type Options struct {
	Binary string   // chronik
	Suite  string   // who runs it: names its files
	Dir    string   // folder of its data; empty: one of its own, which Remove removes
	Args   []string // follow those that say where it listens and keeps its data
}

// Server is a `chronik dev`, which can be started again over the same data. Its
// methods are for one goroutine, but for Ask and Into.
type Server struct {
	Kafka, HTTP string // addresses, which stay over a restart

	binary, dir string
	own         bool // dir
	args        []string
	log         *os.File
	command     *exec.Cmd
	exited      chan struct{} // nil: never started
}

const (
	readyWithin = time.Minute
	stopWithin  = 45 * time.Second
)

// New makes folders for a server.
func New(o Options) (*Server, error) {
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, err
	}
	s := &Server{Kafka: "localhost:0", HTTP: "localhost:0", binary: binary, dir: o.Dir, own: o.Dir == "", args: o.Args}
	if s.own {
		if s.dir, err = os.MkdirTemp("", "chronik-"+o.Suite+"-data-"); err != nil {
			return nil, err
		}
	}
	s.log, err = os.CreateTemp("", "chronik-"+o.Suite+"-*.log")
	return s, err
}

// Start starts it, and waits until it is ready.
func (s *Server) Start(ctx context.Context) error {
	s.command = exec.Command(s.binary, append([]string{"dev", "--data", s.dir, "--kafka", s.Kafka, "--http", s.HTTP}, s.args...)...)
	s.command.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CHRONIK_") }) // settings of servers
	s.command.Stderr = s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the suite, which stops the server itself
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("start %s: %w (make build)", s.binary, err)
	}
	s.exited = make(chan struct{})
	ready := make(chan string, 1)
	go func() {
		defer close(s.exited)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- lines.Text()
			}
		}
		_ = s.command.Wait() // its state says how it ended
	}()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case line := <-ready:
		return s.answersAt(line)
	case <-s.exited:
		return s.failed(errors.New("chronik dev ended"))
	case <-ctx.Done():
		return errors.Join(s.failed(fmt.Errorf("chronik dev is not ready: %w", ctx.Err())), s.Crash())
	}
}

// answersAt keeps the addresses of a ready line.
func (s *Server) answersAt(line string) error {
	s.Kafka, s.HTTP = "", ""
	for field := range strings.FieldsSeq(line) {
		if address, ok := strings.CutPrefix(field, "kafka="); ok {
			s.Kafka = address
		}
		if address, ok := strings.CutPrefix(field, "http="); ok {
			s.HTTP = address
		}
	}
	if s.Kafka == "" || s.HTTP == "" {
		return errors.Join(fmt.Errorf("the ready line has no addresses: %q", line), s.Crash())
	}
	return nil
}

// Stop ends it. It is an error if it had ended before, or does not end in time.
func (s *Server) Stop() error {
	if !s.runs() {
		return s.failed(fmt.Errorf("chronik dev ended on its own: %s", s.command.ProcessState))
	}
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(stopWithin):
		return errors.Join(s.failed(fmt.Errorf("chronik dev did not stop within %s", stopWithin)), s.Crash())
	}
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		return s.failed(fmt.Errorf("chronik dev ended with exit code %d", code))
	}
	return nil
}

// Crash ends it without a warning. It is an error if it had ended before.
func (s *Server) Crash() error {
	if !s.runs() {
		return s.failed(fmt.Errorf("chronik dev ended on its own: %s", s.command.ProcessState))
	}
	err := s.command.Process.Kill()
	<-s.exited
	return err
}

// Kill ends it if it still runs.
func (s *Server) Kill() error {
	if s.exited != nil && s.runs() {
		return s.Crash()
	}
	return nil
}

// Remove kills it if it still runs, and removes what it has left behind.
func (s *Server) Remove() error {
	errs := []error{s.Kill()}
	if s.own {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(append(errs, s.log.Close(), os.Remove(s.log.Name()))...)
}

func (s *Server) runs() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// failed adds what the server logged last.
func (s *Server) failed(err error) error {
	text, unread := os.ReadFile(s.log.Name())
	if unread != nil {
		return errors.Join(err, unread)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return fmt.Errorf("%w; its log %s ends with:\n%s", err, s.log.Name(), bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
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

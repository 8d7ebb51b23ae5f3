package main

import (
	"bufio"
	"bytes"
	"context"
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

const (
	readyWithin = 30 * time.Second
	stopWithin  = 30 * time.Second
)

// server is a running `chronik dev`.
type server struct {
	command *exec.Cmd
	exited  chan error
	kafka   string
	http    string
	took    time.Duration
	log     *os.File
}

// start runs the binary on free ports and waits for its ready line. Its log goes
// to a file in the data folder's parent, and is shown when the start fails.
func start(ctx context.Context, o options) (*server, error) {
	log, err := os.CreateTemp("", "chronik-demo-*.log")
	if err != nil {
		return nil, fmt.Errorf("make a log file: %w", err)
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return nil, err
	}
	s := &server{
		// Files are made soon instead of after a minute, so that they can be shown.
		command: exec.Command(binary, "dev", "--data", o.dir, "--kafka", "localhost:0", "--http", "localhost:0", "--set", "compactor.first_age=2s"),
		exited:  make(chan error, 1),
		log:     log,
	}
	s.command.Stderr = log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the demo, which stops the server itself
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build)", binary, err)
	}
	ready := make(chan string, 1)
	go s.watch(stdout, ready)
	select {
	case line := <-ready:
		s.took = time.Since(began)
		return s, s.parse(line)
	case err := <-s.exited:
		return nil, fmt.Errorf("chronik dev ended: %w\n%s", err, s.tail())
	case <-time.After(readyWithin):
		s.kill()
		return nil, fmt.Errorf("chronik dev is not ready after %s\n%s", readyWithin, s.tail())
	case <-ctx.Done():
		s.kill()
		return nil, ctx.Err()
	}
}

// watch passes on the ready line, then reads until the process ends.
func (s *server) watch(stdout io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready ") {
			ready <- lines.Text()
		}
	}
	err := s.command.Wait()
	if err == nil {
		err = errors.New("exit status 0")
	}
	s.exited <- err
}

func (s *server) parse(line string) error {
	for field := range strings.FieldsSeq(line) {
		if address, ok := strings.CutPrefix(field, "kafka="); ok {
			s.kafka = address
		}
		if address, ok := strings.CutPrefix(field, "http="); ok {
			s.http = address
		}
	}
	if s.kafka == "" || s.http == "" {
		return fmt.Errorf("the ready line has no addresses: %q", line)
	}
	return nil
}

// stop asks the server to end and waits for it.
func (s *server) stop() error {
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop chronik dev: %w", err)
	}
	select {
	case <-s.exited:
		if code := s.command.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("chronik dev ended with exit code %d\n%s", code, s.tail())
		}
		os.Remove(s.log.Name())
		return nil
	case <-time.After(stopWithin):
		return fmt.Errorf("chronik dev did not stop within %s\n%s", stopWithin, s.tail())
	}
}

// kill ends the process if it still runs.
func (s *server) kill() {
	if s.command.ProcessState == nil {
		s.command.Process.Kill()
	}
}

// tail is the end of the server's log.
func (s *server) tail() string {
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return fmt.Sprintf("log %s ends with:\n%s", s.log.Name(), bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	readyWithin = 60 * time.Second
	stopWithin  = 45 * time.Second
)

// server is a running `chronik dev` with the settings that it comes with.
type server struct {
	command *exec.Cmd
	exited  chan struct{}
	kafka   string
	dir     string
	log     *os.File
}

func start(ctx context.Context, binary string) (*server, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chronik-compat-data-")
	if err != nil {
		return nil, err
	}
	log, err := os.CreateTemp("", "chronik-compat-*.log")
	if err != nil {
		return nil, err
	}
	s := &server{
		command: exec.Command(binary, "dev", "--data", dir, "--kafka", "localhost:0", "--http", "localhost:0"),
		exited:  make(chan struct{}),
		dir:     dir,
		log:     log,
	}
	s.command.Env = environment()
	s.command.Stderr = log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the suite, which stops the server itself
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build)", binary, err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(s.exited)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- lines.Text()
			}
		}
		s.command.Wait()
	}()
	select {
	case line := <-ready:
		for field := range strings.FieldsSeq(line) {
			if address, ok := strings.CutPrefix(field, "kafka="); ok {
				s.kafka = address
			}
		}
		if s.kafka == "" {
			s.kill()
			return nil, fmt.Errorf("the ready line has no address: %q", line)
		}
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("chronik dev ended, see %s", log.Name())
	case <-time.After(readyWithin):
		s.kill()
		return nil, fmt.Errorf("chronik dev is not ready after %s, see %s", readyWithin, log.Name())
	case <-ctx.Done():
		s.kill()
		return nil, ctx.Err()
	}
}

// environment is ours without CHRONIK_*, which are settings of the server.
func environment() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CHRONIK_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// stop asks the server to end. It is an error if it had ended before.
func (s *server) stop() error {
	select {
	case <-s.exited:
		return fmt.Errorf("chronik dev ended on its own: %s, see %s", s.command.ProcessState, s.log.Name())
	default:
	}
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop chronik dev: %w", err)
	}
	select {
	case <-s.exited:
		if code := s.command.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("chronik dev ended with exit code %d, see %s", code, s.log.Name())
		}
		return nil
	case <-time.After(stopWithin):
		return fmt.Errorf("chronik dev did not stop within %s, see %s", stopWithin, s.log.Name())
	}
}

// kill ends the process if it still runs, and removes its data.
func (s *server) kill() {
	select {
	case <-s.exited:
	default:
		s.command.Process.Kill()
		<-s.exited
	}
	os.RemoveAll(s.dir)
}

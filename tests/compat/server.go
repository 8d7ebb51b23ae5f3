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
	binary      string
	kafka, http string // addresses; they stay over a restart
	dir         string
	log         *os.File

	command *exec.Cmd
	exited  chan struct{}
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
	s := &server{binary: binary, kafka: "localhost:0", http: "localhost:0", dir: dir, log: log}
	return s, s.run(ctx)
}

// run starts the process and waits until it is ready.
func (s *server) run(ctx context.Context) error {
	s.exited = make(chan struct{})
	s.command = exec.Command(s.binary, "dev", "--data", s.dir, "--kafka", s.kafka, "--http", s.http)
	s.command.Env = environment()
	s.command.Stderr = s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the suite, which stops the server itself
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return fmt.Errorf("start %s: %w (make build)", s.binary, err)
	}
	ready, command, exited := make(chan string, 1), s.command, s.exited
	go func() {
		defer close(exited)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- lines.Text()
			}
		}
		command.Wait()
	}()
	select {
	case line := <-ready:
		s.kafka, s.http = "", ""
		for field := range strings.FieldsSeq(line) {
			if address, ok := strings.CutPrefix(field, "kafka="); ok {
				s.kafka = address
			}
			if address, ok := strings.CutPrefix(field, "http="); ok {
				s.http = address
			}
		}
		if s.kafka == "" || s.http == "" {
			s.kill()
			return fmt.Errorf("the ready line has no addresses: %q", line)
		}
		return nil
	case <-s.exited:
		return fmt.Errorf("chronik dev ended, see %s", s.log.Name())
	case <-time.After(readyWithin):
		s.kill()
		return fmt.Errorf("chronik dev is not ready after %s, see %s", readyWithin, s.log.Name())
	case <-ctx.Done():
		s.kill()
		return ctx.Err()
	}
}

// restart kills the process with -9 and starts it again on its data and addresses.
func (s *server) restart(ctx context.Context) error {
	select {
	case <-s.exited:
		return fmt.Errorf("chronik dev had ended before its restart, see %s", s.log.Name())
	default:
	}
	s.command.Process.Kill()
	<-s.exited
	return s.run(ctx)
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

// kill ends the process if it still runs.
func (s *server) kill() {
	select {
	case <-s.exited:
	default:
		s.command.Process.Kill()
		<-s.exited
	}
}

// remove kills the process and removes its data. The log stays for who looks
// into a failure.
func (s *server) remove() {
	s.kill()
	os.RemoveAll(s.dir)
}

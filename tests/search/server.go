package main

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

// server is a running `chronik dev`, which is started again over the same data.
type server struct {
	kafka, http string
	binary, dir string
	log         *os.File
	command     *exec.Cmd
	exited      chan struct{}
}

const (
	readyWithin = time.Minute
	stopWithin  = 45 * time.Second
)

func newServer(binary string) (*server, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	s := &server{binary: binary}
	if s.dir, err = os.MkdirTemp("", "chronik-search-data-"); err != nil {
		return nil, err
	}
	s.log, err = os.CreateTemp("", "chronik-search-*.log")
	return s, err
}

// start starts it, and waits until it is ready.
func (s *server) start(ctx context.Context) error {
	s.exited = make(chan struct{})
	s.command = exec.Command(s.binary, "dev", "--data", s.dir, "--kafka", "localhost:0", "--http", "localhost:0",
		"--set", "segment.age=300ms", "--set", "compactor.first_age=500ms") // so that there are splits soon
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
					s.kafka = address
				}
				if address, ok := strings.CutPrefix(field, "http="); ok {
					s.http = address
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

// stop ends it. It is an error if it had ended before, or does not end in time.
func (s *server) stop() error {
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

// crash ends it without a warning.
func (s *server) crash() error {
	err := s.command.Process.Kill()
	<-s.exited
	return err
}

// remove removes what it has left behind.
func (s *server) remove() error {
	return errors.Join(s.log.Close(), os.RemoveAll(s.dir), os.Remove(s.log.Name()))
}

// answer is what the server said to a request.
type answer struct {
	status int
	body   []byte
}

// ask sends a request. A body is JSON.
func (s *server) ask(ctx context.Context, method, path, body string) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.http+path, bytes.NewReader([]byte(body)))
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
	return &answer{response.StatusCode, text}, err
}

// into asks, and reads the answer, which has to be 200.
func (s *server) into(ctx context.Context, to any, method, path, body string) error {
	a, err := s.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%s %s %.300s: status %d: %.1000s", method, path, body, a.status, a.body)
	}
	if to == nil {
		return nil
	}
	if err := json.Unmarshal(a.body, to); err != nil {
		return fmt.Errorf("%s %s: %q: %w", method, path, a.body, err)
	}
	return nil
}

// found is what is looked at of a search's answer.
type found struct {
	Hits struct {
		Total struct {
			Value    int64
			Relation string
		}
		Hits []struct {
			ID     string          `json:"_id"`
			Score  *float64        `json:"_score"`
			Source json.RawMessage `json:"_source"`
			Fields map[string][]any
			Sort   []any
		}
	}
	Aggregations map[string]json.RawMessage
	Coverage     map[string]struct {
		Lag int64 `json:"lag_records"`
	}
}

// bulk writes documents to an index.
func (s *server) bulk(ctx context.Context, index string, documents [][]byte) error {
	for len(documents) > 0 {
		n := min(500, len(documents))
		var body bytes.Buffer
		for _, d := range documents[:n] {
			body.WriteString("{\"index\":{}}\n")
			body.Write(d)
			body.WriteByte('\n')
		}
		documents = documents[n:]
		var out struct{ Errors bool }
		if err := s.into(ctx, &out, "POST", "/"+index+"/_bulk", body.String()); err != nil {
			return err
		}
		if out.Errors {
			return fmt.Errorf("writing to %s: some documents were refused", index)
		}
	}
	return nil
}

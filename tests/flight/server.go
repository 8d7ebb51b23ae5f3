package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rows are the records of topic orders. Drivers know how each is made from its
// number.
const rows = 30_000

func produce(ctx context.Context, kafka string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		return err
	}
	defer client.Close()
	yes := "true"
	answers, err := kadm.NewClient(client).CreateTopics(ctx, 3, 1, map[string]*string{"columnar.enabled": &yes}, "orders")
	if err = errors.Join(err, answers.Error()); err != nil {
		return fmt.Errorf("create the topic: %w", err)
	}
	records := make([]*kgo.Record, rows)
	for i := range records {
		records[i] = &kgo.Record{Key: fmt.Appendf(nil, "k%d", i%1000), Value: fmt.Appendf(nil,
			`{"id":%d,"city":%q,"amount":%g,"ok":%t,"made":"2026-01-02T03:04:05Z"}`, i, []string{"Oslo", "Rome", "Bern"}[i%3], float64(i)/4, i%2 == 0)}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// server is a running `chronik dev`.
type server struct {
	kafka, http string
	dir         string
	log         *os.File
	command     *exec.Cmd
	exited      chan struct{}
}

const (
	readyWithin = time.Minute
	stopWithin  = 45 * time.Second
)

func start(ctx context.Context, binary string) (*server, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	s := &server{exited: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "chronik-flight-data-"); err != nil {
		return nil, err
	}
	if s.log, err = os.CreateTemp("", "chronik-flight-*.log"); err != nil {
		return nil, err
	}
	s.command = exec.Command(binary, "dev", "--data", s.dir, "--kafka", "localhost:0", "--http", "localhost:0")
	s.command.Stderr = s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the suite, which stops the server itself
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build)", binary, err)
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
		s.command.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	select {
	case <-ready:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("chronik dev ended, see %s", s.log.Name())
	case <-ctx.Done():
		s.command.Process.Kill()
		return nil, fmt.Errorf("chronik dev is not ready, see %s: %w", s.log.Name(), ctx.Err())
	}
}

// stop ends the server. It is an error if it had ended before, or does not end
// in time.
func (s *server) stop() error {
	select {
	case <-s.exited:
		return fmt.Errorf("chronik dev ended on its own: %s, see %s", s.command.ProcessState, s.log.Name())
	default:
	}
	s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopWithin):
		s.command.Process.Kill()
		return fmt.Errorf("chronik dev did not stop within %s, see %s", stopWithin, s.log.Name())
	}
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("chronik dev ended with exit code %d, see %s", code, s.log.Name())
	}
	s.log.Close()
	return errors.Join(os.RemoveAll(s.dir), os.Remove(s.log.Name()))
}

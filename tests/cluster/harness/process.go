package harness

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
	"sync"
	"syscall"
	"time"
)

const (
	// readyWithin is how long a process may take to answer; on busy cores
	// starting takes seconds.
	readyWithin = 90 * time.Second
	// stopWithin is how long one that was asked to stop may take.
	stopWithin = 60 * time.Second
	// lookEvery is the pause between two looks whether a process answers.
	lookEvery = 20 * time.Millisecond
)

// Process is a command that can be started many times, once at a time. Its
// methods are for one goroutine at a time, but Running, Exited and Log.
type Process struct {
	Name string
	Args []string // the command and its arguments
	Env  []string // all of it
	Dir  string   // where it runs

	logFile string
	// ready reports whether the process answers; said whether it printed a line
	// that begins so.
	ready func(ctx context.Context, said func(prefix string) bool) bool

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	await  func(ctx context.Context) bool
	began  time.Time
	took   time.Duration
}

// NewProcess is a command that is ready when it has printed a line that begins
// with prefix. It runs in dir, and logs there.
func NewProcess(name string, args, env []string, dir, prefix string) *Process {
	return &Process{
		Name: name, Args: args, Env: env, Dir: dir, logFile: filepath.Join(dir, name+".log"),
		ready: func(_ context.Context, said func(string) bool) bool { return said(prefix) },
	}
}

// Start starts the process and waits until it answers.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	return p.Await(ctx)
}

// said collects standard output.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) < 100 {
		s.lines = append(s.lines, line)
	}
}

func (s *said) prefix(prefix string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// Launch starts the process and does not wait.
func (p *Process) Launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("start %s: it runs already", p.Name)
	}
	log, err := os.OpenFile(p.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = p.Env, p.Dir, log
	cmd.SysProcAttr = processAttributes()
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", p.Name, err), log.Close())
	}
	out, exited := new(said), make(chan struct{})
	go func() {
		defer close(exited)
		reader := bufio.NewReader(stdout)
		for {
			line, err := reader.ReadString('\n')
			if line != "" {
				fmt.Fprint(log, line) // first, so that who waits for the line finds it there
				out.add(line)
			}
			if err != nil {
				break
			}
		}
		_ = cmd.Wait() // how it ended is in ProcessState
		_ = log.Close()
	}()
	p.cmd, p.exited, p.began = cmd, exited, time.Now()
	p.await = func(ctx context.Context) bool { return p.ready(ctx, out.prefix) }
	return nil
}

// Await waits until the process that was launched answers.
func (p *Process) Await(ctx context.Context) error {
	p.mu.Lock()
	exited, ready, began := p.exited, p.await, p.began
	p.mu.Unlock()
	if exited == nil {
		return fmt.Errorf("%s was never started", p.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for !ready(ctx) {
		select {
		case <-again.C:
		case <-exited:
			return fmt.Errorf("%s ended before it was ready: %s\n%s", p.Name, p.State(), p.Log(4<<10))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w\n%s", p.Name, time.Since(began).Round(time.Second), ctx.Err(), p.Log(4<<10))
		}
	}
	p.mu.Lock()
	p.took = time.Since(began)
	p.mu.Unlock()
	return nil
}

// Took is how long the last start took until it answered.
func (p *Process) Took() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took
}

func (p *Process) running() bool {
	if p.exited == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Running reports whether it runs.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running()
}

// PID is the process's id; 0 when it does not run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Exited is closed when the process that was started last has ended; nil when
// none was.
func (p *Process) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// State is how the process ended, in words.
func (p *Process) State() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.running() {
		return "running"
	}
	return p.cmd.ProcessState.String()
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("signal %s: it does not run", p.Name)
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill is kill -9. It returns when the process is gone, also when it was before.
func (p *Process) Kill() {
	if err := p.Signal(syscall.SIGKILL); err == nil {
		<-p.Exited()
	}
}

// Pause freezes the process (SIGSTOP): it keeps its memory, its connections and
// its view of the world.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume goes on with a paused one.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Stop asks the process to stop (SIGTERM) and waits. That it takes too long, or
// ends with another code than 0, is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	select {
	case <-p.Exited():
	case <-ctx.Done():
		return fmt.Errorf("stop %s: it still runs: %w\n%s", p.Name, ctx.Err(), p.Log(4<<10))
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("stop %s: %s\n%s", p.Name, p.State(), p.Log(4<<10))
	}
	return nil
}

// Log is the end of what all its lives have logged.
func (p *Process) Log(bytesMax int64) string {
	text, err := tail(p.logFile, bytesMax)
	if err != nil {
		return err.Error()
	}
	return text
}

func tail(name string, bytesMax int64) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	from := max(info.Size()-bytesMax, 0)
	text, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
	if from > 0 {
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:] // half a line
		}
	}
	return string(text), err
}

package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// echo serves lines back until the test ends.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

type caller struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, address string) caller {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return caller{t, conn, bufio.NewReader(conn)}
}

func (c caller) say(line string) {
	if _, err := fmt.Fprintln(c, line); err != nil {
		c.t.Error(err)
	}
}

func (c caller) hear(within time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		c.t.Fatal(err)
	}
	line, err := c.lines.ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestAProxyPassesCutsHealsDelaysAndRefuses(t *testing.T) {
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := dial(t, p.Address())
	c.say("a")
	if got, err := c.hear(10 * time.Second); got != "a" {
		t.Fatalf("%q, %v", got, err)
	}

	p.Cut()
	c.say("b")
	if got, err := c.hear(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a line came through a cut: %q, %v", got, err)
	}
	fresh := dial(t, p.Address())
	fresh.say("c")
	p.Heal()
	if got, err := c.hear(10 * time.Second); got != "b" {
		t.Errorf("after the cut: %q, %v", got, err)
	}
	if got, err := fresh.hear(10 * time.Second); got != "c" {
		t.Errorf("a connection made during the cut: %q, %v", got, err)
	}

	p.Delay(200 * time.Millisecond)
	began := time.Now()
	c.say("d")
	if got, err := c.hear(10 * time.Second); got != "d" || time.Since(began) < 400*time.Millisecond {
		t.Errorf("delayed: %q after %s, %v", got, time.Since(began), err)
	}
	p.Delay(0)

	p.Refuse()
	if got, err := c.hear(10 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a refused connection lives: %q, %v", got, err)
	}
	late := dial(t, p.Address())
	if got, err := late.hear(10 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a refused connection was taken: %q, %v", got, err)
	}
	p.Busy()
	answer, err := http.Post("http://"+p.Address()+"/bucket/object", "", strings.NewReader(strings.Repeat("x", 1<<20)))
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Body.Close() != nil {
		t.Errorf("a busy one answers %v, %v", answer, err)
	}

	p.Heal()
	again := dial(t, p.Address())
	again.say("e")
	if got, err := again.hear(10 * time.Second); got != "e" {
		t.Errorf("healed: %q, %v", got, err)
	}
}

func shell(t *testing.T, script string) *Process {
	dir := t.TempDir()
	p := &Process{
		Name: "shell", Args: []string{"/bin/sh", "-c", script}, Dir: dir, logFile: dir + "/log",
		ready: func(_ context.Context, said func(string) bool) bool { return said("ready") },
	}
	t.Cleanup(p.Kill)
	return p
}

func TestAProcessIsStartedStoppedKilledAndStartedAgain(t *testing.T) {
	p := shell(t, `trap 'echo bye >&2; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	for life := 1; life <= 2; life++ {
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.Launch(); err == nil || !p.Running() {
			t.Errorf("started twice: %v", err)
		}
		if err := p.Stop(t.Context()); err != nil || p.Running() {
			t.Errorf("stop: %v", err)
		}
		if got := strings.Count(p.Log(1<<10), "bye"); got != life {
			t.Errorf("life %d: %d farewells in %q", life, got, p.Log(1<<10))
		}
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Pause(), p.Resume()); err != nil {
		t.Error(err)
	}
	p.Kill()
	p.Kill()
	if p.Running() || !strings.Contains(p.State(), "killed") {
		t.Errorf("killed, and %s", p.State())
	}
	if err := p.Stop(t.Context()); err == nil {
		t.Error("what does not run was stopped")
	}
}

func TestAProcessThatEndsEarlyOrBadlyIsAnError(t *testing.T) {
	if err := shell(t, "echo oh no >&2; exit 3").Start(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "oh no") {
		t.Errorf("%v", err)
	}
	p := shell(t, `trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done`)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 4") {
		t.Errorf("%v", err)
	}
	if err := (&Process{Name: "nothing"}).Await(t.Context()); err == nil {
		t.Error("what was never started is ready")
	}
}

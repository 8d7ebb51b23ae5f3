package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

func names(order []module) []string {
	var list []string
	for _, m := range order {
		list = append(list, m.name)
	}
	return list
}

func TestModulesStartAfterWhatTheyNeed(t *testing.T) {
	table := []module{{name: "a"}, {name: "b", needs: []string{"a"}}, {name: "c", needs: []string{"b", "a"}}, {name: "d"}, {name: "e", needs: []string{"e"}}, {name: "f", needs: []string{"g"}}}
	for _, test := range []struct {
		roles []string
		want  string
		err   string
	}{
		{[]string{"c"}, "a b c", ""},
		{[]string{"d", "b"}, "a b d", ""},
		{[]string{"b", "c", "b"}, "a b c", ""},
		{nil, "", ""},
		{[]string{"e"}, "", "needs itself"},
		{[]string{"f"}, "", "no module g"},
	} {
		order, err := startOrder(table, test.roles)
		if got := strings.Join(names(order), " "); test.err == "" && (err != nil || got != test.want) {
			t.Errorf("%v: %q, %v; want %q", test.roles, got, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%v: %v, want %q", test.roles, err, test.err)
		}
	}
}

func TestEveryModuleOfTheTableCanBeStarted(t *testing.T) {
	for _, clustered := range []bool{false, true} {
		cfg := config.Default()
		if clustered {
			cfg = clusterNode(t)
		}
		table := modules(cfg)
		everything, err := startOrder(table, append([]string{surface}, config.AllRoles()...))
		if err != nil || everything[0].name != surface {
			t.Errorf("HTTP is not the first to start, and the last to stop: %v, %v", names(everything), err)
		}
		if slices.Contains(names(everything), "embedded etcd") == clustered {
			t.Errorf("clustered %v starts %v", clustered, names(everything))
		}
		checkTable(t, table)
	}
}

func checkTable(t *testing.T, table []module) {
	for _, m := range table {
		if m.start == nil || m.stopWithin <= 0 || m.stopWithin > time.Minute {
			t.Errorf("module %s is incomplete", m.name)
		}
		if _, err := startOrder(table, []string{m.name}); err != nil {
			t.Error(err)
		}
	}
}

func TestARoleHasTheTimeToStopThatIsSet(t *testing.T) {
	cfg, err := config.Load(config.Inputs{Flags: []config.Flag{{Key: "broker.stop_timeout", Value: "3m"}, {Key: "query.stop_timeout", Value: "5m"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules(cfg) {
		if m.name == RoleBroker && m.stopWithin <= 3*time.Minute || m.name == RoleQuery && m.stopWithin <= 5*time.Minute {
			t.Errorf("the %s is given up after %v", m.name, m.stopWithin)
		}
	}
}

func TestStopGoesBackwardsPastFailures(t *testing.T) {
	var stopped []string
	part := func(name string, err error) started {
		return started{module{name: name, stopWithin: time.Second}, running{stop: func(context.Context) error {
			stopped = append(stopped, name)
			return err
		}}}
	}
	n := &Node{log: slog.New(slog.DiscardHandler), started: []started{part("a", nil), part("b", errors.New("stuck")), part("c", nil)}}
	if err := n.Stop(); err == nil || !strings.Contains(err.Error(), "stop the b: stuck") {
		t.Errorf("err = %v", err)
	}
	if !slices.Equal(stopped, []string{"c", "b", "a"}) {
		t.Errorf("stopped %v", stopped)
	}
	if err := n.Stop(); err != nil || len(stopped) != 3 {
		t.Errorf("a second stop did something: %v, %v", err, stopped)
	}
}

func TestABackgroundRoleThatEndsByItselfHasFailed(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		ends error
	}{{"with an error", broken}, {"without one", nil}} {
		r := background(func(context.Context) error { return test.ends })
		if err := <-r.failed; err == nil || (test.ends != nil && !errors.Is(err, test.ends)) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	r := background(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if err := r.stop(context.Background()); err != nil {
		t.Errorf("stopped as asked, and failed: %v", err)
	}
	if err, ok := <-r.failed; ok {
		t.Errorf("it says that it failed: %v", err)
	}
}

func TestStopIsBounded(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, r := range []running{
		background(func(context.Context) error { <-never; return nil }),
		closing(func() error { <-never; return nil }),
	} {
		if err := r.stop(ended); err == nil || !strings.Contains(err.Error(), "still runs") {
			t.Errorf("err = %v", err)
		}
	}
}

func TestLocalhostIsListenedOnUnderOnePort(t *testing.T) {
	listeners, err := listen("localhost", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		if portOf(l) != portOf(listeners[0]) || portOf(l) == 0 {
			t.Errorf("ports differ: %v", l.Addr())
		}
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Errorf("dial %v: %v", l.Addr(), err)
			continue
		}
		conn.Close()
	}
	if _, err := listen("127.0.0.1", portOf(listeners[0])); err == nil || !strings.Contains(err.Error(), "port 0 picks") {
		t.Errorf("a taken port: %v", err)
	}
	if err := closeAll(append(listeners, listeners...)); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestADataFolderKeepsItsIdentity(t *testing.T) {
	dir := t.TempDir()
	first, err := identity(dir)
	if err != nil || len(first) != 26 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := identity(dir); err != nil || again != first {
		t.Errorf("%q became %q, %v", first, again, err)
	}
	if other, err := identity(t.TempDir()); err != nil || other == first {
		t.Errorf("another folder has the same: %q, %v", other, err)
	}
	if err := os.WriteFile(dir+"/identity", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a damaged identity: %v", err)
	}
}

func TestADataFolderHasOneProcess(t *testing.T) {
	dir := t.TempDir() + "/new/data"
	release, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("locked twice: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	release, err = lockDir(dir)
	if err != nil {
		t.Fatalf("not free after release: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chronik-stream/chronik/tests/fetched"
)

// driver is a folder with a program that drives a client.
type driver struct {
	dir    string
	needs  []string       // commands that must be on the PATH
	checks map[string]int // how many each client has
}

var drivers = []driver{
	{"node", []string{"node", "npm"}, map[string]int{"@elastic/elasticsearch": 12}},
	{"python", []string{"python3"}, map[string]int{"elasticsearch-py": 12}},
}

// result is one line of a driver.
type result struct {
	Client  string `json:"client"`
	Version string `json:"version"`
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
}

func (d driver) missing() string {
	for _, command := range d.needs {
		if _, err := exec.LookPath(command); err != nil {
			return command
		}
	}
	return ""
}

// run prepares the driver, runs it and judges what it says.
func (d driver) run(ctx context.Context, o options, s *server) error {
	dir := filepath.Join(o.drivers, d.dir)
	prepared, err := fetched.Folder(ctx, dir, o.cache, "SEARCH_DIR")
	if err != nil {
		return err
	}
	var out, log bytes.Buffer
	c, err := fetched.Script(ctx, dir, "run", "SEARCH_DIR="+prepared, "SEARCH_ADDRESS="+s.HTTP)
	if err != nil {
		return err
	}
	c.Stdout, c.Stderr = &out, &log
	err = c.Run()
	problems := []error{err}
	if err != nil {
		problems = append(problems, errors.New(log.String()))
	}
	seen := map[string]int{}
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			problems = append(problems, fmt.Errorf("%q: %w", line, err))
			continue
		}
		seen[r.Client]++
		mark := "ok  "
		if !r.OK {
			mark = "FAIL"
			problems = append(problems, fmt.Errorf("%s: %s: %s", r.Client, r.Check, r.Detail))
		}
		fmt.Fprintf(os.Stdout, "%s  %s %s  %s  %.200s\n", mark, r.Client, r.Version, r.Check, r.Detail)
	}
	for client, checks := range d.checks {
		if seen[client] != checks {
			problems = append(problems, fmt.Errorf("%s has %d checks, %d were run", client, checks, seen[client]))
		}
	}
	return errors.Join(problems...)
}

// Package driver runs programs that try a published client of Chronik, each in its
// own language. One is a folder with a script `prepare`, which fetches what it pins,
// and a script `run`, which writes one line of JSON for each of its checks.
package driver

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

// Driver is such a folder.
type Driver struct {
	Dir    string
	Needs  []string       // commands that must be on the PATH
	Checks map[string]int // how many each client has: one that is left out is no success
}

// Suite is what the drivers of a suite share.
type Suite struct {
	Folder  string // of their folders
	Cache   string // folder for what they fetch
	Prefix  string // of their variables: PREFIX_DIR has what was fetched, PREFIX_TMP is a folder for a run
	NeedAll bool   // fail where a command is missing, instead of saying so
}

// result is one line of a driver.
type result struct {
	Client  string `json:"client"`
	Version string `json:"version"`
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
}

// Run prepares a driver, runs it with further variables, and judges what it says.
func (s Suite) Run(ctx context.Context, d Driver, env ...string) error {
	for _, command := range d.Needs {
		if _, err := exec.LookPath(command); err != nil {
			if s.NeedAll {
				return fmt.Errorf("%s is not installed", command)
			}
			fmt.Printf("SKIPPED %s: %s is not installed\n", d.Dir, command)
			return nil
		}
	}
	dir := filepath.Join(s.Folder, d.Dir)
	prepared, err := fetched.Folder(ctx, dir, s.Cache, s.Prefix+"_DIR")
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "chronik-"+strings.ToLower(s.Prefix)+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	c, err := fetched.Script(ctx, dir, "run", append(env, s.Prefix+"_DIR="+prepared, s.Prefix+"_TMP="+temp)...)
	if err != nil {
		return err
	}
	var out, log bytes.Buffer
	c.Stdout, c.Stderr = &out, &log
	if err := c.Run(); err != nil {
		return errors.Join(err, d.judge(out.String()), errors.New(log.String()))
	}
	return d.judge(out.String())
}

// judge prints the checks, and says which failed or are missing.
func (d Driver) judge(out string) error {
	var problems []error
	seen := map[string]int{}
	for line := range strings.Lines(out) {
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
		fmt.Printf("%s  %s %s  %s  %.200s\n", mark, r.Client, r.Version, r.Check, r.Detail)
	}
	for client, checks := range d.Checks {
		if seen[client] != checks {
			problems = append(problems, fmt.Errorf("%s has %d checks, %d were run", client, checks, seen[client]))
		}
	}
	return errors.Join(problems...)
}

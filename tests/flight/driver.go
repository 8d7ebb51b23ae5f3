package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/tests/fetched"
)

// result is one line of a driver.
type result struct {
	Client  string `json:"client"`
	Version string `json:"version"`
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
}

// run prepares the driver, runs it and judges what it says.
func (d driver) run(ctx context.Context, dir, cache, address string) error {
	prepared, err := fetched.Folder(ctx, dir, cache, "FLIGHT_DIR")
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "chronik-flight-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	began := time.Now()
	var out, log bytes.Buffer
	c, err := fetched.Script(ctx, dir, "run", "FLIGHT_DIR="+prepared, "FLIGHT_TMP="+temp, "FLIGHT_ADDRESS="+address, fmt.Sprintf("FLIGHT_ROWS=%d", rows))
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
		fmt.Printf("%s  %s %s  %s  %s\n", mark, r.Client, r.Version, r.Check, r.Detail)
	}
	for client, checks := range d.checks {
		if seen[client] != checks {
			problems = append(problems, fmt.Errorf("%s has %d checks, %d were run", client, checks, seen[client]))
		}
	}
	fmt.Printf("---- %s: %s\n", d.dir, time.Since(began).Round(time.Second))
	return errors.Join(problems...)
}

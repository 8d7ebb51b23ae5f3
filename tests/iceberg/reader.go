package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
	"github.com/chronik-stream/chronik/tests/fetched"
)

// reader is a process that reads tables: a request is a line of JSON, and so is
// its answer.
type reader struct {
	name, version string
	command       *exec.Cmd
	in            io.WriteCloser
	out           *bufio.Reader
	log           bytes.Buffer
}

// request is what a reader is asked.
type request struct {
	Ask      string         `json:"ask"` // tables, columns, scan
	Table    string         `json:"table,omitempty"`
	Columns  []string       `json:"columns,omitempty"`
	From     *int64         `json:"from,omitempty"` // µs, of _timestamp; with To, and below that
	To       *int64         `json:"to,omitempty"`
	Where    map[string]any `json:"where,omitempty"` // columns that equal a value
	Snapshot int64          `json:"snapshot,omitempty"`
}

// answer is what it says.
type answer struct {
	Version string            `json:"version"`
	Missing string            `json:"missing"` // there is no such table
	Error   string            `json:"error"`
	Tables  []string          `json:"tables"`
	Columns map[string]string `json:"columns"` // name to Iceberg's name of the type
	Rows    [][]any           `json:"rows"`    // in the order of the request's columns
	Planned []struct {
		Path    string `json:"path"`
		Records int64  `json:"records"`
		Deletes int    `json:"deletes"` // files of position deletes
	} `json:"planned"`
}

// records are those of the files that were planned.
func (a *answer) records() (n int64) {
	for _, f := range a.Planned {
		n += f.Records
	}
	return n
}

// startReader starts the reader in dir.
func startReader(ctx context.Context, dir, cache string, c *harness.Cluster) (*reader, error) {
	prepared, err := fetched.Folder(ctx, dir, cache, "ICEBERG_DIR")
	if err != nil {
		return nil, err
	}
	env := []string{"ICEBERG_DIR=" + prepared, "ICEBERG_URI=http://" + c.HTTP + "/iceberg"}
	if c.MinIO != nil {
		env = append(env, "ICEBERG_S3="+c.S3, "ICEBERG_S3_KEY="+harness.AccessKey, "ICEBERG_S3_SECRET="+harness.SecretKey)
	}
	r := &reader{name: filepath.Base(dir)}
	if r.command, err = fetched.Script(ctx, dir, "run", env...); err != nil {
		return nil, err
	}
	r.command.Stderr = &r.log
	in, err := r.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := r.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", r.name, err)
	}
	r.in, r.out = in, bufio.NewReaderSize(out, 1<<20)
	hello, err := r.hear()
	r.version = hello.Version
	return r, err
}

// ask asks one thing. Missing is no error.
func (r *reader) ask(q request) (answer, error) {
	line, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	if _, err := r.in.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("%s does not listen: %w\n%s", r.name, err, r.log.Bytes())
	}
	a, err := r.hear()
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		return a, fmt.Errorf("%s, asked %s: %w", r.name, line, err)
	}
	return a, nil
}

func (r *reader) hear() (a answer, err error) {
	line, err := r.out.ReadBytes('\n')
	if err != nil {
		r.close()
		return a, fmt.Errorf("%s has ended: %w\n%s", r.name, err, r.log.Bytes())
	}
	return a, json.Unmarshal(line, &a)
}

// close ends the process, which reads to the end of its requests.
func (r *reader) close() {
	_ = r.in.Close()
	_ = r.command.Wait() // it has said what it had to
}

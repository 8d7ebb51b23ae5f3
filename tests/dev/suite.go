package dev

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Part is a part of a suite.
type Part struct {
	Name string
	Run  func(context.Context) error
}

// Suite starts a server, prepares it, and runs the parts against it: those that
// only names, with commas between, or all. Its data is removed when all went well.
func Suite(ctx context.Context, o Options, only string, prepare func(context.Context, *Server) ([]Part, error)) error {
	began := time.Now()
	s, err := New(o)
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	fmt.Printf("chronik dev on %s, log %s\n", s.HTTP, s.Log())
	parts, err := prepare(ctx, s)
	failed := []error{err}
	for _, p := range parts {
		if only != "" && !slices.Contains(strings.Split(only, ","), p.Name) {
			continue
		}
		from := time.Now()
		if err := p.Run(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.Name, err))
			fmt.Printf("FAIL  %s\n", p.Name)
		}
		fmt.Printf("---- %s: %s\n", p.Name, time.Since(from).Round(100*time.Millisecond))
	}
	fmt.Printf("%s: %s\n", o.Suite, time.Since(began).Round(time.Second))
	if failed = append(failed, s.Stop()); errors.Join(failed...) == nil {
		return s.Remove()
	}
	return fmt.Errorf("%w\nthe server's log is %s", errors.Join(failed...), s.Log())
}

// Package snapshot says what a topic is at a moment: which files the catalog
// names, where its logs begin and end, and whether the two speak of the same
// ownership. SQL, full-text and vector search bind to topics by its rules, each to
// files of its own kind, and but the last to the records that are in none of these
// yet.
//
// Promises of what was bound under Bind and Present with freshness Latest: all
// that was acknowledged before the call is covered, and nothing of what had been
// deleted, cut off or re-created by then. A file that is damaged or missing makes
// the attempt fail, and is reported so that it is made again: never is a record
// left out in silence.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/tail"
)

// Freshness says how much of a topic an answer has to cover.
type Freshness string

// The contract's three.
const (
	Latest    Freshness = "latest"    // all that was acknowledged before the request
	Available Freshness = "available" // what is at hand
	Cold      Freshness = "cold"      // what is in files in the bucket
)

// Known reports whether it is one of the three.
func (f Freshness) Known() bool { return f == Latest || f == Available || f == Cold }

// Kind is a kind of files that records are rewritten into.
type Kind uint8

// The kinds.
const (
	Columnar Kind = iota + 1
	Text
	Vector
)

func (k Kind) mark(m metastore.Marks) int64 {
	switch k {
	case Text:
		return m.Text
	case Vector:
		return m.Vector
	}
	return m.Columnar
}

// Sources are whom to ask.
type Sources struct {
	Catalog   *metastore.Catalog
	Manifests *committed.Reader
	Tails     *tail.Tails
	// CatchUp waits until Catalog has all that is in the metadata store; nil: the
	// catalog is taken as it is.
	CatchUp func(context.Context) error
	// ReportDamage says that a file is damaged or missing, so that it is made
	// again; nil: it stays as it is.
	ReportDamage func(ctx context.Context, object, reason string) error
	Log          *slog.Logger
}

// ErrStale means: brokers and catalog do not speak of the same ownership.
var ErrStale = errors.New("ownership of a partition has changed")

// UnsettledError means that a topic changed whenever a query looked at it, until
// the query's context ended.
type UnsettledError struct {
	Topic  string
	Change error // the last
	Cause  error // of the context
}

// Error implements error.
func (e *UnsettledError) Error() string {
	return fmt.Sprintf("topic %s changed whenever the query looked at it: %v; try again", e.Topic, e.Change)
}

// Unwrap gives both to errors.Is.
func (e *UnsettledError) Unwrap() []error { return []error{e.Change, e.Cause} }

// newsWait is how long an attempt to bind waits for news of the catalog before the
// next one, and pauseMax how long at least, where news come without an end.
const (
	newsWait = 200 * time.Millisecond
	pauseMax = 50 * time.Millisecond
)

// Bind calls try until all of what it saw of a topic belongs together, or ctx
// ends: compaction moves files and marks on under it, and partitions change their
// owners. Attempts count from 1. Files that try finds damaged or missing, as
// OfFile names them, are reported; the error is a *DamagedError then.
func (s *Sources) Bind(ctx context.Context, topicName string, try func(attempt int) error) error {
	var missed missed
	var unsettled error // why the last attempt was not the last
	for attempt := 1; ; attempt++ {
		revision := s.Catalog.Revision()
		err := try(attempt)
		if errors.Is(err, format.ErrCorrupt) || missed.again(ctx, s, err) {
			return s.reported(ctx, topicName, err)
		}
		moved := errors.Is(err, tail.ErrTrimmed) || errors.Is(err, tail.ErrGone) || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, ErrStale)
		if moved {
			unsettled = err
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && unsettled != nil:
			return &UnsettledError{topicName, unsettled, ctx.Err()}
		case !moved:
			return err
		}
		s.awaitNews(ctx, revision, min(time.Duration(attempt)*time.Millisecond, pauseMax))
	}
}

// awaitNews returns when the catalog is newer than revision, or after a moment,
// and never before pause is over or ctx ends.
func (s *Sources) awaitNews(ctx context.Context, revision int64, pause time.Duration) {
	rest := time.NewTimer(pause)
	defer rest.Stop()
	news, cancel := context.WithTimeout(ctx, newsWait)
	defer cancel()
	// Waiting in vain is no error: the next attempt shows what is wrong.
	_ = s.Catalog.WaitRevision(news, revision+1)
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// A file of the bucket that is not what was written, or is not there at all,
// makes the queries that need it fail: never is a record left out in silence. It is
// reported in the metadata store, and a compactor makes it again of the log, mostly
// within seconds. What is damaged here alone, a local copy, the cache mends by
// itself: only what came fresh from the bucket is reported.

// reportWait bounds how long a query that fails anyway waits for its report.
const reportWait = 2 * time.Second

// fileError is about a file of the bucket that a query needs.
type fileError struct {
	object string
	err    error
}

// Error implements error.
func (e *fileError) Error() string { return e.err.Error() }

// Unwrap gives errors.Is and errors.As what was wrong.
func (e *fileError) Unwrap() error { return e.err }

// missing tells that the object is not there.
func (e *fileError) missing() bool { return errors.Is(e.err, objstore.ErrNotFound) }

// OfFile names the object in an error that is about its bytes, so that Bind
// reports it; one that has a name keeps it.
func OfFile(object string, err error) error {
	if named := (*fileError)(nil); errors.As(err, &named) {
		return err
	}
	if errors.Is(err, format.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound) {
		return &fileError{object, err}
	}
	return err
}

// DamagedError means that a file of the bucket cannot be read.
type DamagedError struct {
	Topic, Object string
	Missing       bool
	Lost          string // why it cannot be made again; empty: that is not known
	Reported      bool   // it is being made again
	Err           error
}

// Error implements error.
func (e *DamagedError) Error() string {
	message := fmt.Sprintf("%s of topic %s is damaged: %v", e.Object, e.Topic, e.Err)
	if e.Missing {
		message = fmt.Sprintf("%s of topic %s is missing in the bucket", e.Object, e.Topic)
	}
	switch {
	case e.Lost != "":
		message += ", and cannot be made again: " + e.Lost
	case e.Reported:
		message += "; it is being made again from the log, try again"
	}
	return message
}

// Unwrap gives errors.Is and errors.As what was wrong.
func (e *DamagedError) Unwrap() error { return e.Err }

// missed remembers, over the attempts to bind one topic, the object that was not
// there.
type missed struct{ object string }

// again reports that an object is missing, and not only moved on: the metadata
// store's newest state still names it, and it was not there before either.
func (m *missed) again(ctx context.Context, s *Sources, err error) bool {
	var f *fileError
	if !errors.As(err, &f) || !f.missing() {
		return false
	}
	if m.object == f.object {
		return true
	}
	m.object = f.object
	if s.CatchUp != nil {
		ctx, cancel := context.WithTimeout(ctx, catchUpWait)
		defer cancel()
		if s.CatchUp(ctx) != nil {
			m.object = "" // an old name, perhaps
		}
	}
	return false
}

// reported turns an error about a file's bytes into a *DamagedError, and reports
// the file. Other errors are returned as they are.
func (s *Sources) reported(ctx context.Context, topicName string, err error) error {
	var f *fileError
	if !errors.As(err, &f) {
		return err
	}
	if name, err := objstore.ParseName(f.object); err == nil {
		s.Catalog.View(func(v *metastore.View) {
			if t, ok := v.TopicByID(name.Partition.Topic); ok {
				topicName = t.Name // of the one that it is of, where several are searched
			}
		})
	}
	s.Log.Error("a file of a topic is damaged or missing", "topic", topicName, "object", f.object, "err", err)
	damaged := &DamagedError{Topic: topicName, Object: f.object, Missing: f.missing(), Lost: s.lost(f.object), Err: err}
	damaged.Reported = damaged.Lost == "" && s.report(ctx, f)
	return damaged
}

// report puts a report into the metadata store, and tells whether it is there.
func (s *Sources) report(ctx context.Context, f *fileError) bool {
	if s.ReportDamage == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportWait)
	defer cancel()
	if err := s.ReportDamage(ctx, f.object, f.Error()); err != nil {
		s.Log.Warn("a damaged file could not be reported", "object", f.object, "err", err)
		return false
	}
	return true
}

// lost is why an object that was reported cannot be made again; empty: it is not
// known that it cannot.
func (s *Sources) lost(object string) (why string) {
	name, err := objstore.ParseName(object)
	switch {
	case err != nil:
		return ""
	case name.Kind == objstore.KindManifest:
		return "nothing else lists the files of the partition; put the object back as it was, from the bucket's versions or a copy"
	}
	damaged := s.Catalog.Partition(name.Partition).Damaged
	if i := slices.IndexFunc(damaged, func(d metastore.Damage) bool { return d.Object == object }); i >= 0 {
		return damaged[i].Lost
	}
	return ""
}

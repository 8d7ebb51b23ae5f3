package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// A file of the bucket that is not what was written, or is not there at all,
// makes the queries that need it fail: never is a row left out in silence. It is
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

// ofFile names the object in an error that is about its bytes.
func ofFile(object string, err error) error {
	if errors.Is(err, format.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound) {
		return &fileError{object, err}
	}
	return err
}

// fetch is acquire, once more where bytes were damaged: that may have happened on
// the way, or in a read that another query began and this one shared.
func (n *Node) fetch(ctx context.Context, src *source, want parts) error {
	err := n.acquire(ctx, src, want)
	if errors.Is(err, format.ErrCorrupt) {
		err = n.acquire(ctx, src, want)
	}
	return ofFile(src.file.Object, err)
}

// missed remembers, over the attempts to bind one topic, the object that was not
// there.
type missed struct{ object string }

// again reports that an object is missing, and not only moved on: the metadata
// store's newest state still names it, and it was not there before either.
func (m *missed) again(ctx context.Context, n *Node, err error) bool {
	var f *fileError
	if !errors.As(err, &f) || !f.missing() {
		return false
	}
	if m.object == f.object {
		return true
	}
	m.object = f.object
	if n.config.CatchUp != nil {
		ctx, cancel := context.WithTimeout(ctx, catchUpWait)
		defer cancel()
		if n.config.CatchUp(ctx) != nil {
			m.object = "" // an old name, perhaps
		}
	}
	return false
}

// reported turns an error about a file's bytes into the answer, and reports the
// file. Other errors are returned as they are.
func (n *Node) reported(ctx context.Context, topicName string, err error) error {
	var f *fileError
	if !errors.As(err, &f) {
		return err
	}
	n.metrics.addDamaged()
	n.config.Log.Error("a file of a table is damaged or missing", "topic", topicName, "object", f.object, "err", err)
	message := fmt.Sprintf("%s of topic %s is damaged: %v", f.object, topicName, plainMessage(err))
	if f.missing() {
		message = fmt.Sprintf("%s of topic %s is missing in the bucket", f.object, topicName)
	}
	answer := newFailure(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", message)
	if lost := n.lost(f.object); lost != "" {
		answer.Message += ", and cannot be made again: " + lost
	} else if n.report(ctx, f) {
		answer = unavailable(message + "; it is being made again from the log, try again")
	}
	answer.Details["topic"], answer.Details["object"] = topicName, f.object
	return answer
}

// report puts a report into the metadata store, and tells whether it is there.
func (n *Node) report(ctx context.Context, f *fileError) bool {
	if n.config.ReportDamage == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportWait)
	defer cancel()
	if err := n.config.ReportDamage(ctx, f.object, f.Error()); err != nil {
		n.config.Log.Warn("a damaged file could not be reported", "object", f.object, "err", err)
		return false
	}
	return true
}

// lost is why an object that was reported cannot be made again; empty: it is not
// known that it cannot.
func (n *Node) lost(object string) (why string) {
	name, err := objstore.ParseName(object)
	if err != nil {
		return ""
	}
	damaged := n.config.Catalog.Partition(name.Partition).Damaged
	if i := slices.IndexFunc(damaged, func(d metastore.Damage) bool { return d.Object == object }); i >= 0 {
		return damaged[i].Lost
	}
	return ""
}

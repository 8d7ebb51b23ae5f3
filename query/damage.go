package query

import (
	"context"
	"errors"
	"net/http"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// fetch is acquire, once more where bytes were damaged: that may have happened on
// the way, or in a read that another query began and this one shared.
func (n *Node) fetch(ctx context.Context, src *source, want parts) error {
	err := n.acquire(ctx, src, want)
	if errors.Is(err, format.ErrCorrupt) {
		err = n.acquire(ctx, src, want)
	}
	return snapshot.OfFile(src.file.Object, err)
}

// countDamaged counts the file that an error is about, if it is.
func (n *Node) countDamaged(err error) error {
	if damaged := (*snapshot.DamagedError)(nil); errors.As(err, &damaged) {
		n.metrics.addDamaged()
	}
	return err
}

// damagedFailure is the answer where a file of the bucket is damaged or missing.
func damagedFailure(e *snapshot.DamagedError) *failure {
	answer := newFailure(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", e.Error())
	if e.Reported {
		answer = unavailable(e.Error())
	}
	answer.Details["topic"], answer.Details["object"] = e.Topic, e.Object
	return answer
}

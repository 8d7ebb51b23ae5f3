package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/format"
)

// refused counts an error that a client is answered with, and logs those that
// are the operator's to mend: the answer's code names neither object nor byte.
func (h *Handler) refused(api string, err error) {
	h.metrics.refusals.WithLabelValues(api, h.kafkaError(err).Message).Inc()
	damaged := errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrVersion)
	for _, sent := range []error{core.ErrCorruptBatch, core.ErrInvalidRecord, core.ErrTooLarge} {
		damaged = damaged && !errors.Is(err, sent) // a client's own, and nothing that is stored
	}
	gone := errors.Is(err, context.Canceled) // the client is, or the broker is stopping; nothing is wrong with the data
	if (damaged || errors.Is(err, core.ErrStorage)) && !gone && h.notices.due(err.Error(), time.Now()) {
		h.log.Error("a request is refused because of stored data", "api", api, "error", err)
	}
}

// noticeEvery is how often the same text is logged: clients ask again at once.
const noticeEvery = time.Minute

// noticesMax bounds the texts that are remembered; then all are forgotten.
const noticesMax = 1000

// notices remembers what was logged lately. It may be used at once.
type notices struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due says whether text is to be logged now.
func (n *notices) due(text string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last, ok := n.last[text]; ok && now.Sub(last) < noticeEvery {
		return false
	}
	if n.last == nil || len(n.last) >= noticesMax {
		n.last = make(map[string]time.Time)
	}
	n.last[text] = now
	return true
}

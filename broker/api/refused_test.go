package api

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/format"
)

func TestTheSameTroubleIsLoggedOnceAMinute(t *testing.T) {
	var n notices
	now := time.Now()
	for _, step := range []struct {
		text  string
		after time.Duration
		want  bool
	}{
		{"a", 0, true}, {"a", time.Second, false}, {"b", time.Second, true}, {"a", time.Minute, true}, {"a", time.Minute + time.Second, false},
	} {
		if got := n.due(step.text, now.Add(step.after)); got != step.want {
			t.Errorf("%q after %s: %v", step.text, step.after, got)
		}
	}
	for i := range 10 * noticesMax {
		n.due(fmt.Sprint(i), now)
	}
	if len(n.last) > noticesMax {
		t.Errorf("%d texts are remembered", len(n.last))
	}
}

func TestOnlyStoredDamageIsTheOperatorsAffair(t *testing.T) {
	var log strings.Builder
	h := &Handler{log: slog.New(slog.NewTextHandler(&log, nil)), metrics: newMetrics(nil), codes: codes()}
	damage := format.In("segments/1", format.Corrupt(7, "a flipped bit"))
	for _, sent := range []error{core.ErrCorruptBatch, core.ErrInvalidRecord, core.ErrTooLarge} {
		h.refused("Produce", fmt.Errorf("%w: %w", sent, damage))
	}
	h.refused("Fetch", fmt.Errorf("%w: get segments/1: %w", core.ErrStorage, context.Canceled)) // nobody waits for it any more
	if log.Len() > 0 {
		t.Errorf("logged what a client sent, or did not wait for: %s", log.String())
	}
	h.refused("Fetch", damage)
	if !strings.Contains(log.String(), "segments/1") {
		t.Errorf("damage is not logged: %q", log.String())
	}
}

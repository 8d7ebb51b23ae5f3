package api

import (
	"fmt"
	"testing"
	"time"
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

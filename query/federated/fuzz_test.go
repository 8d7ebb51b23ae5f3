package federated

import (
	"errors"
	"testing"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/vector"
)

// FuzzRequest: a body is refused with a reason, or asks for something within the
// limits, each mode with what it looks for.
func FuzzRequest(f *testing.F) {
	for _, text := range []string{
		`{"sources":[{"topic":"a","modes":["text","vector","sql","fetch"]}],"q":{"text":"a","semantic":"b","sql":"SELECT 1","fetch":{"offset":1,"partition":0,"max_bytes":9}}}`,
		`{"sources":[{"topic":"a","modes":["vector"]},{"topic":"b","modes":["text"]}],"q":{"text":"a"},"k":7,"rank":{"profile":"freshness"},"timeout_ms":1,"result_format":"grouped","filters":{"timestamp_gte":1,"partitions":[2]},"freshness":"cold"}`,
		`{"sources":[{"topic":"a","modes":["fetch"]}],"q":{"fetch":null}}`, `{}`, ``,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var asked body
		err := envelope.Decode(text, &asked)
		var r Request
		if err == nil {
			r, err = asked.request()
		}
		if err != nil {
			var refused *envelope.Failure
			if !errors.As(err, &refused) || refused.Status != 400 || refused.Message == "" {
				t.Fatalf("refused without a reason: %v", err)
			}
			return
		}
		if len(r.Sources) == 0 || len(r.Sources) > sourcesMax || r.K < 1 || r.K > vector.KMax || r.Timeout <= 0 || len(r.Profile.Weights) == 0 {
			t.Fatalf("%+v is outside the limits", r)
		}
		for _, source := range r.Sources {
			for _, mode := range source.Modes {
				if mode == Text && r.Words == "" || mode == Vector && r.Meaning == "" || mode == SQL && r.SQL == "" ||
					mode == Fetch && (r.Fetch == nil || r.Fetch.BytesMax < 1 || r.Fetch.BytesMax > fetchBytesMax) {
					t.Fatalf("mode %s has nothing to look for: %+v", mode, r)
				}
			}
		}
	})
}

package semantic

import (
	"errors"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/hybrid"
	"github.com/chronik-stream/chronik/query/vector"
)

// FuzzHybridRequest: a body is refused with a reason, or asks for something within
// the limits.
func FuzzHybridRequest(f *testing.F) {
	for _, body := range []string{
		`{"query":"a","k":3,"vector_weight":0.1,"text_weight":1,"rrf_k":0,"fusion":"rrf","allow_partial":true}`,
		`{"text_query":"a","vector_query":"b","fusion":"weighted","filters":{"partitions":[0,1],"min_offset":-1,"max_timestamp":"2026-11-23T12:00:00Z"}}`,
		`{"query":"a","min_timestamp":1,"ef_search":9,"nprobe":1,"recall_target":0.5,"freshness":"cold","timeout_secs":1e-9}`,
		`{"query":null,"partitions":[null]}`, `[]`, ``,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var asked hybridRequest
		err := envelope.Decode(body, &asked)
		var r hybrid.Request
		if err == nil {
			r, err = asked.request("t", time.Minute)
		}
		if err != nil {
			var refused *envelope.Failure
			if !errors.As(err, &refused) || refused.Status != 400 || refused.Message == "" {
				t.Fatalf("refused without a reason: %v", err)
			}
			return
		}
		v := r.Vector
		switch {
		case v.K < 1 || v.K > vector.KMax, v.Ef < 0 || v.Ef > effortMax, v.Probes < 0 || v.Probes > effortMax, v.Recall < 0 || v.Recall > 1,
			v.Timeout <= 0 || v.Timeout > timeoutMax, v.Text == "" || r.Words == "",
			r.VectorWeight < 0 || r.TextWeight < 0 || r.VectorWeight+r.TextWeight == 0, r.RankConstant < 0,
			v.Filter.Partitions != nil && len(v.Filter.Partitions) == 0:
			t.Fatalf("%+v is outside the limits", r)
		}
	})
}

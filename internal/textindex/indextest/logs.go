// Package indextest makes records to index, for tests and benchmarks.
package indextest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// Logs are logs as services write them, as JSON: 11 fields, among them a message,
// 280 bytes. One is 7 ms after the other.
func Logs(n int) []textindex.Record {
	r := rand.New(rand.NewPCG(42, 42))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	all := make([]textindex.Record, n)
	for i := range all {
		ms := int64(1_760_000_000_000) + int64(i)*7
		message := pick(
			fmt.Sprintf("user %d logged in from 10.%d.%d.%d", r.IntN(100_000), r.IntN(256), r.IntN(256), r.IntN(256)),
			fmt.Sprintf("request finished with status %d after %d ms", 200+r.IntN(5)*100, r.IntN(3000)),
			fmt.Sprintf("connection to database shard-%d timed out, retrying in %d ms", r.IntN(32), r.IntN(500)),
			"cache miss for key "+fmt.Sprintf("item:%d", r.IntN(1_000_000)),
			"payment accepted "+strings.Repeat("ok ", r.IntN(4)),
		)
		all[i] = textindex.Record{
			Offset: int64(i), Timestamp: ms, Key: fmt.Appendf(nil, "host-%d", r.IntN(500)),
			Value: fmt.Appendf(nil, `{"ts":%q,"level":%q,"service":"gateway-%d","method":%q,"path":"/api/v1/%s/%d","status":%d,"bytes":%d,"took_ms":%.2f,"client":"10.%d.%d.%d","cached":%v,"message":%q}`,
				time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"), pick("info", "info", "info", "warn", "error"), r.IntN(8), pick("GET", "GET", "POST", "DELETE"),
				pick("orders", "users", "items"), r.IntN(100_000), 200+r.IntN(5)*100, r.IntN(50_000), r.ExpFloat64()*20, r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(3) == 0, message),
		}
	}
	return all
}

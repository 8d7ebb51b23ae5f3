package tail

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/topic"
)

// events are records with JSON values of about 200 bytes.
func events(n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)), Value: fmt.Appendf(nil,
			`{"city":"city-%d","amount":%d.5,"user":"user-%d","ok":%t,"session":"%032x","page":"/products/%d/details/and/more","agent":"Mozilla/5.0 (X11; Linux)"}`,
			i%97, i%1000, i%5003, i%7 == 0, i*7919, i%317)}
	}
	return records
}

// BenchmarkTail appends as the reader does, with queries that ask so often.
func BenchmarkTail(b *testing.B) {
	const polled, total = 2_000, 80_000
	for _, between := range []int{0, 40_000, 10_000, 2_000} {
		b.Run(fmt.Sprintf("a query every %d", between), func(b *testing.B) {
			dir := b.TempDir()
			all := events(total)
			begun, rows := cpuSeconds(b), 0
			for b.Loop() {
				p := newPart(dir, columnar.TailOptions("t", topic.Partition{Topic: topic.ID{1}}), 0, newBudget(1<<40))
				for at := 0; at < total; at += polled {
					for i, r := range all[at : at+polled] {
						r.Offset = int64(at + i)
					}
					require.NoError(b, p.append(all[at:at+polled]))
					if next := at + polled; between > 0 && next%between == 0 {
						held, _, err := p.hold(b.Context(), Want{Target: int64(next)})
						require.NoError(b, err)
						for _, c := range held {
							c.release()
						}
					}
				}
				p.close()
				rows += total
			}
			b.ReportMetric(float64(rows)/(cpuSeconds(b)-begun)/1e6, "Mrows/core-s")
		})
	}
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkSmallFile is what a query waits for in each partition with new records.
func BenchmarkSmallFile(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("%d records", n), func(b *testing.B) {
			all := events(n)
			dir := b.TempDir()
			begun := cpuSeconds(b)
			b.ReportAllocs()
			for b.Loop() {
				p := newPart(dir, columnar.TailOptions("t", topic.Partition{Topic: topic.ID{1}}), 0, newBudget(1<<40))
				for i, r := range all {
					r.Offset = int64(i)
				}
				require.NoError(b, p.append(all))
				held, _, err := p.hold(b.Context(), Want{Target: int64(n)})
				require.NoError(b, err)
				for _, c := range held {
					c.release()
				}
				p.close()
			}
			b.ReportMetric((cpuSeconds(b)-begun)*1e6/float64(b.N), "µs-cpu/file")
		})
	}
}

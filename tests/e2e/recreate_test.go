package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestATopicThatIsMadeAgainHasNothingOfTheOldOne deletes a table and makes it
// again under its name, many times, while a producer and a consumer that know
// nothing of it go on and files are made of what there is. Whatever SQL and
// consumers are shown belongs to the topic that is there.
func TestATopicThatIsMadeAgainHasNothingOfTheOldOne(t *testing.T) {
	c := start(t, "--set", "compactor.first_age=50ms", "--set", "compactor.look_every=20ms", "--set", "segment.age=50ms")
	ctx, cancel := context.WithCancel(t.Context())
	noise := c.client(kgo.DefaultProduceTopic("t"), kgo.UnknownTopicRetries(-1))
	consumer := c.client(kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ended := make(chan struct{}, 2)
	go func() {
		defer func() { ended <- struct{}{} }()
		for ctx.Err() == nil {
			wait, done := context.WithTimeout(ctx, 500*time.Millisecond)
			_ = noise.ProduceSync(wait, &kgo.Record{Value: []byte(`{"generation":-1,"n":0}`)}).FirstErr() // the topic may be away
			done()
		}
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		for ctx.Err() == nil {
			consumer.PollFetches(ctx)
		}
	}()
	defer func() {
		cancel()
		<-ended
		<-ended
	}()

	const generations, rows = 8, 500
	for g := range generations {
		if g > 0 {
			c.must("", "topic", "delete", "t")
		}
		c.createTable("t", 2)
		values := make([][]byte, rows)
		for i := range values {
			values[i] = fmt.Appendf(nil, `{"generation":%d,"n":%d}`, g, i)
		}
		c.produceAll("t", values, nil)
		for range 3 {
			answer := c.sql("SELECT generation AS k, count(*) AS n FROM t GROUP BY 1")
			for k, n := range answer.counts(t) {
				if k != "-1" && (k != fmt.Sprint(g) || n != rows) {
					t.Fatalf("generation %d: %d rows of generation %s", g, n, k)
				}
			}
			if answer.counts(t)[fmt.Sprint(g)] != rows {
				t.Fatalf("generation %d: %v", g, answer.counts(t))
			}
		}
		if g%2 == 1 { // some go with their files, some before they have any
			eventually(t, shortly, func() error {
				answer, err := c.trySQL(fmt.Sprintf("SELECT count(*) FROM t_cold WHERE generation = %d", g))
				if err != nil {
					return err // without a file there is no such column yet
				}
				if n, err := answer.number(); err != nil || n != rows {
					return fmt.Errorf("%d rows in files, want %d (%w)", n, rows, err)
				}
				return nil
			})
		}
	}
	cancel()
	read := c.readAll("t")
	dense(t, read)
	seen := map[int]int{}
	for _, records := range read {
		for _, r := range records {
			var v struct{ Generation int }
			if err := json.Unmarshal(r.Value, &v); err != nil {
				t.Fatal(err)
			}
			seen[v.Generation]++
		}
	}
	delete(seen, -1)
	if len(seen) != 1 || seen[generations-1] != rows {
		t.Fatalf("read %v", seen)
	}
}

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What DeleteRecords deletes is gone for consumers and for SQL at once, whether
// it lies in the tail or in files, and stays gone.
func TestDeletedRecordsAreGoneForConsumersAndForSQL(t *testing.T) {
	c := start(t, "--set", "compactor.first_age=300ms")
	c.createTable("t", 1)
	produce := func(from, to int) {
		var lines strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&lines, "{\"n\":%d}\n", i)
		}
		c.must(lines.String(), "produce", "t")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	deleteBefore := func(offset int64) {
		t.Helper()
		var offsets kadm.Offsets
		offsets.AddOffset("t", 0, offset, -1)
		answers, err := kadm.NewClient(client).DeleteRecords(t.Context(), offsets)
		if err != nil {
			t.Fatal(err)
		}
		if answer, _ := answers.Lookup("t", 0); answer.Err != nil || answer.LowWatermark != offset {
			t.Fatalf("low watermark %d, %v", answer.LowWatermark, answer.Err)
		}
	}
	check := func(first, next int) {
		t.Helper()
		answer := c.sql("SELECT count(*) AS c, min(n) AS a, max(n) AS z, min(_offset) AS o FROM t")
		row := fmt.Sprintf("%v %v %v %v", answer.Rows[0]["c"], answer.Rows[0]["a"], answer.Rows[0]["z"], answer.Rows[0]["o"])
		if want := fmt.Sprintf("%d %d %d %d", next-first, first, next-1, first); row != want {
			t.Errorf("SQL has %s, want %s", row, want)
		}
		if covered := answer.Coverage["t"].Partitions["0"]; covered.From != int64(first) {
			t.Errorf("it covers from %d on", covered.From)
		}
		var want strings.Builder
		for i := first; i < next; i++ {
			fmt.Fprintf(&want, "{\"n\":%d}\n", i)
		}
		if got := c.must("", "consume", "t", "--exit"); got != want.String() {
			t.Errorf("consumed %q", got)
		}
	}
	produce(0, 10)
	check(0, 10)
	deleteBefore(3) // of the tail
	check(3, 10)
	eventually(t, shortly, func() error { // until it is in files
		if answer := c.sql("SELECT count(*) AS c FROM t_cold"); fmt.Sprint(answer.Rows[0]["c"]) != "7" {
			return fmt.Errorf("%v records in files", answer.Rows[0]["c"])
		}
		return nil
	})
	deleteBefore(6) // of the files
	check(6, 10)
	produce(10, 12)
	check(6, 12)
	c.stop()
	c.restart()
	check(6, 12)
	deleteBefore(12)
	if answer := c.sql("SELECT count(*) AS c FROM t"); fmt.Sprint(answer.Rows[0]["c"]) != "0" {
		t.Errorf("%v rows", answer.Rows[0]["c"])
	}
	produce(12, 14)
	check(12, 14)
}

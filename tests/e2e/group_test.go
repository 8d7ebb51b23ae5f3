package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// groupReport is what `chronik group describe -o json` writes.
type groupReport struct {
	Group, Type, State string
	Lag                int64
	Members            []struct {
		ID       string
		ClientID string `json:"client_id"`
		Assigned map[string][]int32
	}
	Partitions []struct {
		Topic     string
		Partition int32
		Committed *int64
		End       *int64 `json:"log_end"`
		Lag       *int64
		ClientID  *string `json:"client_id"`
	}
}

func (c *chronik) describeGroup(name string) groupReport {
	c.t.Helper()
	var r groupReport
	if err := json.Unmarshal([]byte(c.must("", "group", "describe", name, "-o", "json")), &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

func TestGroupsAreSeenAndMovedFromTheCommandLine(t *testing.T) {
	c := start(t)
	c.must("", "topic", "create", "orders", "--partitions", "2")
	c.must("", "topic", "create", "other")
	var lines strings.Builder
	for i := range 10 {
		fmt.Fprintf(&lines, `{"value":"%d","partition":%d,"timestamp":"2026-01-02T03:04:0%dZ"}`+"\n", i, i%2, i/2)
	}
	c.must(lines.String(), "produce", "orders", "--format", "json")
	c.must("0\n1\n2\n", "produce", "other")

	if out := c.must("", "group", "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("groups before there are any: %s", out)
	}
	if _, stderr, code := c.cli("", "group", "describe", "billing"); code != 1 || !strings.Contains(stderr, "GROUP_ID_NOT_FOUND") || !strings.Contains(stderr, "chronik group list") {
		t.Errorf("exit %d: %s", code, stderr)
	}

	// A group may be given its first offsets; without --execute nothing happens.
	reset := func(args ...string) string {
		t.Helper()
		out := c.must("", append([]string{"group", "reset-offsets", "billing", "-o", "csv"}, args...)...)
		return strings.TrimPrefix(out, "topic,partition,from,to\n")
	}
	if out := reset("--topic", "orders", "--to", "1"); out != "orders,0,-,1\norders,1,-,1\n" {
		t.Errorf("dry run: %q", out)
	}
	if _, _, code := c.cli("", "group", "describe", "billing"); code != 1 {
		t.Error("a dry run made a group")
	}
	reset("--topic", "orders", "--to", "1", "--execute")
	r := c.describeGroup("billing")
	if r.State != "Empty" || r.Type != "classic" || r.Lag != 8 || len(r.Partitions) != 2 || *r.Partitions[0].Committed != 1 || *r.Partitions[0].End != 5 {
		t.Errorf("after the first offsets: %+v", r)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--topic", "orders", "--to", "earliest"}, "orders,0,1,0\norders,1,1,0\n"},
		{[]string{"--topic", "orders:1", "--to", "latest"}, "orders,1,1,5\n"},
		{[]string{"--all-topics", "--to", "current"}, "orders,0,1,1\norders,1,1,1\n"},
		{[]string{"--all-topics", "--to", "99"}, "orders,0,1,5\norders,1,1,5\n"},
		{[]string{"--all-topics", "--shift-by", "2"}, "orders,0,1,3\norders,1,1,3\n"},
		{[]string{"--all-topics", "--shift-by", "-2"}, "orders,0,1,0\norders,1,1,0\n"},
		{[]string{"--all-topics", "--to", "2026-01-02T03:04:03Z"}, "orders,0,1,3\norders,1,1,3\n"},
		{[]string{"--all-topics", "--to", "2026-01-03"}, "orders,0,1,5\norders,1,1,5\n"},
		{[]string{"--topic", "orders", "--topic", "other", "--to", "-1m"}, "orders,0,1,5\norders,1,1,5\nother,0,-,0\n"},
	} {
		if out := reset(test.args...); out != test.want {
			t.Errorf("reset-offsets %v:\n%swant\n%s", test.args, out, test.want)
		}
	}
	for _, test := range []struct{ args, want string }{
		{"billing --topic orders:7 --to 0", "topic orders has no partition 7: there are 2"},
		{"billing --topic nosuch --to 0", "UNKNOWN_TOPIC"},
		{"nosuch --all-topics --to 0", "no committed offsets"},
	} {
		if _, stderr, code := c.cli("", append([]string{"group", "reset-offsets"}, strings.Fields(test.args)...)...); code != 1 || !strings.Contains(stderr, test.want) {
			t.Errorf("reset-offsets %s: exit %d, %s", test.args, code, stderr)
		}
	}

	// While members run, who they are is shown and nothing is moved under them.
	consumer, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.ClientID("till"), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	polled := 0
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	for polled < 8 { // from offset 1 in both partitions
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		polled += fetches.NumRecords()
	}
	if err := consumer.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		r := c.describeGroup("billing")
		if r.State != "Stable" || r.Lag != 0 || len(r.Members) != 1 || r.Members[0].ClientID != "till" || len(r.Members[0].Assigned["orders"]) != 2 || *r.Partitions[1].ClientID != "till" {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	for args, want := range map[string]string{
		"list":                                     "billing | classic | Stable | consumer |",
		"list --state stable --type classic":       "billing",
		"describe billing":                         "group billing, classic, Stable, 1 member, lag 0",
		"describe billing --members":               "orders:0,1",
		"describe billing --members -o csv":        ",till,",
		"describe billing --state -o csv":          "billing,classic,Stable,",
		"describe billing -o csv":                  "orders,1,5,5,0,",
		"list --state empty -o csv --type classic": "group,type,state,protocol,coordinator\n",
	} {
		out := c.must("", append([]string{"group"}, strings.Fields(args)...)...)
		if !strings.Contains(out, want) || strings.Contains(args, "empty") && strings.Contains(out, "billing") {
			t.Errorf("group %s:\n%s", args, out)
		}
	}
	for _, args := range []string{"reset-offsets billing --all-topics --to earliest --execute", "delete billing", "delete-offsets billing --topic orders"} {
		if _, stderr, code := c.cli("", append([]string{"group"}, strings.Fields(args)...)...); code != 1 || !strings.Contains(stderr, "--members` shows them") {
			t.Errorf("group %s while a member runs: exit %d, %s", args, code, stderr)
		}
	}
	consumer.Close()
	eventually(t, 20*time.Second, func() error {
		if r := c.describeGroup("billing"); r.State != "Empty" {
			return fmt.Errorf("it is %s", r.State)
		}
		return nil
	})

	// What was moved is what the next member reads.
	reset("--topic", "orders:0", "--to", "4", "--execute")
	if out := c.must("", "consume", "orders", "--group", "billing", "--count", "1"); out != "8\n" {
		t.Errorf("the group went on with %q", out)
	}
	if out := c.must("", "group", "delete-offsets", "billing", "--topic", "orders:1"); out != "deleted offsets of 1 partition\n" {
		t.Error(out)
	}
	if r := c.describeGroup("billing"); len(r.Partitions) != 1 {
		t.Errorf("%+v", r.Partitions)
	}
	if out := c.must("", "group", "delete", "billing"); out != "deleted group billing\n" {
		t.Error(out)
	}
	if _, stderr, code := c.cli("", "group", "delete", "billing"); code != 1 || !strings.Contains(stderr, "GROUP_ID_NOT_FOUND") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

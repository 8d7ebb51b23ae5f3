package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestDevIsReadyWithinTwoSecondsFromNothing(t *testing.T) {
	// The machine may be busy: the best of three is what the program takes.
	best := time.Hour
	for range 3 {
		c := start(t)
		best = min(best, c.took)
		c.stop()
	}
	t.Logf("ready after %s", best)
	if best > 2*time.Second {
		t.Errorf("ready after %s, want 2 s", best)
	}
}

func TestReadyMeansThatEverythingAnswers(t *testing.T) {
	c := start(t)
	if status, body := c.get("/health"); status != 200 || !strings.Contains(body, `"status":"ok"`) || !strings.Contains(body, `"sql_enabled":true`) {
		t.Errorf("/health: %d %s", status, body)
	}
	for _, path := range []string{"/health/live", "/health/ready"} {
		if status, body := c.get(path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := c.get("/metrics"); status != 200 || !strings.Contains(body, "chronik_") {
		t.Errorf("/metrics: %d, %d bytes", status, len(body))
	}
	if out := c.kcat(nil, "-L"); !strings.Contains(string(out), "1 brokers") {
		t.Errorf("kcat -L: %s", out)
	}
}

// As in a container whose port has another number outside.
func TestDevAnswersThoughClientsAreToldAnAddressThatItCannotReach(t *testing.T) {
	c := start(t, "--set", "kafka.advertised=nowhere.invalid:9092")
	table := `{"name":"t","partitions":1,"config":{"columnar.enabled":"true","searchable":"true"}}`
	if status, body := c.administer("POST", "/admin/topics", table); status != 200 {
		t.Fatalf("create the topic: %d %v", status, body)
	}
	if status, body := c.request("POST", "/t/_doc?refresh=true", `{"city":"Oslo"}`); status != 201 {
		t.Fatalf("write: %d %s", status, body)
	}
	if n := c.count("SELECT count(*) FROM t WHERE city = 'Oslo'"); n != 1 {
		t.Errorf("%d records", n)
	}
}

func TestTwoProcessesDoNotShareADataFolder(t *testing.T) {
	c := start(t)
	_, stderr, code := c.cli("", "dev", "--data", c.dir, "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "in use by process") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	c.must("", "topic", "list") // the first one did not mind
}

func TestEverythingSurvivesACleanStop(t *testing.T) {
	c := start(t)
	c.createTable("t", 3, "retention.ms=-1")
	c.must(`{"a":1}`+"\n"+`{"a":2}`+"\n", "produce", "t")
	c.kcat(nil, "-C", "-G", "readers", "t", "-e", "-q", "-c", "2", "-X", "auto.offset.reset=earliest")
	for round := range 3 {
		c.stop()
		c.restart()
		if n := c.count("SELECT sum(a)::BIGINT FROM t"); n != int64(3+round) {
			t.Fatalf("round %d: sum is %d", round, n)
		}
		if out := c.must("", "topic", "describe", "t"); !strings.Contains(out, "retention.ms") || !strings.Contains(out, "columnar.enabled") {
			t.Errorf("settings are gone:\n%s", out)
		}
		c.must(`{"a":1}`+"\n", "produce", "t")
	}
	// The group goes on where it stopped: three records are new to it.
	out := c.must("", "consume", "t", "--group", "readers", "--count", "3")
	if out != strings.Repeat(`{"a":1}`+"\n", 3) {
		t.Errorf("the group read %q", out)
	}
}

// TestKillNineLosesNothingThatWasAcknowledged produces from several clients and
// kills the process again and again. In the end every acknowledged record is
// there, once, in the order of its key.
func TestKillNineLosesNothingThatWasAcknowledged(t *testing.T) {
	c := start(t)
	c.killRounds("t", 20)
}

func (c *chronik) killRounds(topic string, rounds int) {
	c.t.Helper()
	c.createTable(topic, 6)
	p := c.startProducing(topic)
	for round := range rounds {
		// Kill when something was acknowledged since the last start, so that each
		// round has something to lose; how far on differs from round to round.
		p.waitFor(p.acked.get() + int64(1+97*round%500))
		c.kill()
		c.restart()
	}
	p.waitFor(p.acked.get() + 1000)
	p.stop()
	c.checkProduced(topic, p)
}

// producing is a few keys' worth of records, sent until it is stopped. Each
// record's value is "<key> <number>", numbers rising by one for each key.
type producing struct {
	c      *chronik
	client *kgo.Client
	cancel context.CancelFunc
	ended  chan struct{}
	acked  total
	sent   []int64 // by key
	sure   []total // acknowledged, by key
	failed firstError
}

const producedKeys = 20

func (c *chronik) startProducing(topic string, options ...kgo.Opt) *producing {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &producing{c: c, cancel: cancel, ended: make(chan struct{}), sent: make([]int64, producedKeys), sure: make([]total, producedKeys)}
	p.client = c.client(append([]kgo.Opt{
		kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(2000), kgo.ProducerLinger(time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.RecordRetries(1 << 30), kgo.RequestRetries(1 << 20), kgo.UnknownTopicRetries(-1),
	}, options...)...)
	go func() {
		defer close(p.ended)
		for i := 0; ctx.Err() == nil; i++ {
			key := i % producedKeys
			p.sent[key]++
			record := kgo.KeySliceRecord(fmt.Appendf(nil, "k%d", key), fmt.Appendf(nil, "k%d %d", key, p.sent[key]))
			// ctx would drop what is buffered, and records may only be dropped
			// while nobody knows of them: so the record gets its own.
			p.client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
				if err != nil {
					p.failed.set(err)
					return
				}
				p.sure[key].add(1)
				p.acked.add(1)
			})
		}
	}()
	return p
}

// waitFor waits until so many records are acknowledged.
func (p *producing) waitFor(n int64) {
	p.c.t.Helper()
	eventually(p.c.t, 2*shortly, func() error {
		if err := p.failed.get(); err != nil {
			p.c.t.Fatalf("produce: %v", err)
		}
		if acked := p.acked.get(); acked < n {
			return fmt.Errorf("%d of %d records are acknowledged", acked, n)
		}
		return nil
	})
}

// stop ends the producing and waits for the answer to everything sent.
func (p *producing) stop() {
	p.c.t.Helper()
	p.cancel()
	<-p.ended
	ctx, cancel := context.WithTimeout(context.Background(), 2*shortly)
	defer cancel()
	if err := p.client.Flush(ctx); err != nil {
		p.c.t.Fatalf("flush: %v", err)
	}
	if err := p.failed.get(); err != nil {
		p.c.t.Fatalf("produce: %v", err)
	}
}

// checkProduced reads everything back: each acknowledged record once, each
// key's in order, and SQL counts the same.
func (c *chronik) checkProduced(topic string, p *producing) {
	c.t.Helper()
	records := c.readAll(topic)
	dense(c.t, records)
	seen, rows := make([]int64, producedKeys), int64(0)
	for partition, list := range records {
		for _, r := range list {
			var key int
			var number int64
			if _, err := fmt.Sscanf(string(r.Value), "k%d %d", &key, &number); err != nil {
				c.t.Fatalf("partition %d, offset %d: %q", partition, r.Offset, r.Value)
			}
			if number != seen[key]+1 {
				c.t.Fatalf("partition %d, offset %d: key %d has number %d after %d", partition, r.Offset, key, number, seen[key])
			}
			seen[key] = number
			rows++
		}
	}
	for key := range seen {
		if sure := p.sure[key].get(); seen[key] < sure {
			c.t.Errorf("key %d: %d records are acknowledged, %d are there", key, sure, seen[key])
		}
	}
	if n := c.count("SELECT count(*) FROM " + topic); n != rows {
		c.t.Errorf("SQL counts %d rows, the log has %d", n, rows)
	}
	c.t.Logf("%d records, %d acknowledged, all there", rows, p.acked.get())
}

func TestStopDoesNotWaitForLongPolls(t *testing.T) {
	c := start(t)
	client := c.client(kgo.ConsumeTopics("t"))
	c.createTable("t", 1)
	polled := make(chan struct{})
	go func() { // a long poll is under way while the process stops
		defer close(polled)
		ctx, cancel := context.WithTimeout(context.Background(), shortly)
		defer cancel()
		client.PollFetches(ctx)
	}()
	began := time.Now()
	c.stop()
	t.Logf("stopped in %s", time.Since(began))
	client.Close()
	<-polled
}

func TestAFolderThatCannotBeMadeIsSaidSo(t *testing.T) {
	c := &chronik{t: t}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := c.cli("", "dev", "--data", filepath.Join(file, "data"), "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"); code != 1 || !strings.Contains(stderr, "data folder") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestATakenPortIsSaidSo(t *testing.T) {
	c := start(t)
	_, stderr, code := c.cli("", "dev", "--data", t.TempDir(), "--kafka", c.kafka, "--http", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "address already in use") || !strings.Contains(stderr, "port 0") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

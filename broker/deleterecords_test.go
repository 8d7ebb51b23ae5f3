package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/metastore"
)

// deleteBefore raises the log start and returns what the broker says it is then.
func (r *rig) deleteBefore(topic string, before int64) int64 {
	r.t.Helper()
	return r.deleteBeforeIn(topic, 0, before)
}

func (r *rig) deleteBeforeIn(topic string, partition int32, before int64) int64 {
	r.t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, before, -1)
	answers, err := kadm.NewClient(r.client).DeleteRecords(r.t.Context(), offsets)
	if err != nil {
		r.t.Fatal(err)
	}
	answer, _ := answers.Lookup(topic, partition)
	if answer.Err != nil {
		r.t.Fatal(answer.Err)
	}
	return answer.LowWatermark
}

// batchOf produces values as one batch.
func (r *rig) batchOf(topic string, values ...string) {
	r.t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(v)})
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	if err := r.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func TestDeletedRecordsStayDeletedAndNothingElseGoes(t *testing.T) {
	// Segments are not flushed by age: what is deleted lies in the WAL only.
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: time.Hour})
	r.create("t", 1, nil)
	r.produce("t", 0, values(0, 4)...)
	r.batchOf("t", values(4, 8)...)
	r.produce("t", 0, values(8, 9)...)
	if low := r.deleteBefore("t", 6); low != 6 { // within a batch
		t.Errorf("low watermark %d, want 6", low)
	}
	check := func() {
		t.Helper()
		same(t, r.read("t", 0, 3), values(6, 9))
		starts, err := kadm.NewClient(r.client).ListStartOffsets(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := starts.Lookup("t", 0); o.Offset != 6 {
			t.Errorf("earliest offset %d, want 6", o.Offset)
		}
	}
	check()
	r.restart()
	check()
	if part := r.send("t", 0, -1, built(batch.None, nil, rec{1, "record 9"})); part.LogStartOffset != 6 {
		t.Errorf("a producer is told the log start %d, want 6", part.LogStartOffset)
	}
	if low := r.deleteBefore("t", 3); low != 6 {
		t.Errorf("the log start went back to %d", low)
	}
	if low := r.deleteBefore("t", -1); low != 10 {
		t.Errorf("low watermark %d, want the high watermark 10", low)
	}
	r.restart()
	r.produce("t", 0, values(10, 11)...)
	same(t, r.read("t", 0, 1), values(10, 11))
}

func TestDeleteRecordsWaitsForTheObjectStore(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, nil)
	r.plan("put * fail-before p=1")
	r.produce("t", 0, values(0, 3)...)
	var offsets kadm.Offsets
	offsets.AddOffset("t", 0, 2, -1)
	admin := kadm.NewClient(r.client)
	admin.SetTimeoutMillis(1000)
	answers, err := admin.DeleteRecords(t.Context(), offsets)
	if answer, _ := answers.Lookup("t", 0); err == nil && answer.Err == nil {
		t.Error("deleted records that were not committed: a restart would cut the log anywhere")
	}
	r.plan("")
	if low := r.deleteBefore("t", 2); low != 2 {
		t.Errorf("low watermark %d, want 2", low)
	}
	r.until("the catalog shows the log start", func(c *metastore.Catalog) bool {
		topic, _ := c.Topic("t")
		return c.Partition(partitionOf(topic, 0)).Manifest.LogStart == 2
	})
}

package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/metastore"
)

// set sets keys on a group or, with an empty name, on all brokers.
func (r *rig) set(kind kmsg.ConfigResourceType, name, key, value string) {
	r.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Value: &value}}}}
	resp, err := req.RequestWith(r.t.Context(), r.client)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		r.t.Fatalf("set %s: %+v, %v", key, resp, err)
	}
}

func TestAGroupIsHeldToTheTimesThatAreSetOnIt(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{})
	r.create("t", 1, nil)
	beat := func(epoch int32) *kmsg.ConsumerGroupHeartbeatResponse {
		t.Helper()
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch = "g", "one", epoch
		if epoch == 0 {
			req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.Topics = 60_000, []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		}
		resp, err := req.RequestWith(t.Context(), r.client)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if got := beat(0).HeartbeatIntervalMillis; got != 5000 {
		t.Fatalf("the next heartbeat is due after %d ms, want Kafka's default", got)
	}
	r.set(kmsg.ConfigResourceTypeGroupConfig, "g", "consumer.heartbeat.interval.ms", "300")
	r.set(kmsg.ConfigResourceTypeGroupConfig, "g", "consumer.session.timeout.ms", "1000")
	joined := beat(0)
	if joined.ErrorCode != 0 || joined.HeartbeatIntervalMillis != 300 {
		t.Fatalf("%+v", joined)
	}
	// With the default it would be missed after 45 s only.
	within(t, time.Minute, "a silent member is missed", func() bool {
		groups, err := kadm.NewClient(r.client).DescribeConsumerGroups(t.Context(), "g")
		return err == nil && len(groups["g"].Members) == 0
	})
}

func TestWhatIsSetOnAllBrokersOutlivesThem(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{})
	r.create("t", 1, nil)
	tooLarge := func() bool {
		client, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.DisableIdempotentWrite())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		return errors.Is(client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(), kerr.MessageTooLarge)
	}
	r.set(kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", "10")
	if !tooLarge() {
		t.Fatal("a batch over message.max.bytes was taken")
	}
	r.restart()
	if !tooLarge() {
		t.Fatal("a batch over message.max.bytes was taken after a restart")
	}
	r.set(kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", "1000000")
	r.produce("t", 0, "v")
}

// A compactor may never see that they were off in between.
func TestDroppedVectorsComeBackWhenTheyAreTurnedOffAndOn(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{})
	external := "external"
	endpoint := "http://localhost:1/embed"
	on, off := "true", "false"
	r.create("t", 1, map[string]*string{"vector.enabled": &on, "vector.embedding.provider": &external, "vector.embedding.endpoint": &endpoint})
	created, _ := r.store.Catalog().Topic("t")
	id := created.ID
	dropped := func() (is bool) {
		r.store.Catalog().View(func(v *metastore.View) { is = v.VectorIndex(id).Dropped })
		return is
	}
	if err := r.store.DropVectors(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.set(kmsg.ConfigResourceTypeTopic, "t", "retention.ms", "1000000")
	r.set(kmsg.ConfigResourceTypeTopic, "t", "vector.enabled", on)
	if !dropped() {
		t.Fatal("what was dropped came back, and nobody had turned it off")
	}
	r.set(kmsg.ConfigResourceTypeTopic, "t", "vector.enabled", off)
	if dropped() {
		t.Fatal("turned on again, it would stay dropped")
	}
}

package node

import (
	"reflect"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

// A limit whose setting goes nowhere would be the worst of both.
func TestEveryLimitOfConnectionsIsWhatItsSettingSays(t *testing.T) {
	limits := map[string]struct {
		value string
		field string
		want  any
	}{
		"kafka.connections_max":        {"11", "ConnectionsMax", 11},
		"kafka.connections_per_ip_max": {"12", "ConnectionsPerIPMax", 12},
		"kafka.connection_rate_max":    {"13", "ConnectionRateMax", 13},
		"kafka.pipeline_max":           {"14", "PipelineMax", 14},
		"kafka.requests_max":           {"15", "RequestsMax", 15},
		"kafka.connection_bytes_max":   {"16MiB", "ConnectionBytesMax", int64(16 << 20)},
		"kafka.frame_bytes_max":        {"300MiB", "BytesMax", int64(300 << 20)},
		"kafka.answer_bytes_max":       {"17MiB", "AnswerBytesMax", int64(17 << 20)},
		"kafka.idle_timeout":           {"18s", "IdleTimeout", 18 * time.Second},
		"kafka.frame_timeout":          {"19s", "FrameTimeout", 19 * time.Second},
		"kafka.write_timeout":          {"20s", "WriteTimeout", 20 * time.Second},
		"kafka.stall_timeout":          {"22s", "StallTimeout", 22 * time.Second},
	}
	fields := map[string]bool{"Quota": true} // is no number
	for setting, c := range limits {
		fields[c.field] = true
		cfg, err := config.Load(config.Inputs{Flags: []config.Flag{{Key: setting, Value: c.value}}})
		if err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
		got := reflect.ValueOf(brokerConfig(cfg).Wire).FieldByName(c.field).Interface()
		if got != c.want {
			t.Errorf("%s=%s makes %s %v", setting, c.value, c.field, got)
		}
	}
	for i := range reflect.TypeFor[wire.Config]().NumField() {
		if name := reflect.TypeFor[wire.Config]().Field(i).Name; !fields[name] {
			t.Errorf("wire.Config.%s has no setting", name)
		}
	}
	cfg, err := config.Load(config.Inputs{Flags: []config.Flag{{Key: "quota.burst", Value: "21s"}, {Key: "kafka.cold_bytes_max", Value: "23MiB"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := brokerConfig(cfg).API.Quota.Burst; got != 21*time.Second {
		t.Errorf("quota.burst makes %v", got)
	}
	if got := brokerConfig(cfg).Fetch.ColdBytesMax; got != 23<<20 {
		t.Errorf("kafka.cold_bytes_max makes %v", got)
	}
}

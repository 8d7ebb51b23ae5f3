package config

import (
	"testing"

	"github.com/chronik-stream/chronik/internal/dynamicconfig"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

func TestKafkaNamesAreOfOneSettingEach(t *testing.T) {
	all := Default().KafkaSettings()
	if len(all) != len(kafkaNames()) {
		t.Errorf("%d of %d names belong to a setting", len(all), len(kafkaNames()))
	}
	seen := map[string]bool{"broker.id": true} // the broker adds it
	for _, s := range all {
		if seen[s.Name] {
			t.Errorf("%s is there twice", s.Name)
		}
		if key, ok := dynamicconfig.Lookup(s.Name); ok && (key.Type != s.Type || key.Default != s.Value) {
			t.Errorf("%s is %s here by default, and %s where it can be altered", s.Name, s.Value, key.Default)
		}
		seen[s.Name] = true
		if s.Given || s.Doc == "" || s.Type == 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestKafkaSettingsHaveKafkasUnits(t *testing.T) {
	c, err := Load(Inputs{Environment: []string{"CHRONIK_KAFKA_IDLE_TIMEOUT=1m", "CHRONIK_KAFKA_REQUEST_BYTES_MAX=1MiB"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]KafkaSetting{
		"connections.max.idle.ms":      {Value: "60000", Type: topicconfig.Long, Given: true},
		"socket.request.max.bytes":     {Value: "1048576", Type: topicconfig.Long, Given: true},
		"group.min.session.timeout.ms": {Value: "6000", Type: topicconfig.Long},
		"listeners":                    {Value: "PLAINTEXT://localhost:9092", Type: topicconfig.List},
		"max.connections":              {Value: "10000", Type: topicconfig.Int},
	}
	for _, s := range c.KafkaSettings() {
		if w, ok := want[s.Name]; ok && (s.Value != w.Value || s.Type != w.Type || s.Given != w.Given) {
			t.Errorf("%+v, want %+v", s, w)
		}
	}
}

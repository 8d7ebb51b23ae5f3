package ownership

import (
	"testing"

	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/metastore"
)

func TestWhatIsSetOnBrokersCountsAtOnce(t *testing.T) {
	before, after, topic := new(metastore.Configs), new(metastore.Configs), new(metastore.Topic)
	m := New(Options{
		Object:    func(*metastore.Topic) bool { return true },
		Compacted: func(_ *metastore.Topic, set *metastore.Configs) bool { return set == after },
		Recovery:  new(wal.Recovery),
	})
	m.configs, m.settings = before, map[*metastore.Topic]settings{topic: m.settingsOf(topic, before)}
	if s := m.settingsOf(topic, before); s.compacted || !s.object {
		t.Errorf("%+v", s)
	}
	if s := m.settingsOf(topic, after); !s.compacted {
		t.Errorf("%+v: the topic is compacted from now on", s)
	}
}

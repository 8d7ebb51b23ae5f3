package ingest

import (
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/producer"
)

func TestIdleProducersAreForgottenByBothTables(t *testing.T) {
	now := time.UnixMilli(1_000_000_000_000)
	old, young := now.Add(-25*time.Hour).UnixMilli(), now.Add(-time.Hour).UnixMilli()
	toldAgo := func(hours int) told {
		return told{first: now.Add(-24 * time.Hour), last: now.Add(time.Duration(-hours) * time.Hour)}
	}
	p := &Partition{log: &Log{opts: Options{Config: Config{SalvageAfter: time.Hour}}}, told: map[int64]told{1: toldAgo(4), 2: toldAgo(2)}}
	for _, table := range []**producer.Table{&p.producers, &p.sealed} {
		*table = producer.NewTable([]producer.State{{ID: 1, LastUsed: old}, {ID: 2, LastUsed: young}})
	}
	p.expire(now, 24*time.Hour)
	if _, kept := p.told[2]; len(p.told) != 1 || !kept {
		t.Errorf("%v are left of those that were told, want who was told lately", p.told)
	}
	for name, table := range map[string]*producer.Table{"live": p.producers, "sealed": p.sealed} {
		if _, kept := table.State(2); table.Len() != 1 || !kept {
			t.Errorf("%s: %d producers are left, want the young one", name, table.Len())
		}
	}
}

package e2e

import (
	"testing"
)

// tenPercent makes every tenth call to the bucket fail, half of them after the
// effect: the object is there, and the caller is told that it may not be.
const tenPercent = "seed 7; * * fail-before p=0.05; * * fail-after p=0.05"

func TestKillNineWithAFailingObjectStoreLosesNothing(t *testing.T) {
	c := startIn(t, t.TempDir(), nil, "--set", "objstore.faults="+tenPercent, "--set", "segment.age=200ms", "--set", "compactor.first_age=1s")
	c.killRounds("t", 20)
}

func TestAcksAllWaitsForTheBucketWithDurabilityObject(t *testing.T) {
	c := startIn(t, t.TempDir(), nil, "--set", "objstore.faults="+tenPercent, "--set", "segment.age=1s")
	c.createTable("t", 6, "durability=object")
	p := c.startProducing("t")
	p.waitFor(2000)
	c.kill()
	c.restart()
	p.waitFor(p.acked.get() + 2000)
	p.stop()
	c.checkProduced("t", p)
}

func TestCompactionGoesOnWhileTheObjectStoreFails(t *testing.T) {
	c := startIn(t, t.TempDir(), nil, "--set", "objstore.faults="+tenPercent, "--set", "segment.age=100ms", "--set", "compactor.first_age=200ms")
	c.createTable("t", 6)
	p := c.startProducing("t")
	p.waitFor(20_000)
	p.stop()
	c.checkProduced("t", p)
	c.coldReaches("t", p.acked.get(), 2*shortly)
	if n := c.count("SELECT count(DISTINCT _value) FROM t_cold"); n != p.acked.get() {
		t.Errorf("%d different values in Parquet files, want %d", n, p.acked.get())
	}
}

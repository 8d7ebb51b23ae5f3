package compactor

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
)

// crew is jobs of two partitions at once, of which each tells when it has begun, and
// hangs until it is given up.
type crew struct {
	*jobs
	t     *testing.T
	begun chan topic.Partition
}

func newCrew(t *testing.T) *crew {
	j := newJobs(Config{}.withDefaults(), time.Now, slog.New(slog.DiscardHandler), map[lane]int{embedLane: 2})
	t.Cleanup(j.stop)
	return &crew{j, t, make(chan topic.Partition, 10)}
}

func (c *crew) hanging(p topic.Partition) job {
	return job{jobKey: jobKey{p, embedLane}, hasty: true, run: func(ctx context.Context, _ bool) (product, time.Duration, error) {
		c.begun <- p
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}}
}

// fail has a job of a partition fail.
func (c *crew) fail(p topic.Partition) {
	failing := job{jobKey: jobKey{p, embedLane}, hasty: true, run: func(context.Context, bool) (product, time.Duration, error) {
		return nil, time.Hour, errors.New("as the test says")
	}}
	c.start(nil, []job{failing})
	<-c.wake
	require.Equal(c.t, 1, c.failing())
}

func TestATopicWhoseProviderHangsLeavesHalfOfALaneToOthers(t *testing.T) {
	c := newCrew(t)
	sick, well := topic.NewID(), topic.NewID()
	c.fail(part(sick, 0))
	again := c.start(nil, []job{c.hanging(part(sick, 0)), c.hanging(part(sick, 1)), c.hanging(part(sick, 2)), c.hanging(part(well, 0))})
	require.Greater(t, time.Until(again), 30*time.Minute, "what failed is paused")
	require.ElementsMatch(t, []topic.Partition{part(sick, 1), part(well, 0)}, []topic.Partition{<-c.begun, <-c.begun})
}

// Thousands of partitions have a few new records each: no round is waited for.
func TestJobsFollowOneAnotherWithoutARound(t *testing.T) {
	c := newCrew(t)
	id := topic.NewID()
	const n = 100
	var all []job
	for i := range int32(n) {
		p := part(id, i)
		all = append(all, job{jobKey: jobKey{p, embedLane}, hasty: true, run: func(context.Context, bool) (product, time.Duration, error) {
			return &unadoptable{}, 0, nil
		}})
	}
	ended := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.ended)
	}
	c.start(nil, all)
	require.Eventually(t, func() bool { return ended() == n }, patience, time.Millisecond)
	c.start(nil, all[:1])
	require.Empty(t, c.waiting, "what it has made is not adopted")
}

func TestWhatIsPlannedAnewDoesNotWaitTwice(t *testing.T) {
	c := newCrew(t)
	id := topic.NewID()
	var all []job
	for i := range int32(4) {
		all = append(all, c.hanging(part(id, i)))
	}
	c.start(nil, all)
	c.start(nil, all[2:3])
	require.Len(t, c.waiting, 1)
	c.forget(map[topic.Partition]bool{part(id, 0): true, part(id, 1): true})
	require.Empty(t, c.waiting, "its partition is another's")
	require.ElementsMatch(t, []topic.Partition{part(id, 0), part(id, 1)}, []topic.Partition{<-c.begun, <-c.begun})
}

// A job may begin between a round's look at its partition and what the round plans.
func TestWhatAnotherJobIsAboutToReplaceIsLeftToIt(t *testing.T) {
	c := newCrew(t)
	p := part(topic.NewID(), 0)
	claiming := func(l lane, objects ...string) job {
		job := c.hanging(p)
		job.lane = l
		for _, o := range objects {
			job.claims = append(job.claims, manifest.File{Object: o})
		}
		return job
	}
	for _, l := range []lane{mergeLane, largeLane} {
		c.atOnce[l], c.free[l] = 1, 1
	}
	c.start(nil, []job{claiming(mergeLane, "a", "b")})
	c.start(nil, []job{claiming(largeLane, "b", "c")})
	require.Empty(t, c.waiting)
	require.Len(t, c.running, 1)
	c.start(nil, []job{claiming(largeLane, "c", "d")})
	require.Len(t, c.running, 2)
	require.Equal(t, map[string]bool{"a": true, "b": true, "c": true, "d": true}, c.claimed(p))
	require.Empty(t, c.claimed(part(p.Topic, 1)))
	c.ended[jobKey{part(p.Topic, 1), mergeLane}] = ended{claims: []manifest.File{{Object: "e"}}}
	require.Equal(t, map[string]bool{"e": true}, c.claimed(part(p.Topic, 1)), "what was made is not adopted")
}

func TestAFailureOfWhatIsNotWantedAnyMoreIsForgotten(t *testing.T) {
	c := newCrew(t)
	id := topic.NewID()
	p := part(id, 0)
	c.fail(p)
	c.start(map[topic.Partition]bool{part(id, 1): true}, nil)
	require.Equal(t, 1, c.failing(), "nobody has looked at its partition")
	c.start(map[topic.Partition]bool{p: true}, []job{c.hanging(p)})
	require.Equal(t, 1, c.failing(), "it is wanted")
	c.start(map[topic.Partition]bool{p: true}, nil)
	require.Zero(t, c.failing())
}

// unadoptable is a product that something damaged keeps from being adopted.
type unadoptable struct{ err error }

func (u *unadoptable) adopt(_ context.Context, p *pass) (bool, error) {
	p.section.Marks.Vector = 7
	p.gone = append(p.gone, manifest.File{Object: "mine"})
	return true, u.err
}

func TestWhatCannotBeAdoptedForDamageIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	notes := w.topic("notes", 1, nil)
	c := w.start(w.quick(), w.store, w.bucket)
	for _, damaged := range []bool{false, true} {
		out := &unadoptable{errors.New("the bucket is away")}
		if damaged {
			out.err = format.Corrupt(0, "as the test says")
		}
		key := jobKey{part(notes.ID, 0), embedLane}
		c.jobs.ended[key] = ended{key: key, product: out, at: c.now()}
		p := &pass{Compactor: c, snap: snapshot{ended: c.jobs.of(key.partition, embedLane)}}
		err := p.adopt(t.Context())
		require.Equal(t, damaged, err == nil)
		require.Equal(t, damaged, len(c.jobs.ended) == 0, "it waits where another attempt may help, and only there")
		require.Zero(t, p.section.Marks.Vector)
		require.Empty(t, p.gone)
	}
}

package compactor

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
)

// Some work takes minutes, or waits for somebody else: a provider of embeddings, a
// graph of a million vectors. A round does not wait for that. It is done in jobs
// beside the rounds. A job puts objects under new names
// and changes nothing else; the next pass of its partition adopts what it has
// made, if that still fits what became of the partition meanwhile, and swaps the
// manifest as ever. So a section has one writer, and a crash leaves orphans.

// lane is a line of jobs of a partition: each has one job at a time.
type lane string

// jobKey names a job.
type jobKey struct {
	partition topic.Partition
	lane      lane
}

// product is what a job has made, and waits for the next pass of its partition.
type product interface {
	// adopt brings it into the pass's section. It reports whether it fits; what
	// does not is forgotten, and its objects are left to the orphan sweep.
	adopt(ctx context.Context, p *pass) (fits bool, err error)
}

// ended is a job that has made something.
type ended struct {
	key     jobKey
	product product
	claims  []manifest.File
	at      time.Time
}

// jobs are the jobs of a compactor. Rounds start them and take what they have
// made; all methods may be called at once.
type jobs struct {
	config Config
	now    func() time.Time
	log    *slog.Logger
	wake   chan struct{} // a job has ended since somebody looked

	ctx    context.Context
	cancel context.CancelFunc

	done    sync.WaitGroup
	atOnce  map[lane]int
	mu      sync.Mutex
	free    map[lane]int // jobs that may be started still
	waiting []job        // for a place in their lanes, in the order of their turns
	running map[jobKey]*underway
	ended   map[jobKey]ended
	paused  map[jobKey]jobFailure
	last    map[jobKey]time.Time // when one was last started: whose turn it is
}

// underway is a job that is being done.
type underway struct {
	cancel context.CancelFunc
	claims []manifest.File
}

// jobFailure is a job that failed, and what it was asked to do.
type jobFailure struct {
	failure
	asked any // another request does not wait
}

// newJobs returns jobs of which each lane has so many at once, of all partitions;
// stop ends them.
func newJobs(config Config, now func() time.Time, log *slog.Logger, atOnce map[lane]int) *jobs {
	j := &jobs{
		config: config, now: now, log: log, wake: make(chan struct{}, 1), atOnce: atOnce, free: maps.Clone(atOnce),
		running: make(map[jobKey]*underway), ended: make(map[jobKey]ended), paused: make(map[jobKey]jobFailure), last: make(map[jobKey]time.Time),
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// stopWithin is how long stop waits for jobs that compute and do not look at their
// context meanwhile.
const stopWithin = 3 * time.Second

// stop gives up what is under way. What still computes afterwards comes to nothing:
// every use of the bucket and the metadata is of a context that is over.
func (j *jobs) stop() {
	j.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.done.Wait()
	}()
	select {
	case <-done:
	case <-time.After(stopWithin):
		j.log.Warn("a job still computes: it is left behind")
	}
}

// job is one that may be started.
type job struct {
	jobKey
	// asked is what it is to do, to be compared: after a failure it is only tried
	// again after a pause, but at once when something else is asked for.
	asked any
	// claims are files that it is to replace, and that no other job is to.
	claims []manifest.File
	// hasty: somebody waits for what it makes, and it takes little of the processor.
	// Others run at the lowest priority.
	hasty bool
	// run does it. What it returns is adopted also when there is an error: it may
	// have come a part of its way. retryAfter, if not 0, says how long to wait
	// after the error. With mends, the log has been damaged so often that what is
	// damaged is left out.
	run func(ctx context.Context, mends bool) (made product, retryAfter time.Duration, err error)
}

// start has the jobs of some partitions done, as places in their lanes come free: those
// whose lanes have begun none for the longest time go first. What waited since an
// earlier call is forgotten, since it is planned anew. A partition's lane has one job at
// a time, and none while what the last has made is not adopted. Of what failed and is
// not wanted any more nothing is remembered. It returns when the first of those that
// are paused after a failure is due again.
func (j *jobs) start(of map[topic.Partition]bool, all []job) (again time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pardon(of, all)
	slices.SortStableFunc(all, func(a, b job) int { return cmp.Compare(j.last[a.jobKey].UnixNano(), j.last[b.jobKey].UnixNano()) })
	now := j.now()
	j.waiting = nil
	for _, job := range all {
		f, failed := j.paused[job.jobKey]
		if failed && f.asked != job.asked {
			delete(j.paused, job.jobKey)
		} else if failed && now.Before(f.until) {
			again = earliest(again, f.until.UnixMilli())
			continue
		}
		if _, made := j.ended[job.jobKey]; !made && j.running[job.jobKey] == nil {
			j.waiting = append(j.waiting, job)
		}
	}
	j.fill()
	return again
}

// fill begins those that wait, as far as there is room. A round that begins the next
// ones would be too late: thousands of partitions with a few new records each take a
// provider no time, and rounds all the more.
func (j *jobs) fill() {
	troubled := j.troubled()
	j.waiting = slices.DeleteFunc(j.waiting, func(job job) bool {
		if j.free[job.lane] == 0 || j.crowded(job.jobKey, troubled) || j.ctx.Err() != nil {
			return false
		}
		claimed := j.claimedOf(job.partition)
		if slices.ContainsFunc(job.claims, func(f manifest.File) bool { return claimed[f.Object] }) {
			return true // by another lane's, which had not begun when this one was planned
		}
		j.begin(job)
		return true
	})
}

// begin has a job done.
func (j *jobs) begin(job job) {
	// It must have given up long before what it wrote counts as orphaned.
	ctx, cancel := context.WithTimeout(j.ctx, j.config.PassTimeout) // [attempts-end]
	this := &underway{cancel, job.claims}
	mends := j.paused[job.jobKey].damage >= mendAfter
	j.running[job.jobKey], j.last[job.jobKey] = this, j.now()
	j.free[job.lane]--
	j.done.Go(func() {
		if !job.hasty {
			niceThread(j.log)
		}
		made, retryAfter, err := job.run(ctx, mends)
		cancel()
		j.end(this, job, made, retryAfter, err)
	})
}

// pardon forgets failures of jobs that are not among those to be started.
func (j *jobs) pardon(of map[topic.Partition]bool, all []job) {
	wanted := make(map[jobKey]bool, len(all))
	for i := range all {
		wanted[all[i].jobKey] = true
	}
	for key := range j.paused {
		if of[key.partition] && !wanted[key] && j.running[key] == nil {
			delete(j.paused, key)
		}
	}
}

// topicLane is a line of jobs of a topic.
type topicLane struct {
	topic topic.ID
	lane  lane
}

func (k jobKey) ofTopic() topicLane { return topicLane{k.partition.Topic, k.lane} }

// troubled are topics of which a job failed last.
func (j *jobs) troubled() map[topicLane]bool {
	all := make(map[topicLane]bool)
	for key := range j.paused {
		all[key.ofTopic()] = true
	}
	return all
}

// crowded tells whether a job has to wait since others of troubled topics are being
// done, which have half of a lane together: where a provider hangs, the rest is for
// those who do not ask it.
func (j *jobs) crowded(key jobKey, troubled map[topicLane]bool) bool {
	if !troubled[key.ofTopic()] {
		return false
	}
	n := 0
	for other := range j.running {
		if other.lane == key.lane && troubled[other.ofTopic()] {
			n++
		}
	}
	return n >= max(1, j.atOnce[key.lane]/2)
}

// end notes how a job ended, begins the next, and wakes the rounds.
func (j *jobs) end(this *underway, job job, made product, retryAfter time.Duration, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.free[job.lane]++
	wanted := j.running[job.jobKey] == this && j.ctx.Err() == nil
	if wanted {
		delete(j.running, job.jobKey)
	}
	switch {
	case !wanted:
		made = nil
	case err != nil:
		f := j.paused[job.jobKey]
		f.again(j.now(), j.config)
		if retryAfter > 0 {
			f.until = j.now().Add(retryAfter)
		}
		f.asked = job.asked
		if !errors.Is(err, format.ErrCorrupt) {
			f.damage = 0
		} else {
			f.damage++
		}
		j.paused[job.jobKey] = f
		j.log.Error("a job failed and is tried again", "partition", job.partition.String(), "job", string(job.lane), "pause", f.until.Sub(j.now()), "err", err)
	default:
		delete(j.paused, job.jobKey)
	}
	if made != nil {
		j.ended[job.jobKey] = ended{job.jobKey, made, job.claims, j.now()}
	}
	j.fill()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// of returns what is to be adopted of a partition. What has waited for so long
// that a sweep might soon take its objects for orphans is forgotten.
func (j *jobs) of(p topic.Partition, lanes ...lane) (all []ended) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, lane := range lanes {
		e, ok := j.ended[jobKey{p, lane}]
		switch {
		case !ok:
		case j.now().Sub(e.at) > j.config.OrphanAge/4:
			delete(j.ended, e.key)
		default:
			all = append(all, e)
		}
	}
	return all
}

// claimed are the objects of a partition that jobs are about to replace.
func (j *jobs) claimed(p topic.Partition) map[string]bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.claimedOf(p)
}

// claimedOf is claimed. It looks at no other partition: there may be thousands of jobs.
func (j *jobs) claimedOf(p topic.Partition) map[string]bool {
	var out map[string]bool
	note := func(claims []manifest.File) {
		for _, f := range claims {
			if out == nil {
				out = make(map[string]bool)
			}
			out[f.Object] = true
		}
	}
	for lane := range j.atOnce {
		key := jobKey{p, lane}
		if this := j.running[key]; this != nil {
			note(this.claims)
		}
		note(j.ended[key].claims)
	}
	return out
}

// settle forgets what was adopted, or does not fit any more.
func (j *jobs) settle(all []ended) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range all {
		if j.ended[e.key].product == e.product {
			delete(j.ended, e.key)
		}
	}
}

// failing is how many lanes failed the last time.
func (j *jobs) failing() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.paused)
}

// forget gives up what concerns other partitions than these.
func (j *jobs) forget(present map[topic.Partition]bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, this := range j.running {
		if !present[key.partition] {
			this.cancel()
			delete(j.running, key)
		}
	}
	j.waiting = slices.DeleteFunc(j.waiting, func(job job) bool { return !present[job.partition] })
	for key := range j.ended {
		if !present[key.partition] {
			delete(j.ended, key)
		}
	}
	for key := range j.paused {
		if !present[key.partition] {
			delete(j.paused, key)
		}
	}
	for key := range j.last {
		if !present[key.partition] {
			delete(j.last, key)
		}
	}
}

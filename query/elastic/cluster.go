package elastic

import (
	"net/http"
	"slices"
	"time"
)

// version is the version of Elasticsearch whose API is spoken.
const version = "9.2.0"

// root answers what is here.
func (c *call) root() error {
	cluster := c.surface.o.Backend.Cluster()
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			w.member("name", cluster.Node)
			w.member("cluster_name", cluster.Name)
			w.member("cluster_uuid", cluster.UUID)
			w.name("version")
			w.object(func() {
				w.member("number", version)
				w.member("build_flavor", "default")
				w.member("build_type", "chronik")
				w.member("build_hash", cluster.Version)
				w.member("build_snapshot", false)
				w.member("minimum_wire_compatibility_version", "8.19.0")
				w.member("minimum_index_compatibility_version", "8.0.0")
			})
			w.member("tagline", "You Know, for Search")
		})
	})
}

// topicHealth is how a topic is.
type topicHealth struct {
	name                   string
	partitions, leaderless int
}

// health is how topics are.
type health struct {
	cluster    Cluster
	status     string
	missing    bool // a name is no topic's (yet)
	active     int  // partitions that somebody leads
	unassigned int  // that nobody leads
	byTopic    []topicHealth
}

func healthOf(leaderless int) string {
	if leaderless > 0 {
		return "red"
	}
	return "green"
}

func (h *health) percent() float64 {
	if h.active+h.unassigned == 0 {
		return 100
	}
	return 100 * float64(h.active) / float64(h.active+h.unassigned)
}

func (s *Surface) health(expression string) (*health, error) {
	h := &health{cluster: s.o.Backend.Cluster()}
	found, err := s.expand(expression, expansion{allowNone: true})
	if isNotFound(err) {
		h.missing = true
		found, err = s.expand(expression, expansion{allowNone: true, ignoreUnavailable: true})
	}
	if err != nil {
		return nil, err
	}
	for _, t := range found {
		one := topicHealth{t.Name, t.Partitions, s.o.Backend.Leaderless(t.Name)}
		h.active += one.partitions - one.leaderless
		h.unassigned += one.leaderless
		h.byTopic = append(h.byTopic, one)
	}
	h.status = healthOf(h.unassigned)
	if h.missing {
		h.status = "red"
	}
	return h, nil
}

// statuses of a cluster, the best first. None is ever yellow: there are no
// replicas that could be missing.
var statuses = []string{"green", "yellow", "red"}

// healthWithin is how long a health that is waited for may take.
const (
	healthWithin = 30 * time.Second
	healthEvery  = 50 * time.Millisecond
)

// clusterHealth answers how topics are; it waits until they are as it was asked to,
// and until those that are named are there.
func (c *call) clusterHealth() error {
	c.harmless("local", "master_timeout", "expand_wildcards", "wait_for_no_relocating_shards", "wait_for_no_initializing_shards", "wait_for_events")
	if err := c.never("wait_for_active_shards", "wait_for_nodes"); err != nil {
		return err
	}
	level := c.text("level", "cluster")
	if !slices.Contains([]string{"cluster", "indices"}, level) {
		return badRequest("URL parameter [level] is [%s], only cluster and indices are supported", level)
	}
	worst := c.text("wait_for_status", "red")
	if !slices.Contains(statuses, worst) {
		return badRequest("URL parameter [wait_for_status] is [%s], it has to be green, yellow or red", worst)
	}
	within, err := c.duration("timeout")
	if err != nil {
		return err
	}
	if within == 0 {
		within = healthWithin
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	h, timedOut, err := c.awaitHealth(worst, within)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if timedOut {
		status = http.StatusRequestTimeout
	}
	return c.answer(status, func(w *writer) { w.object(func() { h.write(w, timedOut, level == "indices") }) })
}

func (c *call) awaitHealth(worst string, within time.Duration) (h *health, timedOut bool, err error) {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		if h, err = c.surface.health(c.Param("index")); err != nil {
			return nil, false, err
		}
		if !h.missing && slices.Index(statuses, h.status) <= slices.Index(statuses, worst) {
			return h, false, nil
		}
		select {
		case <-c.Request.Context().Done():
			return nil, false, c.Request.Context().Err()
		case <-deadline.C:
			return h, true, nil
		case <-tick.C:
		}
	}
}

func (h *health) write(w *writer, timedOut, indices bool) {
	w.member("cluster_name", h.cluster.Name)
	w.member("status", h.status)
	w.member("timed_out", timedOut)
	w.member("number_of_nodes", h.cluster.Nodes)
	w.member("number_of_data_nodes", h.cluster.Brokers)
	shards(w, h.active, h.unassigned)
	w.member("delayed_unassigned_shards", 0)
	w.member("number_of_pending_tasks", 0)
	w.member("number_of_in_flight_fetch", 0)
	w.member("task_max_waiting_in_queue_millis", 0)
	w.member("active_shards_percent_as_number", h.percent())
	if !indices {
		return
	}
	w.name("indices")
	w.object(func() {
		for _, t := range h.byTopic {
			w.name(t.name)
			w.object(func() {
				w.member("status", healthOf(t.leaderless))
				w.member("number_of_shards", t.partitions)
				w.member("number_of_replicas", 0)
				shards(w, t.partitions-t.leaderless, t.leaderless)
			})
		}
	})
}

func shards(w *writer, active, unassigned int) {
	w.member("active_primary_shards", active)
	w.member("active_shards", active)
	w.member("relocating_shards", 0)
	w.member("initializing_shards", 0)
	w.member("unassigned_shards", unassigned)
}

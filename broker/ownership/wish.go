package ownership

import (
	"slices"
	"strconv"

	"github.com/chronik-stream/chronik/internal/rendezvous"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Candidate is a broker that can be wished for.
type Candidate struct {
	ID   metastore.BrokerID
	Rack string
}

// Candidates returns the brokers that can be wished for: the live ones that are
// not draining, sorted by id.
func Candidates(v *metastore.View) []Candidate {
	var all []Candidate
	for _, b := range v.Brokers() {
		if !v.Draining(b.ID) {
			all = append(all, Candidate{ID: b.ID, Rack: b.Rack})
		}
	}
	return all
}

// Wished returns for each of count things of one kind (the partitions of a
// topic, the slots of the coordinators) the broker that is to have it, NoBroker
// when there is no candidate. Everybody who sees the same candidates finds the
// same; who had what before does not matter.
//
// It is rendezvous hashing with bounded loads: each thing goes to its highest
// weight among the brokers that have room left. Room is an equal share, so that
// no broker has two things more than another, however few they are; and racks
// have room in proportion to their brokers, so that the loss of a rack takes its
// share of a topic and not all of it. A broker that comes or goes moves its own
// share, and a few things whose first choice had no room before, or has none now.
func Wished(kind string, count int32, candidates []Candidate) []metastore.BrokerID {
	wished := make([]metastore.BrokerID, count)
	if len(candidates) == 0 {
		for i := range wished {
			wished[i] = metastore.NoBroker
		}
		return wished
	}
	names := make([]string, len(candidates))
	racks := map[string]*room{}
	for i, c := range candidates {
		names[i] = c.ID.String()
		if racks[c.Rack] == nil {
			racks[c.Rack] = new(room)
		}
		racks[c.Rack].members++
	}
	brokers := make([]room, len(candidates))
	rackOf := make([]*room, len(candidates))
	spareBrokers, spareRacks := int(count), int(count)
	for i, c := range candidates {
		brokers[i].members = 1
		spareBrokers -= brokers[i].share(int(count), len(candidates))
		rackOf[i] = racks[c.Rack]
	}
	for _, r := range racks {
		spareRacks -= r.share(int(count), len(candidates))
	}
	free := make([]string, 0, len(candidates))
	for n := range wished {
		thing := kind + "/" + strconv.Itoa(n)
		free = free[:0]
		for i := range brokers {
			if brokers[i].free(spareBrokers) && rackOf[i].free(spareRacks) {
				free = append(free, names[i])
			}
		}
		if len(free) == 0 {
			// The racks that have room left have it at brokers without: an even
			// load of the brokers counts for more.
			for i := range brokers {
				if brokers[i].free(spareBrokers) {
					free = append(free, names[i])
				}
			}
		}
		i := slices.Index(names, rendezvous.Pick(thing, free))
		spareBrokers -= brokers[i].take()
		spareRacks -= rackOf[i].take()
		wished[n] = candidates[i].ID
	}
	return wished
}

// room is what a broker, or a rack, can have: its share, rounded down, and one
// more if that is not whole and one of those left over by rounding is spare.
type room struct {
	members int // brokers
	whole   bool
	max     int
	has     int
}

func (r *room) share(count, brokers int) int {
	r.max = count * r.members / brokers
	r.whole = count*r.members%brokers == 0
	return r.max
}

func (r *room) free(spare int) bool {
	return r.has < r.max || r.has == r.max && !r.whole && spare > 0
}

// take returns how many of the spare ones that costs.
func (r *room) take() int {
	r.has++
	if r.has > r.max {
		return 1
	}
	return 0
}

// wishes remembers what was wished for the partitions of each topic, as long as
// the candidates are the same: working it out costs about a microsecond for each
// partition, and the catalog is looked at often.
type wishes struct {
	candidates []Candidate
	topics     map[topic.ID][]metastore.BrokerID
}

func (w *wishes) of(t *metastore.Topic, candidates []Candidate) []metastore.BrokerID {
	if w.topics == nil || !slices.Equal(w.candidates, candidates) {
		w.candidates, w.topics = candidates, map[topic.ID][]metastore.BrokerID{}
	}
	wished, ok := w.topics[t.ID]
	if !ok || len(wished) != int(t.Partitions) {
		wished = Wished(t.ID.String(), t.Partitions, candidates)
		w.topics[t.ID] = wished
	}
	return wished
}

// prune forgets topics that are gone.
func (w *wishes) prune(v *metastore.View) {
	if len(w.topics) <= len(v.Topics()) {
		return
	}
	for id := range w.topics {
		if _, ok := v.TopicByID(id); !ok {
			delete(w.topics, id)
		}
	}
}

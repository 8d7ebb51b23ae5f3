package admin

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

const (
	bodyBytesMax = 16 << 20
	// watermarksWithin bounds the question for the ends of logs, which only their
	// owners know; without an answer the rest is shown.
	watermarksWithin = 3 * time.Second
	writeWithin      = 15 * time.Second
	keyHeader        = "X-API-Key"
)

// administration are the routes under /admin.
func (s *Surface) administration() {
	s.mux.HandleFunc("GET /admin/health", s.adminHealth)
	s.mux.HandleFunc("GET /admin/status", s.guarded(s.status))
	s.mux.HandleFunc("POST /admin/drain", s.guarded(s.drain))
	s.mux.HandleFunc("POST /admin/remove-node", s.guarded(s.drain))
	s.mux.HandleFunc("POST /admin/add-node", s.guarded(explain("nodes join by starting: chronik run --roles … with the cluster's etcd and bucket")))
	s.mux.HandleFunc("POST /admin/rebalance", s.guarded(explain("brokers share partitions out by themselves whenever one joins, leaves or drains; nothing is left to start")))
	s.mux.HandleFunc("GET /admin/topics", s.guarded(s.topics))
	s.mux.HandleFunc("POST /admin/topics", s.guarded(s.createTopic))
	s.mux.HandleFunc("POST /topics", s.guarded(s.createTopic))
	s.mux.HandleFunc("GET /admin/topics/{topic}", s.guarded(s.topic))
	s.mux.HandleFunc("PATCH /admin/topics/{topic}", s.guarded(s.alterTopic))
	s.mux.HandleFunc("DELETE /admin/topics/{topic}", s.guarded(s.deleteTopic))
	s.mux.HandleFunc("GET /admin/groups", s.guarded(s.groups))
	s.mux.HandleFunc("GET /admin/groups/{group}", s.guarded(s.group))
	s.mux.HandleFunc("/admin/", s.guarded(s.noAdministration))
}

// noAdministration answers what is none of the routes above.
func (s *Surface) noAdministration(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if _, route := s.mux.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL}); route != "/admin/" {
			s.fail(w, r, envelope.New(http.StatusMethodNotAllowed, "INVALID_REQUEST", "InvalidRequest", r.Method+" is not allowed here"))
			return
		}
	}
	s.fail(w, r, envelope.New(http.StatusNotFound, "INVALID_REQUEST", "InvalidRequest", "nothing is served at "+r.URL.Path))
}

// guarded asks for the API key first.
func (s *Surface) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if reason := s.refuses(r); reason != "" {
			s.unauthorized(w, r, reason)
			return
		}
		next(w, r)
	}
}

// refuses is why whoever sent a request may not administer; empty: they may.
func (s *Surface) refuses(r *http.Request) (reason string) {
	given := r.Header.Get(keyHeader)
	switch {
	case s.o.APIKey == "", subtle.ConstantTimeCompare([]byte(given), []byte(s.o.APIKey)) == 1:
		return ""
	case given == "":
		return "missing X-API-Key header"
	}
	return "invalid X-API-Key"
}

// keyHint says what to do where a request is refused.
const keyHint = "send the key of admin.api_key (CHRONIK_ADMIN_API_KEY) as the header X-API-Key"

// Administrator returns why whoever sent a request to an attached role may not
// administer.
func (s *Surface) Administrator(r *http.Request) error {
	reason := s.refuses(r)
	if reason == "" {
		return nil
	}
	f := envelope.New(http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized", reason)
	f.Details["hint"] = keyHint
	return f
}

func (s *Surface) unauthorized(w http.ResponseWriter, r *http.Request, reason string) {
	s.o.Log.Debug("http request refused", "id", r.Header.Get(requestIDHeader), "path", r.URL.Path, "reason", reason)
	answer(w, http.StatusUnauthorized, map[string]any{
		"status": http.StatusUnauthorized, "error": reason, "hint": keyHint,
		"error_code": "UNAUTHORIZED", "error_type": "Unauthorized", "details": map[string]any{},
	})
}

func explain(message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"success": true, "message": message})
	}
}

func (s *Surface) adminHealth(w http.ResponseWriter, _ *http.Request) {
	body := map[string]any{
		"status": "ok", "node_id": s.o.NodeID, "role": strings.Join(s.o.Roles, ","), "is_leader": s.o.Janitor(), "cluster_nodes": 0,
	}
	if reasons := s.o.Reasons(); len(reasons) > 0 {
		body["status"], body["reasons"] = "not ready", reasons
	}
	if store := s.o.Store(); store != nil {
		store.Catalog().View(func(v *metastore.View) {
			body["cluster_nodes"] = len(v.Brokers()) + len(v.Compactors()) + len(v.Queries())
		})
	}
	answer(w, http.StatusOK, body)
}

// Status is the answer of GET /admin/status.
type Status struct {
	Nodes           []NodeStatus         `json:"nodes"`
	Partitions      []PartitionStatus    `json:"partitions"`
	BrokersDraining []metastore.BrokerID `json:"brokers_draining"`
	// Warnings say what could not be found out.
	Warnings []string `json:"warnings,omitempty"`
}

// NodeStatus is a live node. A process with several roles is there once for each.
type NodeStatus struct {
	NodeID     any       `json:"node_id"` // a broker's number, or the name of another
	Role       string    `json:"role"`
	Address    string    `json:"address"`
	Rack       string    `json:"rack"`
	Version    string    `json:"version"`
	StartedAt  time.Time `json:"started_at"`
	Partitions *int      `json:"partitions,omitempty"` // that a broker leads
	Slots      *int      `json:"coordinator_slots,omitempty"`
	Draining   bool      `json:"draining,omitempty"`
}

// PartitionStatus is a partition with its marks. Offsets are the first ones not
// there yet.
type PartitionStatus struct {
	Topic       string             `json:"topic"`
	Partition   int32              `json:"partition"`
	Leader      metastore.BrokerID `json:"leader"` // -1: nobody
	LeaderEpoch metastore.Epoch    `json:"leader_epoch"`
	LogStart    int64              `json:"log_start_offset"`
	// HighWatermark is what consumers can read up to; null when its leader did not
	// say in time.
	HighWatermark *int64 `json:"high_watermark"`
	Flushed       int64  `json:"flushed_offset"` // in the bucket and committed
	Columnar      int64  `json:"columnar_offset"`
	Text          int64  `json:"text_offset"`
	Vector        int64  `json:"vector_offset"`
}

func (s *Surface) status(w http.ResponseWriter, r *http.Request) {
	store := s.o.Store()
	if store == nil {
		s.fail(w, r, s.unavailable())
		return
	}
	status := read(store.Catalog())
	ctx, cancel := context.WithTimeout(r.Context(), watermarksWithin)
	defer cancel()
	if err := status.watermarks(ctx, store.Catalog().Brokers()); err != nil {
		status.Warnings = append(status.Warnings, "high watermarks are not all known: "+err.Error())
	}
	answer(w, http.StatusOK, status)
}

func (s *Surface) unavailable() *envelope.Failure {
	return envelope.New(http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable",
		"the cluster's metadata cannot be read yet: "+strings.Join(s.o.Reasons(), "; "))
}

// read takes everything from one revision of the catalog.
func read(catalog *metastore.Catalog) Status {
	status := Status{Nodes: []NodeStatus{}, Partitions: []PartitionStatus{}, BrokersDraining: []metastore.BrokerID{}}
	catalog.View(func(v *metastore.View) {
		status.BrokersDraining = append(status.BrokersDraining, v.AllDraining()...)
		led := map[metastore.BrokerID]*int{}
		coordinated := map[metastore.BrokerID]*int{}
		for _, b := range v.Brokers() {
			led[b.ID], coordinated[b.ID] = new(int), new(int)
			status.Nodes = append(status.Nodes, NodeStatus{
				NodeID: b.ID, Role: "broker", Address: own(b), Rack: b.Rack, Version: b.Version, StartedAt: b.StartedAt,
				Partitions: led[b.ID], Slots: coordinated[b.ID], Draining: v.Draining(b.ID),
			})
		}
		for role, members := range map[string][]metastore.Member{"compactor": v.Compactors(), "query": v.Queries()} {
			for _, m := range members {
				status.Nodes = append(status.Nodes, NodeStatus{NodeID: m.ID, Role: role, Address: m.Address, Version: m.Version, StartedAt: m.StartedAt})
			}
		}
		slices.SortStableFunc(status.Nodes, func(a, b NodeStatus) int { return strings.Compare(a.Role, b.Role) })
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				p := v.Partition(topic.Partition{Topic: t.ID, Index: i})
				line := PartitionStatus{
					Topic: t.Name, Partition: i, Leader: metastore.NoBroker, LeaderEpoch: p.Owner.Epoch, LogStart: p.Manifest.LogStart,
					Flushed: p.Next(), Columnar: p.Manifest.Marks.Columnar, Text: p.Manifest.Marks.Text, Vector: p.Manifest.Marks.Vector,
				}
				if p.OwnerAlive {
					line.Leader = p.Owner.Broker
					*led[line.Leader]++
				}
				status.Partitions = append(status.Partitions, line)
			}
		}
		for n := range metastore.Slots {
			if slot, alive := v.Slot(n); alive {
				*coordinated[slot.Broker]++
			}
		}
	})
	return status
}

// own is the address of a broker among the others: what it tells its clients may
// be a balancer's.
func own(b metastore.Broker) string {
	if addresses := seeds([]metastore.Broker{b}); len(addresses) > 0 {
		return addresses[0]
	}
	return ""
}

// watermarks asks the owners for the ends of their logs.
func (s *Status) watermarks(ctx context.Context, brokers []metastore.Broker) error {
	if len(s.Partitions) == 0 {
		return nil
	}
	seeds := seeds(brokers)
	if len(seeds) == 0 {
		return errors.New("no broker lives")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ClientID("chronik-admin"))
	if err != nil {
		return err
	}
	defer client.Close()
	names := map[string]bool{}
	for _, p := range s.Partitions {
		names[p.Topic] = true
	}
	topics := make([]string, 0, len(names))
	for name := range names {
		topics = append(topics, name)
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topics...)
	for i, p := range s.Partitions {
		if end, ok := ends.Lookup(p.Topic, p.Partition); ok && end.Err == nil {
			s.Partitions[i].HighWatermark = &end.Offset
		} else if ok && err == nil {
			err = fmt.Errorf("%s-%d: %w", p.Topic, p.Partition, end.Err)
		}
	}
	return err
}

// seeds are where the brokers talk to each other, or to clients where they do not.
func seeds(brokers []metastore.Broker) []string {
	for _, name := range []string{metastore.InternalListener, "PLAINTEXT"} {
		var addresses []string
		for _, b := range brokers {
			for _, l := range b.Listeners {
				if l.Name == name {
					addresses = append(addresses, net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))))
				}
			}
		}
		if len(addresses) > 0 {
			return addresses
		}
	}
	return nil
}

// drainRequest is the body of POST /admin/drain.
type drainRequest struct {
	NodeID json.RawMessage `json:"node_id"` // a number, or text with one
	Cancel bool            `json:"cancel"`
}

// drain makes a broker own nothing, or lets it own again.
func (s *Surface) drain(w http.ResponseWriter, r *http.Request) {
	message, err := s.setDraining(w, r)
	s.change(w, r, map[string]any{"message": message}, err)
}

func (s *Surface) setDraining(w http.ResponseWriter, r *http.Request) (string, error) {
	var request drainRequest
	if err := readJSON(w, r, &request); err != nil {
		return "", err
	}
	store := s.o.Store()
	if store == nil {
		return "", s.unavailable()
	}
	text := string(bytes.Trim(request.NodeID, `"`))
	if text == "" {
		return "", envelope.Invalid("node_id is missing: the number of a broker")
	}
	number, err := strconv.ParseInt(text, 10, 32)
	id := metastore.BrokerID(number)
	if err != nil || number < 0 {
		return "", envelope.Invalid("node_id %s is no broker's number: compactors and query nodes hold nothing, and are just stopped", text)
	}
	if _, live := store.Catalog().Broker(id); !live && !request.Cancel && !owns(store.Catalog(), id) {
		if len(store.Catalog().Brokers()) == 0 {
			return "", envelope.Invalid("broker %d does not live, and no other does", id)
		}
		return "", envelope.Invalid("broker %d does not live; there are %v", id, ids(store.Catalog().Brokers()))
	}
	ctx, cancel := context.WithTimeout(r.Context(), writeWithin)
	defer cancel()
	if err := store.SetDraining(ctx, id, !request.Cancel); err != nil {
		return "", err
	}
	s.o.Log.Info("draining was set by the admin API", "broker", id, "draining", !request.Cancel)
	if request.Cancel {
		return fmt.Sprintf("broker %d takes partitions again", id), nil
	}
	return fmt.Sprintf("broker %d hands its partitions and coordinators over, and takes none until the draining is cancelled; /admin/status shows how far it is", id), nil
}

// owns tells whether a broker, live or not, is named as an owner of anything.
func owns(c *metastore.Catalog, id metastore.BrokerID) (named bool) {
	c.View(func(v *metastore.View) {
		for _, t := range v.Topics() {
			for i := int32(0); i < t.Partitions && !named; i++ {
				owner, _ := v.Owner(topic.Partition{Topic: t.ID, Index: i})
				named = owner.Session != 0 && owner.Broker == id
			}
		}
	})
	return named
}

func ids(brokers []metastore.Broker) []metastore.BrokerID {
	list := []metastore.BrokerID{}
	for _, b := range brokers {
		list = append(list, b.ID)
	}
	return list
}

// readJSON reads a body strictly: one value, known fields.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return envelope.New(http.StatusRequestEntityTooLarge, "TOO_LARGE", "InvalidRequest", fmt.Sprintf("the body is larger than %d bytes", bodyBytesMax))
	case err != nil:
		return envelope.Invalid("the body could not be read: %v", err)
	}
	return envelope.Decode(body, v)
}

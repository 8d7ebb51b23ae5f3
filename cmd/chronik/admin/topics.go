package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/metastore"
)

// topicSummary is a topic in a list.
type topicSummary struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Partitions int32             `json:"partitions"`
	Config     map[string]string `json:"config"` // as it is set; what is not has its default
}

func summary(t *metastore.Topic) topicSummary {
	config := t.Config
	if config == nil {
		config = map[string]string{}
	}
	return topicSummary{t.Name, t.ID.String(), t.Partitions, config}
}

func (s *Surface) topics(w http.ResponseWriter, r *http.Request) {
	store := s.o.Store()
	if store == nil {
		s.fail(w, r, s.unavailable())
		return
	}
	list := []topicSummary{}
	for _, t := range store.Catalog().Topics() {
		list = append(list, summary(t))
	}
	answer(w, http.StatusOK, map[string]any{"topics": list, "count": len(list)})
}

// topic shows a topic with its partitions.
func (s *Surface) topic(w http.ResponseWriter, r *http.Request) {
	store := s.o.Store()
	if store == nil {
		s.fail(w, r, s.unavailable())
		return
	}
	name := r.PathValue("topic")
	t, ok := store.Catalog().Topic(name)
	if !ok {
		s.fail(w, r, unknownTopic(name))
		return
	}
	status := read(store.Catalog())
	status.Partitions = slices.DeleteFunc(status.Partitions, func(p PartitionStatus) bool { return p.Topic != name })
	shown := struct {
		topicSummary
		Details  []PartitionStatus `json:"partition_details"`
		Warnings []string          `json:"warnings,omitempty"`
	}{topicSummary: summary(t)}
	ctx, cancel := context.WithTimeout(r.Context(), watermarksWithin)
	defer cancel()
	if err := status.watermarks(ctx, store.Catalog().Brokers()); err != nil {
		shown.Warnings = append(shown.Warnings, "high watermarks are not all known: "+err.Error())
	}
	shown.Details = status.Partitions
	answer(w, http.StatusOK, shown)
}

func unknownTopic(name string) *envelope.Failure {
	return envelope.New(http.StatusNotFound, "TOPIC_NOT_FOUND", "TopicNotFound", "there is no topic "+name)
}

// setting is the value of a topic's setting: text, or what JSON has for it. Null
// takes it back.
type setting struct{ value *string }

// UnmarshalJSON implements json.Unmarshaler.
func (s *setting) UnmarshalJSON(text []byte) error {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		s.value = &v
	default: // numbers, true, and JSON that is itself a setting's value
		value := string(text)
		s.value = &value
	}
	return nil
}

func settings(config map[string]setting) map[string]*string {
	values := make(map[string]*string, len(config))
	for key, v := range config {
		values[key] = v.value
	}
	return values
}

// topicRequest is the body of POST /admin/topics.
type topicRequest struct {
	Name       string             `json:"name"`
	Partitions *int32             `json:"partitions"`         // nil: the cluster's default
	Replicas   *int16             `json:"replication_factor"` // the bucket replicates: without effect
	Config     map[string]setting `json:"config"`
}

func (s *Surface) createTopic(w http.ResponseWriter, r *http.Request) {
	var request topicRequest
	err := readJSON(w, r, &request)
	if err == nil && request.Name == "" {
		err = envelope.Invalid("name is missing: that of the topic")
	}
	for key, v := range request.Config {
		if err == nil && v.value == nil {
			err = envelope.Invalid("config has null for %s: leave it out", key)
		}
	}
	if err == nil {
		err = s.asBroker(r.Context(), func(ctx context.Context, client *kadm.Client) error {
			partitions := int32(-1)
			if request.Partitions != nil {
				partitions = *request.Partitions
			}
			made, err := client.CreateTopic(ctx, partitions, -1, settings(request.Config), request.Name)
			if err != nil {
				return failureOf(err, made.ErrMessage)
			}
			return nil
		})
	}
	s.change(w, r, map[string]any{"name": request.Name, "message": "topic " + request.Name + " was created"}, err)
}

// topicChange is the body of PATCH /admin/topics/{topic}.
type topicChange struct {
	Partitions *int32             `json:"partitions"`
	Config     map[string]setting `json:"config"` // null: the default again
}

// alterTopic changes settings, and then the number of partitions.
func (s *Surface) alterTopic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("topic")
	var request topicChange
	err := readJSON(w, r, &request)
	if err == nil && request.Partitions == nil && len(request.Config) == 0 {
		err = envelope.Invalid("nothing to change: partitions and config are missing")
	}
	if err == nil {
		err = s.asBroker(r.Context(), func(ctx context.Context, client *kadm.Client) error { return request.apply(ctx, client, name) })
	}
	s.change(w, r, map[string]any{"name": name, "message": "topic " + name + " was changed"}, err)
}

func (c *topicChange) apply(ctx context.Context, client *kadm.Client, name string) error {
	if len(c.Config) > 0 {
		var changes []kadm.AlterConfig
		for _, key := range slices.Sorted(maps.Keys(c.Config)) {
			change := kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: c.Config[key].value}
			if change.Value == nil {
				change.Op = kadm.DeleteConfig
			}
			changes = append(changes, change)
		}
		answers, err := client.AlterTopicConfigs(ctx, changes, name)
		for _, a := range answers {
			if a.Err != nil {
				return failureOf(a.Err, a.ErrMessage)
			}
		}
		if err != nil {
			return err
		}
	}
	if c.Partitions == nil {
		return nil
	}
	answers, err := client.UpdatePartitions(ctx, int(*c.Partitions), name)
	for _, a := range answers {
		if a.Err != nil {
			return failureOf(a.Err, a.ErrMessage)
		}
	}
	return err
}

func (s *Surface) deleteTopic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("topic")
	err := s.asBroker(r.Context(), func(ctx context.Context, client *kadm.Client) error {
		deleted, err := client.DeleteTopic(ctx, name)
		if err != nil {
			return failureOf(err, deleted.ErrMessage)
		}
		return nil
	})
	s.change(w, r, map[string]any{"name": name, "message": fmt.Sprintf("topic %s was deleted", name)}, err)
}

package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/envelope"
)

// asBroker runs f with a client of the live brokers: they create topics, and
// know the groups.
func (s *Surface) asBroker(ctx context.Context, f func(context.Context, *kadm.Client) error) error {
	store := s.o.Store()
	if store == nil {
		return s.unavailable()
	}
	addresses := seeds(store.Catalog().Brokers())
	if len(addresses) == 0 {
		return envelope.New(http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable", "no broker lives")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.ClientID("chronik-admin"))
	if err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	return f(ctx, kadm.NewClient(client))
}

// brokerErrors are what errors of brokers mean here; any other is that nobody
// can say.
var brokerErrors = []struct {
	is     error
	status int
	code   string
	kind   string
}{
	{kerr.UnknownTopicOrPartition, http.StatusNotFound, "TOPIC_NOT_FOUND", "TopicNotFound"},
	{kerr.GroupIDNotFound, http.StatusNotFound, "INVALID_REQUEST", "GroupNotFound"},
	{kerr.TopicAlreadyExists, http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest"},
	{kerr.InvalidTopicException, http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest"},
	{kerr.InvalidConfig, http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest"},
	{kerr.InvalidPartitions, http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest"},
	{kerr.InvalidRequest, http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest"},
	{kerr.PolicyViolation, http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest"},
	{kerr.InvalidGroupID, http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest"},
	{kerr.TopicAuthorizationFailed, http.StatusForbidden, "FORBIDDEN", "Forbidden"},
	{kerr.ClusterAuthorizationFailed, http.StatusForbidden, "FORBIDDEN", "Forbidden"},
	{kerr.ThrottlingQuotaExceeded, http.StatusTooManyRequests, "RATE_LIMITED", "RateLimited"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "TIMEOUT", "Timeout"},
}

// failureOf is an error with what the broker said of it, if it said anything.
func failureOf(err error, words string) *envelope.Failure {
	var f *envelope.Failure
	if errors.As(err, &f) {
		return f
	}
	if words == "" {
		words = err.Error()
	}
	for _, row := range brokerErrors {
		if errors.Is(err, row.is) {
			return envelope.New(row.status, row.code, row.kind, words)
		}
	}
	return envelope.New(http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable", words)
}

// change answers what a mutation came to.
func (s *Surface) change(w http.ResponseWriter, r *http.Request, done map[string]any, err error) {
	if err == nil {
		done["success"] = true
		answer(w, http.StatusOK, done)
		return
	}
	f := failureOf(err, "")
	s.o.Log.Debug("http request failed", "id", r.Header.Get(requestIDHeader), "path", r.URL.Path, "status", f.Status, "err", err)
	switch f.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	}
	answer(w, f.Status, struct {
		*envelope.Failure
		Success bool `json:"success"`
	}{f, false})
}

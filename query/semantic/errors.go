package semantic

import (
	"errors"
	"math"
	"net/http"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/vector"
)

// FailureOf is what the errors of searches by words and by meaning are over HTTP;
// nil: it is none of them, but one that all surfaces have.
func FailureOf(err error) *envelope.Failure {
	var (
		topicOfVectors *vector.UnknownTopicError
		topicOfText    *search.UnknownTopicError
		noVectors      *vector.NotEnabledError
		noText         *search.NotSearchableError
		request        *vector.RequestError
		query          *textquery.Error
		provider       *vector.ProviderError
		large          *vector.TooLargeError
		outside        *vector.UnavailableError
	)
	switch {
	case errors.As(err, &topicOfVectors), errors.As(err, &topicOfText):
		return envelope.New(http.StatusNotFound, "TOPIC_NOT_FOUND", "TableNotFound", err.Error())
	case errors.As(err, &noVectors), errors.As(err, &noText):
		return envelope.New(http.StatusBadRequest, "FEATURE_DISABLED", "FeatureDisabled", err.Error())
	case errors.As(err, &request):
		return envelope.Invalid("%s", err.Error())
	case errors.As(err, &query):
		return envelope.New(http.StatusBadRequest, "INVALID_QUERY", "QueryError", query.Reason)
	case errors.As(err, &provider):
		return ofProvider(provider, err)
	case errors.As(err, &large):
		return envelope.New(http.StatusRequestEntityTooLarge, "TOO_LARGE", "QueryError", err.Error())
	case errors.As(err, &outside):
		return envelope.New(http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable", err.Error())
	}
	return nil
}

// ofProvider is the answer where the text of a query has no vector.
func ofProvider(provider *vector.ProviderError, err error) *envelope.Failure {
	f := envelope.New(http.StatusBadGateway, "EMBEDDING_ERROR", "EmbeddingError", err.Error())
	f.Details["topic"], f.Details["temporary"] = provider.Topic, provider.Temporary
	if provider.RetryAfter > 0 {
		f.RetryAfter = provider.RetryAfter
		f.Details["retry_after_secs"] = math.Ceil(provider.RetryAfter.Seconds())
	}
	return f
}

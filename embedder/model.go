package embedder

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// Model is what made a vector. Vectors of two models are never compared.
type Model struct {
	Provider string `json:"provider"`
	Name     string `json:"name,omitempty"`
	// Endpoint tells models without a name apart. One that has a name is the same
	// wherever it answers: moving a service does not embed topics again.
	Endpoint   string `json:"endpoint,omitempty"`
	Dimensions int    `json:"dimensions,omitempty"` // 0: not known before the provider answers
}

// ModelOf is the model that a topic asks for.
func ModelOf(v topicconfig.Vector) Model {
	m := Model{Provider: v.Provider, Name: v.Model, Dimensions: v.Dimensions}
	if v.Model == "" {
		m.Endpoint = withoutUser(v.Endpoint)
	}
	return m
}

// withoutUser is a URL without the name and password that it may have: models
// are written into objects.
func withoutUser(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.User == nil {
		return endpoint
	}
	u.User = nil
	return u.String()
}

// With is the model with the dimensions that turned out, if it did not say any.
func (m Model) With(dimensions int) Model {
	m.Dimensions = cmp.Or(m.Dimensions, dimensions)
	return m
}

// Matches reports whether vectors of the two may be compared: they are the same,
// as far as both say their dimensions.
func (m Model) Matches(other Model) bool {
	return m.With(other.Dimensions) == other.With(m.Dimensions)
}

// String is the model for people, and as shards name it.
func (m Model) String() string {
	parts := []string{m.Provider}
	if name := cmp.Or(m.Name, m.Endpoint); name != "" {
		parts = append(parts, name)
	}
	if m.Dimensions > 0 {
		parts = append(parts, strconv.Itoa(m.Dimensions))
	}
	return strings.Join(parts, " ")
}

package config

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"
)

// Embedding is who makes embeddings, and how it is asked.
type Embedding struct {
	Provider, Endpoint string // defaults of topics

	APIKey            Secret
	OpenAIBaseURL     string
	TrustedEndpoints  []string
	CAFile            string
	RequestTimeout    time.Duration
	RequestsMax       int
	RequestsPerMinute int
	TokensPerMinute   int
	InputTokensMax    int
	CacheBytes        Bytes
	Price             float64 // of a million tokens; 0: not known

	Local struct {
		Models  string // a folder; empty: EmbeddingModels
		Runtime string // a file, "go", or empty: what is found
		Threads int    // 0: as many as cores
	}
}

// EmbeddingModels is the folder of local models.
func (c *Config) EmbeddingModels() string {
	if c.Embedding.Local.Models != "" {
		return c.Embedding.Local.Models
	}
	return c.Path("models")
}

func (c *Config) embeddingSettings() []*Setting {
	e := &c.Embedding
	return []*Setting{
		{Key: "embedding.provider", Default: "openai", Topic: "vector.embedding.provider", Value: choiceValue{&e.Provider, []string{"openai", "local", "external"}},
			Doc: "Who makes the embeddings of topics that do not say: a service with OpenAI's API, a model on this machine, or any service that takes `{\"texts\": […]}` and answers `{\"embeddings\": [[…]]}`."},
		{Key: "embedding.endpoint", Default: "", Topic: "vector.embedding.endpoint", Value: textValue{&e.Endpoint},
			Doc: "Where that provider answers, for topics that do not say: an http or https URL."},
		{Key: "embedding.api_key", Default: "", Aliases: []string{"OPENAI_API_KEY"}, Value: secretValue{&e.APIKey},
			Doc: "Key that providers are shown, as a bearer token. It is sent to `embedding.endpoint`, `embedding.openai_base_url` and `embedding.trusted_endpoints`, and never where a redirect leads."},
		{Key: "embedding.openai_base_url", Default: "https://api.openai.com/v1", Aliases: []string{"OPENAI_BASE_URL"}, Value: checkedText{&e.OpenAIBaseURL, "URL", httpURL},
			Doc: "Where provider `openai` answers for topics that have no endpoint, of their own or as the cluster's default."},
		{Key: "embedding.trusted_endpoints", Default: "*", Run: under(""), Value: checkedList{listValue{&e.TrustedEndpoints}, "comma list of URLs, or \\*", trustedEndpoint},
			Doc: "Endpoints of topics that are shown the key too, with all paths below them; `*` is any. Others are asked without: who may create a topic shall not get hold of the key by naming an endpoint."},
		{Key: "embedding.ca_file", Default: "", Value: textValue{&e.CAFile},
			Doc: "PEM file of a certificate authority of providers, to trust besides the system's."},
		{Key: "embedding.request_timeout", Default: "30s", Value: durationValue{&e.RequestTimeout, 10 * time.Millisecond},
			Doc: "Time that a provider has for one request; then it counts as failed, and is tried again as `vector.max_retries` says."},
		{Key: "embedding.requests_max", Default: "16", Value: intValue{&e.RequestsMax, 1, 1024},
			Doc: "Requests with messages that are under way at once to one model at one endpoint, for all topics of this process. Those with texts that are searched for come on top."},
		{Key: "embedding.requests_per_minute", Default: "0", Value: intValue{&e.RequestsPerMinute, 0, math.MaxInt32},
			Doc: "Rate of requests to one model at one endpoint that this process keeps to; 0 is none. Texts that are searched for do not wait: messages wait for what they used."},
		{Key: "embedding.tokens_per_minute", Default: "0", Value: intValue{&e.TokensPerMinute, 0, math.MaxInt32},
			Doc: "The same of tokens: estimated at four bytes each before a request, corrected by what the provider says that it counted."},
		{Key: "embedding.input_tokens_max", Default: "8191", Value: intValue{&e.InputTokensMax, 1, 1 << 24},
			Doc: "Longest text, in tokens of about four bytes, for models that are not known to take another; what is longer is cut, and counted. Models of OpenAI take 8191; local ones count for themselves."},
		{Key: "embedding.cache_bytes_max", Default: "16MiB", Value: bytesValue{&e.CacheBytes, 1},
			Doc: "Memory for the vectors of texts that were searched for."},
		{Key: "embedding.price_per_million_tokens", Default: "0", Value: floatValue{&e.Price, 0, 1e9},
			Doc: "What a million tokens cost, for the metric `chronik_embedding_cost_total`; in any currency."},
		{Key: "embedding.local.models", Default: "", Value: textValue{&e.Local.Models},
			Doc: "Folder of the models of provider `local`, each in a folder of its name; empty means `models` in `data_dir`. Compactors and query nodes need the same ones."},
		{Key: "embedding.local.runtime", Default: "", Value: textValue{&e.Local.Runtime},
			Doc: "Library of ONNX Runtime that computes them, such as `/usr/lib/libonnxruntime.so`. Empty looks in the usual places, and computes in Go if it is not there; `go` always does."},
		{Key: "embedding.local.threads", Default: "0", Value: intValue{&e.Local.Threads, 0, 1024},
			Doc: "Batches that are computed at once; 0 is one per core."},
	}
}

func httpURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is no URL such as https://api.openai.com/v1", text)
	}
	return nil
}

func trustedEndpoint(text string) error {
	if text == "*" {
		return nil
	}
	return httpURL(text)
}

// checkedList is a comma list whose items pass a check.
type checkedList struct {
	listValue
	kind  string
	check func(string) error
}

func (v checkedList) Set(text string) error {
	list, err := items(text)
	if err != nil {
		return err
	}
	for _, item := range list {
		if err := v.check(item); err != nil {
			return err
		}
	}
	*v.to = list
	return nil
}
func (v checkedList) Type() string { return v.kind }

// floatValue is a number with a fraction.
type floatValue struct {
	to          *float64
	least, most float64
}

func (v floatValue) Set(text string) error {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) {
		return fmt.Errorf("%q is not a number", text)
	}
	if f < v.least || f > v.most {
		return fmt.Errorf("%v is not from %v to %v", f, v.least, v.most)
	}
	*v.to = f
	return nil
}
func (v floatValue) String() string { return strconv.FormatFloat(*v.to, 'g', -1, 64) }
func (v floatValue) Type() string   { return fmt.Sprintf("number ≥ %v", v.least) }

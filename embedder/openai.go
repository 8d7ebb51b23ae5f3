package embedder

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// openAI asks a service with OpenAI's API: POST <base URL>/embeddings.
type openAI struct {
	client     *client
	to         *url.URL
	key        string
	model      string
	dimensions int // expected; 0: not known
	shortened  int // asked for; 0: the model's own

	// plain is set when the service does not know base64, which is a third of the
	// bytes and read far faster.
	plain atomic.Bool
}

func (s *Service) openAI(key settings) (provider, string, error) {
	base := key.endpoint
	if base == "" {
		base = s.config.OpenAIBaseURL
	}
	to, err := url.Parse(base)
	if err != nil || to.Host == "" {
		return nil, "", errors.New("the base URL is not an http or https URL")
	}
	if to.Path = strings.TrimSuffix(to.Path, "/"); !strings.HasSuffix(to.Path, "/embeddings") {
		to.Path += "/embeddings"
	}
	p := &openAI{client: s.client, to: to, key: s.config.keyFor(to), model: key.model.Name, dimensions: key.model.Dimensions}
	if p.key == "" && to.Hostname() == "api.openai.com" {
		return nil, "", errors.New("OpenAI wants a key: set embedding.api_key, which is CHRONIK_EMBEDDING_API_KEY or OPENAI_API_KEY")
	}
	if d := key.model.Dimensions; strings.HasPrefix(p.model, "text-embedding-3-") && d != topicconfig.ModelDimensions(p.model) {
		p.shortened = d
	}
	return p, "openai " + to.String() + " " + p.model, nil
}

type openAIRequest struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Encoding   string   `json:"encoding_format"`
	Dimensions int      `json:"dimensions,omitempty"`
}

type openAIAnswer struct {
	Data []struct {
		Index     *int       `json:"index"`
		Embedding vectorJSON `json:"embedding"`
	} `json:"data"`
	Usage struct {
		PromptTokens int `json:"prompt_tokens"`
	} `json:"usage"`
}

func (p *openAI) embed(ctx context.Context, texts []string) (answer, error) {
	a, err := p.ask(ctx, texts, p.plain.Load())
	if kindOf(err) == Refused && strings.Contains(err.Error(), "encoding_format") && !p.plain.Swap(true) {
		return p.ask(ctx, texts, true)
	}
	return a, err
}

func (p *openAI) ask(ctx context.Context, texts []string, plain bool) (answer, error) {
	body := openAIRequest{Model: p.model, Input: texts, Encoding: "base64", Dimensions: p.shortened}
	if plain {
		body.Encoding = "float"
	}
	var got openAIAnswer
	if err := p.client.post(ctx, p.to, p.key, body, answerBytesMax(len(texts), p.dimensions), &got); err != nil {
		return answer{}, err
	}
	wrong := func(format string, args ...any) (answer, error) {
		return answer{}, &Error{Kind: BadAnswer, Err: fmt.Errorf(format, args...)}
	}
	if len(got.Data) != len(texts) {
		return wrong("%d vectors for %d texts", len(got.Data), len(texts))
	}
	ordered := make([]vectorJSON, len(texts))
	for i, d := range got.Data {
		if d.Index != nil {
			i = *d.Index
		}
		switch {
		case i < 0 || i >= len(texts):
			return wrong("a vector for text %d of %d", i, len(texts))
		case ordered[i] != nil:
			return wrong("two vectors for text %d", i)
		case len(d.Embedding) == 0:
			return wrong("no vector for text %d", i)
		}
		ordered[i] = d.Embedding
	}
	values, dimensions, err := together(ordered)
	return answer{values: values, dimensions: dimensions, tokens: max(got.Usage.PromptTokens, 0)}, err
}

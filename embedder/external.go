package embedder

import (
	"context"
	"errors"
	"fmt"
	"net/url"
)

// external asks any service that takes {"texts": […]} and answers
// {"embeddings": [[…]]}.
type external struct {
	client     *client
	to         *url.URL
	key        string
	dimensions int // expected; 0: not known
}

func (s *Service) external(key settings) (provider, string, error) {
	to, err := url.Parse(key.endpoint)
	if err != nil || to.Host == "" {
		return nil, "", errors.New("provider external needs vector.embedding.endpoint, an http or https URL")
	}
	p := &external{client: s.client, to: to, key: s.config.keyFor(to), dimensions: key.model.Dimensions}
	return p, "external " + to.String(), nil
}

func (p *external) embed(ctx context.Context, texts []string) (answer, error) {
	var got struct {
		Embeddings []vectorJSON `json:"embeddings"`
	}
	body := struct {
		Texts []string `json:"texts"`
	}{texts}
	if err := p.client.post(ctx, p.to, p.key, body, answerBytesMax(len(texts), p.dimensions), &got); err != nil {
		return answer{}, err
	}
	if len(got.Embeddings) != len(texts) {
		return answer{}, &Error{Kind: BadAnswer, Err: fmt.Errorf("%d vectors for %d texts", len(got.Embeddings), len(texts))}
	}
	values, dimensions, err := together(got.Embeddings)
	return answer{values: values, dimensions: dimensions}, err
}

package node

import (
	"context"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/embedder"
)

// startEmbedder makes the process's one way to embedding providers, so that its
// roles share what a provider is asked for.
func startEmbedder(_ context.Context, n *Node) (running, error) {
	c := embedderConfig(n.cfg)
	c.Registerer, c.Local.Logger = n.registry, n.log
	s, err := embedder.New(c)
	if err != nil {
		return running{}, err
	}
	n.parts.embedder = s
	return closing(s.Close), nil
}

func embedderConfig(c *config.Config) embedder.Config {
	e := c.Embedding
	return embedder.Config{
		APIKey: e.APIKey.Reveal(), OpenAIBaseURL: e.OpenAIBaseURL, Endpoint: e.Endpoint, TrustedEndpoints: e.TrustedEndpoints, CAFile: e.CAFile,
		RequestTimeout: e.RequestTimeout, RequestsMax: e.RequestsMax, RequestsPerMinute: e.RequestsPerMinute, TokensPerMinute: e.TokensPerMinute,
		InputTokensMax: e.InputTokensMax, CacheBytesMax: int64(e.CacheBytes), PricePerMillionTokens: e.Price,
		Local: embedder.Local{ModelsDir: c.EmbeddingModels(), Runtime: e.Local.Runtime, Threads: e.Local.Threads},
	}
}

package embedder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chronik-stream/chronik/embedder/local"
)

const providerLocal = "local"

// What is computed here shares the processor, not a network: two requests at once
// keep it busy, the second while the first is put together, and one takes as long
// as it takes.
const (
	localRequests = 2
	localTimeout  = 10 * time.Minute
)

// Local says where local models lie, and what runs them: local.Config.
type Local struct {
	ModelsDir string
	Runtime   string
	Threads   int
	Logger    *slog.Logger
}

func (l Local) models() *local.Models {
	return local.New(local.Config{Dir: l.ModelsDir, Runtime: l.Runtime, Threads: l.Threads, Logger: l.Logger})
}

// openLocal reads a model from disk.
func (s *Service) openLocal(key settings) (provider, string, error) {
	model, err := s.local.Open(key.model.Name)
	if err != nil {
		return nil, "", err
	}
	if want := key.model.Dimensions; want != 0 && want != model.Dimensions() {
		return nil, "", fmt.Errorf("the local model %q has vectors of %d dimensions, not %d", key.model.Name, model.Dimensions(), want)
	}
	return &localProvider{model}, providerLocal + " " + key.model.Name, nil
}

// localProvider asks a model of this machine.
type localProvider struct{ model *local.Model }

func (p *localProvider) embed(ctx context.Context, texts []string) (answer, error) {
	result, err := p.model.Embed(ctx, texts)
	if errors.Is(err, local.ErrModel) {
		return answer{}, &Error{Kind: Misconfigured, Err: err}
	}
	if err != nil {
		return answer{}, err
	}
	return answer{values: result.Vectors, dimensions: p.model.Dimensions(), tokens: result.Tokens, cut: result.Cut}, nil
}

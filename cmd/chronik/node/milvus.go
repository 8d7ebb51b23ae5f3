package node

import (
	"context"
	"errors"
	"os"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/internal/tlsfiles"
	"github.com/chronik-stream/chronik/milvus"
)

// startMilvus makes the process's client of a Milvus, if it is told of one. It
// does not wait for it: a Milvus that is away holds up its topics' vectors and
// nothing else.
func startMilvus(_ context.Context, n *Node) (running, error) {
	if n.cfg.Milvus.Address == "" {
		return closing(func() error { return nil }), nil
	}
	c, err := milvusConfig(n.cfg)
	if err != nil {
		return running{}, err
	}
	client, err := milvus.Open(c)
	if err != nil {
		return running{}, err
	}
	n.parts.milvus = client
	return closing(client.Close), nil
}

func milvusConfig(cfg *config.Config) (milvus.Config, error) {
	m := cfg.Milvus
	c := milvus.Config{
		Address: m.Address, Database: m.Database, User: m.Username, Password: m.Password.Reveal(), Token: m.Token.Reveal(), RequestTimeout: m.RequestTimeout,
	}
	var err error
	if m.TLS {
		if c.TLS, err = tlsfiles.Load("Milvus", tlsfiles.Files{CA: m.CAFile, Cert: m.CertFile, Key: m.KeyFile, ServerName: m.ServerName}, os.ReadFile); err != nil {
			return milvus.Config{}, errors.Join(errors.New("milvus.tls"), err)
		}
	}
	return c, nil
}
